"""The registry of architectures."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype

from flax_imdb.errors import InputError, check_between
from flax_imdb.layers import LSTM, Bidirectional, Conv, MaxPool
from flax_imdb.models.classifier import Classifier
from flax_imdb.ops import IMPLEMENTATIONS

Precision = Literal["float32", "bfloat16"]

# With more, an LSTM's parameters exceed the memory of any machine.
MAX_FEATURES = 2**16


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The classifier.

    Attributes:
      arch: Architecture: lstm, lstm_dropout, lstm_recurrent_dropout, reversed_lstm, bilstm,
        conv_lstm, conv_lstm_dropout, or one added with `register`.
      embedding_features: Width of the embedding.
      features: Width of the LSTM's state, per direction.
      precision: Precision of the encoder's matrix products and their inputs. Parameters, optimizer
        state, the LSTM's carry, embedding, head and loss are always float32.
      remat_steps: Keep only every `remat_steps`-th state of the LSTM and recompute the others for
        the gradient: less memory for long reviews, more time (default: keep all).
      implementation: How the LSTM is computed: auto, scan, fused, or, on an NVIDIA GPU, cudnn or
        pallas. Results differ by rounding.
    """

    arch: str = "lstm"
    embedding_features: int = 32
    features: int = 100
    precision: Precision = "float32"
    remat_steps: int | None = None
    implementation: str = "auto"

    def __post_init__(self) -> None:
        for setting, value, choices in (
            ("arch", self.arch, tuple(ARCHITECTURES)),
            ("precision", self.precision, get_args(Precision)),
            ("implementation", self.implementation, IMPLEMENTATIONS),
        ):
            if value not in choices:
                more = "; `import` the module that registers another" if setting == "arch" else ""
                raise InputError(
                    f"`{setting}` {value} is unknown: one of {', '.join(choices)}{more}"
                )
        for name in ("embedding_features", "features"):
            check_between(name, getattr(self, name), 1, MAX_FEATURES)
        if self.remat_steps is not None:
            check_between("remat_steps", self.remat_steps, 1)

    @property
    def encoder_dtype(self) -> Dtype | None:
        """The layers' `dtype`; None infers float32 from the parameters."""
        return None if self.precision == "float32" else jnp.dtype(self.precision)


Architecture = Callable[[ModelConfig], dict[str, Any]]

ARCHITECTURES: dict[str, Architecture] = {}
"""The registered architectures, by name."""


def register(name: str) -> Callable[[Architecture], Architecture]:
    """Decorator that registers an architecture.

    An architecture is a function from :class:`ModelConfig` to attributes of :class:`Classifier`:
    ``encoder``, and optionally ``pooling``, ``dropout`` and so on.
    """

    def add(architecture: Architecture) -> Architecture:
        ARCHITECTURES[name] = architecture
        return architecture

    return add


def build(config: ModelConfig, vocab_size: int, num_classes: int = 1) -> Classifier:
    """Create the classifier of `config` for `vocab_size` token ids."""
    return Classifier(
        vocab_size=vocab_size,
        embedding_features=config.embedding_features,
        num_classes=num_classes,
        **ARCHITECTURES[config.arch](config),
    )


# The models of the Keras tutorial, with its dropout rates.


@register("lstm")
def _lstm(config: ModelConfig) -> dict[str, Any]:
    return {"encoder": (_last_of_lstm(config),)}


@register("lstm_dropout")
def _lstm_dropout(config: ModelConfig) -> dict[str, Any]:
    return {**_lstm(config), "dropout": 0.2}


@register("lstm_recurrent_dropout")
def _lstm_recurrent_dropout(config: ModelConfig) -> dict[str, Any]:
    return {"encoder": (_dropping_lstm(config),)}


@register("reversed_lstm")
def _reversed_lstm(config: ModelConfig) -> dict[str, Any]:
    return {"encoder": (_last_of_lstm(config, reverse=True),)}


@register("bilstm")
def _bilstm(config: ModelConfig) -> dict[str, Any]:
    return {"encoder": (Bidirectional(_dropping_lstm(config)),)}


@register("conv_lstm")
def _conv_lstm(config: ModelConfig) -> dict[str, Any]:
    conv = Conv(32, 3, activation=nn.relu, dtype=config.encoder_dtype)
    return {"encoder": (conv, MaxPool(2), _last_of_lstm(config))}


@register("conv_lstm_dropout")
def _conv_lstm_dropout(config: ModelConfig) -> dict[str, Any]:
    return {**_conv_lstm(config), "dropout": 0.2}


def _dropping_lstm(config: ModelConfig) -> LSTM:
    return _last_of_lstm(config, dropout=0.2, recurrent_dropout=0.2)


def _last_of_lstm(config: ModelConfig, **options: Any) -> LSTM:
    return LSTM(
        config.features,
        return_sequences=False,
        dtype=config.encoder_dtype,
        remat_steps=config.remat_steps,
        implementation=config.implementation,
        **options,
    )
