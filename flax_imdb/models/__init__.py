"""Text classifiers and the registry of architectures."""

from flax_imdb.models.architectures import (
    ARCHITECTURES,
    Architecture,
    ModelConfig,
    Precision,
    build,
    register,
)
from flax_imdb.models.classifier import Classifier, Heads, Inputs
from flax_imdb.models.wide import Wide

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Classifier",
    "Heads",
    "Inputs",
    "ModelConfig",
    "Precision",
    "Wide",
    "build",
    "register",
]
