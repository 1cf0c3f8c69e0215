"""LSTM text classifiers in Flax."""

from typing import Any

__version__ = "0.1.0"

# Top-level names and their modules, which are imported on first use, so that importing
# `flax_imdb.layers` imports only the layers.
_LAZY = {
    "DataConfig": "flax_imdb.data",
    "ExperimentConfig": "flax_imdb.config",
    "LSTMClassifier": "flax_imdb.estimator",
    "ModelConfig": "flax_imdb.models",
    "TrainConfig": "flax_imdb.training",
    "load": "flax_imdb.predict",
    "recipe": "flax_imdb.config",
    "start_from": "flax_imdb.start",
    "train": "flax_imdb.experiment",
}

__all__ = [
    "DataConfig",
    "ExperimentConfig",
    "LSTMClassifier",
    "ModelConfig",
    "TrainConfig",
    "__version__",
    "load",
    "recipe",
    "start_from",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
