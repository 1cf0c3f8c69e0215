"""The registry of architectures."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype

from flax_imdb.errors import InputError, check_between, is_number
from flax_imdb.layers import LSTM, Bidirectional, Conv, MaxPool, Window
from flax_imdb.models.classifier import Classifier
from flax_imdb.ops import IMPLEMENTATIONS

Precision = Literal["float32", "bfloat16"]
Pooling = Literal["last", "max", "mean", "max_mean"]

# With more, an LSTM's parameters exceed the memory of any machine.
MAX_FEATURES = 2**16

# Far more than any text classifier gains from.
MAX_LAYERS = 64
MAX_NGRAMS = 16
MAX_NGRAM_BUCKETS = 10**8


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The classifier.

    Attributes:
      arch: Architecture: lstm, lstm_dropout, lstm_recurrent_dropout, reversed_lstm, bilstm,
        conv_lstm, conv_lstm_dropout, or one added with `register`.
      embedding_features: Width of the embedding.
      features: Width of the LSTM's state, per direction.
      layers: LSTM layers, one on the outputs of another.
      pooling: What the head sees of the last LSTM's outputs: the last of them, or over all steps
        their maximum, their mean, or both.
      ngrams: Add to each token's embedding those of the n-grams of 2 to ngrams tokens that end with
        it.
      ngram_buckets: Number of embeddings for the n-grams of each length, which share them by
        hashing.
      wide_ngrams: Beside the encoder train logistic regression on the n-grams of 1 to wide_ngrams
        tokens, scaled by their log-count ratios, and predict the mean of both; 0: do not.
      wide_buckets: Number of weights of these n-grams, which share them by hashing.
      wide_weight: Their weight in the mean of the logits, from 0 to 1; the encoder has the rest.
      dropout: Rate of dropout of the LSTM's inputs (lstm_recurrent_dropout, bilstm), or of the
        embedded tokens and the head's inputs. None: the architecture's own.
      recurrent_dropout: Rate of dropout of the LSTM's state. None: the architecture's own.
      word_dropout: Rate at which whole tokens, or steps of numeric sequences, are dropped.
      head_dropout: Rate of dropout of the head's inputs. None: as dropout says.
      precision: Precision of the encoder's matrix products and their inputs. Parameters, optimizer
        state, the LSTM's carry, embedding, head and loss are always float32.
      remat_steps: Keep only every `remat_steps`-th state of the LSTM and recompute the others for
        the gradient: less memory for long texts, more time. None: keep all.
      implementation: How the LSTM is computed: auto, scan, fused, or, on an NVIDIA GPU, cudnn or
        pallas. Results differ by rounding.
    """

    arch: str = "lstm"
    embedding_features: int = 32
    features: int = 100
    layers: int = 1
    pooling: Pooling = "last"
    ngrams: int = 1
    ngram_buckets: int = 2**18
    wide_ngrams: int = 0
    wide_buckets: int = 2**20
    wide_weight: float = 0.5
    dropout: float | None = None
    recurrent_dropout: float | None = None
    word_dropout: float = 0.0
    head_dropout: float | None = None
    precision: Precision = "float32"
    remat_steps: int | None = None
    implementation: str = "auto"

    def __post_init__(self) -> None:
        for setting, value, choices in (
            ("arch", self.arch, tuple(ARCHITECTURES)),
            ("precision", self.precision, get_args(Precision)),
            ("pooling", self.pooling, get_args(Pooling)),
            ("implementation", self.implementation, IMPLEMENTATIONS),
        ):
            if value not in choices:
                more = "; `import` the module that registers another" if setting == "arch" else ""
                raise InputError(
                    f"`{setting}` {value} is unknown: one of {', '.join(choices)}{more}"
                )
        for name in ("embedding_features", "features"):
            check_between(name, getattr(self, name), 1, MAX_FEATURES)
        check_between("layers", self.layers, 1, MAX_LAYERS)
        check_between("ngrams", self.ngrams, 1, MAX_NGRAMS)
        check_between("ngram_buckets", self.ngram_buckets, 1, MAX_NGRAM_BUCKETS)
        check_between("wide_ngrams", self.wide_ngrams, 0, MAX_NGRAMS)
        check_between("wide_buckets", self.wide_buckets, 1, MAX_NGRAM_BUCKETS)
        if not (is_number(self.wide_weight) and 0 <= self.wide_weight <= 1):
            raise InputError(
                f"`wide_weight` {self.wide_weight} makes no sense: a number from 0 to 1 is needed"
            )
        for name, rate in (
            ("dropout", self.dropout),
            ("recurrent_dropout", self.recurrent_dropout),
            ("word_dropout", self.word_dropout),
            ("head_dropout", self.head_dropout),
        ):
            if rate is not None and not (is_number(rate) and 0 <= rate < 1):
                raise InputError(
                    f"`{name}` {rate} makes no sense: a number from 0 to below 1 is needed"
                )
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
    ``encoder``, and optionally ``dropout`` and so on. They may override what `build` takes from the
    configuration.
    """

    def add(architecture: Architecture) -> Architecture:
        ARCHITECTURES[name] = architecture
        return architecture

    return add


# Of what has no effect on numeric sequences.
_OF_TEXTS = (
    *("embedding_features", "ngrams", "ngram_buckets"),
    *("wide_ngrams", "wide_buckets", "wide_weight"),
)


def build(
    config: ModelConfig,
    vocab_size: int | None,
    num_classes: int = 1,
    window: Window | None = None,
) -> Classifier:
    """Create the classifier of `config` for `vocab_size` token ids; None: of numeric sequences.

    Texts that are longer than a `window` are read in windows (see :class:`Classifier`).

    Raises:
      InputError: settings contradict each other.
    """
    for setting in _OF_TEXTS if vocab_size is None else ():
        if (value := getattr(config, setting)) != getattr(ModelConfig, setting):
            raise InputError(f"`{setting}` {value} is for texts, and these are numeric sequences")
    if config.wide_ngrams and config.wide_buckets * num_classes > MAX_NGRAM_BUCKETS:
        raise InputError(
            f"`wide_buckets` {config.wide_buckets} is too large for {num_classes} classes, with a "
            f"weight for each in each bucket: at most {MAX_NGRAM_BUCKETS // num_classes} is needed"
        )
    attributes: dict[str, Any] = {
        "embedding_features": config.embedding_features,
        "pooling": None if config.pooling == "last" else config.pooling,
        "ngrams": config.ngrams,
        "ngram_buckets": config.ngram_buckets,
        "wide_ngrams": config.wide_ngrams,
        "wide_buckets": config.wide_buckets,
        "wide_weight": config.wide_weight,
        "word_dropout": config.word_dropout,
        "head_dropout": config.head_dropout,
        "window": window,
    }
    own = ARCHITECTURES[config.arch](config)
    if config.pooling != "last" and "pooling" in own:
        raise InputError(
            f"`pooling` {config.pooling} has no effect: `arch` {config.arch} has pooling "
            f"{own['pooling']} of its own"
        )
    attributes |= own
    return Classifier(vocab_size=vocab_size, num_classes=num_classes, **attributes)


# The models of the Keras tutorial. The rates of dropout are its own, unless the configuration has
# others.


@register("lstm")
def _lstm(config: ModelConfig) -> dict[str, Any]:
    return {"encoder": _lstms(config), "dropout": _either(config.dropout, 0.0)}


@register("lstm_dropout")
def _lstm_dropout(config: ModelConfig) -> dict[str, Any]:
    return {**_lstm(config), "dropout": _either(config.dropout, 0.2)}


@register("lstm_recurrent_dropout")
def _lstm_recurrent_dropout(config: ModelConfig) -> dict[str, Any]:
    return {"encoder": _lstms(config, **_within(config))}


@register("reversed_lstm")
def _reversed_lstm(config: ModelConfig) -> dict[str, Any]:
    return {**_lstm(config), "encoder": _lstms(config, reverse=True, keep_order=True)}


@register("bilstm")
def _bilstm(config: ModelConfig) -> dict[str, Any]:
    lstms = _lstms(config, **_within(config))
    return {"encoder": tuple(Bidirectional(lstm) for lstm in lstms)}


@register("conv_lstm")
def _conv_lstm(config: ModelConfig) -> dict[str, Any]:
    conv = Conv(32, 3, activation=nn.relu, dtype=config.encoder_dtype)
    return {**_lstm(config), "encoder": (conv, MaxPool(2), *_lstms(config))}


@register("conv_lstm_dropout")
def _conv_lstm_dropout(config: ModelConfig) -> dict[str, Any]:
    return {**_conv_lstm(config), "dropout": _either(config.dropout, 0.2)}


def _within(config: ModelConfig) -> dict[str, float]:
    """Dropout of the LSTM itself."""
    return {
        "dropout": _either(config.dropout, 0.2),
        "recurrent_dropout": _either(config.recurrent_dropout, 0.2),
    }


def _lstms(config: ModelConfig, **options: Any) -> tuple[LSTM, ...]:
    """The LSTM layers; the last returns its last output alone, unless the outputs are pooled."""
    options = {"recurrent_dropout": _either(config.recurrent_dropout, 0.0)} | options
    return tuple(
        LSTM(
            config.features,
            return_sequences=number < config.layers or config.pooling != "last",
            dtype=config.encoder_dtype,
            remat_steps=config.remat_steps,
            implementation=config.implementation,
            **options,
        )
        for number in range(1, config.layers + 1)
    )


def _either(rate: float | None, default: float) -> float:
    return default if rate is None else rate
