"""A trained classifier as plain arrays, or as a pure function: what formats are written from."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from flax_imdb.errors import InputError
from flax_imdb.layers import LSTM, Bidirectional, Conv, MaxPool, Window
from flax_imdb.models import Classifier, Inputs
from flax_imdb.models.wide import SCALE
from flax_imdb.predict import TrainedModel
from flax_imdb.training.metrics import class_probabilities, of_each_class

MOST_BYTES = 2_000_000_000
"""Of the weights in a file of protobuf or FlatBuffers, with room for the rest; 2**31 of all."""


class Weights(NamedTuple):
    """The parameters of an LSTM, as Keras has them: gates in the order i, f, c, o.

    Attributes:
      kernel: of the inputs.
      recurrent_kernel: of the state.
      bias: of the gates.
    """

    kernel: Float[np.ndarray, "in_features gates"]
    recurrent_kernel: Float[np.ndarray, "features gates"]
    bias: Float[np.ndarray, " gates"]

    @property
    def features(self) -> int:
        """Size of the state."""
        return len(self.recurrent_kernel)


class Scales(NamedTuple):
    """How numeric sequences are standardized: ``(inputs - mean - rest) / scale``, in this order.

    Attributes:
      mean: of each feature.
      rest: what float32 cannot hold of the mean.
      scale: of each feature.
    """

    mean: Float[np.ndarray, " features"]
    rest: Float[np.ndarray, " features"]
    scale: Float[np.ndarray, " features"]


@dataclasses.dataclass(frozen=True)
class LSTMLayer:
    """An LSTM in one direction or in both; outputs are in the order of the inputs, 0 at padding.

    Attributes:
      forward: of the direction from the first step to the last; None if there is none.
      backward: of the other direction. With both, the outputs are concatenated, this one last.
      return_sequences: whether it returns the outputs of all steps, instead of the one that was
        computed last in each direction. That is 0 for a row of length 0.
    """

    forward: Weights | None
    backward: Weights | None
    return_sequences: bool


@dataclasses.dataclass(frozen=True)
class ConvLayer:
    """A convolution over time with ReLU. Padding is 0 before it and after it.

    The output of a step depends on the ``(size - 1) // 2`` steps before it and the ``size // 2``
    after it.

    Attributes:
      kernel: of the steps of a window, in their order.
      bias: of the filters.
    """

    kernel: Float[np.ndarray, "size in_features features"]
    bias: Float[np.ndarray, " features"]


@dataclasses.dataclass(frozen=True)
class MaxPoolLayer:
    """The maximum of each `window` steps, the last window's of its valid steps; then padding is 0.

    Lengths become ``ceil(length / window)``, at least 1.

    Attributes:
      window: number of steps.
    """

    window: int


Layer = LSTMLayer | ConvLayer | MaxPoolLayer


@dataclasses.dataclass(frozen=True)
class WideHead:
    """Logistic regression on n-grams. See `flax_imdb.models.Wide`.

    Attributes:
      ngrams: the longest n-grams.
      owners: the hash that each bucket is for; -1: of none.
      terms: what the n-gram of each bucket adds to the logits, before it is divided by the square
        root of the number of n-grams that the text has.
      bias: of the logits.
      weight: of these logits in the mean of both heads; the encoder's have the rest up to 1.
    """

    ngrams: int
    owners: Int[np.ndarray, " buckets"]
    terms: Float[np.ndarray, "buckets logits"]
    bias: Float[np.ndarray, " logits"]
    weight: float


@dataclasses.dataclass(frozen=True)
class Network:
    """A classifier, without what only training needs.

    Attributes:
      standardizer: of each feature of numeric sequences; None: it reads tokens.
      embedding: of each token; none of numeric sequences.
      ngram_embeddings: of the n-grams of 2, 3, ... tokens, added to that of the token that they end
        with: one row for each bucket of `flax_imdb.layers.hash_ngrams`.
      layers: between embedding and pooling.
      pooling: ``"max"``, ``"mean"`` or ``"max_mean"`` (both, concatenated) over the valid steps, 0
        for a row of length 0; None: the last layer returns one vector for each row.
      kernel: of the head.
      bias: of the head. With one logit, it is that of the second of two classes; otherwise each
        class has one. Their sigmoid or softmax are the probabilities.
      wide: the head of n-grams, if there is one.
      window: the layers and the pooling read windows of the embedded tokens, and the head reads the
        mean of their vectors (see `flax_imdb.layers.split_windows`); None: each text is one.
      multi_label: whether a text may have several labels: each has a logit, also if there are one
        or two, and the sigmoids are the probabilities.
    """

    standardizer: Scales | None
    embedding: Float[np.ndarray, "tokens embedding_features"]
    ngram_embeddings: tuple[Float[np.ndarray, "buckets embedding_features"], ...]
    layers: tuple[Layer, ...]
    pooling: str | None
    kernel: Float[np.ndarray, "features logits"]
    bias: Float[np.ndarray, " logits"]
    wide: WideHead | None
    window: Window | None
    multi_label: bool


def function(model: TrainedModel) -> tuple[Callable[..., Float[Array, "batch classes"]], Any]:
    """What a trained model computes, as a function of JAX, in float32 whatever it was trained in.

    Returns:
      A function from its variables, inputs and lengths to the probabilities of all classes; and the
      variables. The inputs are tokens, or numeric sequences as they are given: the function
      standardizes them.
    """
    module, variables = _module(model), _variables(model)
    standardizer = _standardizer(model)
    multi_label = model.info.multi_label

    def apply(
        variables: Any, inputs: Inputs, lengths: Int[Array, " batch"]
    ) -> Float[Array, "batch classes"]:
        if standardizer is not None:
            inputs = (inputs - standardizer.mean - standardizer.rest) / standardizer.scale
        logits: Any = module.apply(variables, inputs, lengths)
        return of_each_class(class_probabilities(logits, multi_label), multi_label)

    return apply, jax.tree.map(jnp.asarray, variables)


def check_size(model: TrainedModel, format: str) -> None:
    """Raise InputError if the weights are more than protobuf and FlatBuffers can hold."""
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(_variables(model)))
    if size > MOST_BYTES:
        raise InputError(
            f"`format` {format} cannot hold the model: it has {size / 1e9:.1f} GB of weights, and "
            f"{MOST_BYTES / 1e9:.1f} GB at most are possible"
        )


def network(model: TrainedModel) -> Network:
    """The network of a trained model, in float32.

    Raises:
      InputError: it has a layer that is not described here, such as one of an architecture of the
        user's own.
    """
    module, variables = _module(model), _variables(model)
    params, constants = variables["params"], variables["constants"]
    arch, wide = model.config.model.arch, None
    if module.wide_ngrams:
        of_wide = params["wide"]
        wide = WideHead(
            module.wide_ngrams,
            constants["wide"]["owners"],
            SCALE * constants["wide"]["log_ratios"] * of_wide["weights"],
            of_wide["bias"],
            module.wide_weight,
        )
    return Network(
        standardizer=_standardizer(model),
        embedding=params.get("embedding", {"embedding": np.empty((0, 0), "f")})["embedding"],
        ngram_embeddings=tuple(
            params[f"embedding_of_{n}_grams"]["embedding"] for n in range(2, module.ngrams + 1)
        ),
        layers=tuple(
            _layer(layer, params.get(f"encoder_{number}", {}), arch)
            for number, layer in enumerate(module.encoder)
        ),
        pooling=module.pooling,
        kernel=params["head"]["kernel"],
        bias=params["head"]["bias"],
        wide=wide,
        window=module.window,
        multi_label=model.info.multi_label,
    )


def _module(model: TrainedModel) -> Classifier:
    config = model.config
    # To remember fewer states is of use in training alone.
    exact = dataclasses.replace(config.model, precision="float32", remat_steps=None)
    return dataclasses.replace(config, model=exact).classifier(model.info.task)


def _standardizer(model: TrainedModel) -> Scales | None:
    """The scales of a model of numeric sequences.

    Raises:
      InputError: they are too large or too small for float32.
    """
    if model.info.task.features is None:
        return None
    of_model = model.info.standardizer
    mean, scale = np.array(of_model.mean, "f"), np.array(of_model.scale, "f")
    rest = (np.array(of_model.mean) - mean).astype("f")
    if not np.all(np.isfinite(scale)) or np.any(scale < np.finfo("f").tiny):
        raise InputError(
            "the features have scales that are too large or too small for float32, in which "
            "exported programs compute: multiply the features before training"
        )
    return Scales(mean, rest, scale)


def _variables(model: TrainedModel) -> Any:
    """In NumPy, hence without a device."""
    variables = {"params": model.state.params, "constants": model.state.constants}
    return jax.tree.map(np.asarray, variables)


def check_texts(model: TrainedModel, format: str) -> None:
    """Raise InputError if the model reads numeric sequences, which a format cannot hold."""
    if model.info.task.features is not None:
        raise InputError(
            f"`format` {format} cannot hold a model that reads numeric sequences: stablehlo, onnx "
            "and safetensors can"
        )


def only_plain(network: Network, format: str) -> Network:
    """The network, for a format that can hold neither n-grams nor windows.

    Raises:
      InputError: it has some.
    """
    for setting, value in (
        ("ngrams", network.ngram_embeddings and len(network.ngram_embeddings) + 1),
        ("wide_ngrams", network.wide and network.wide.ngrams),
        ("long", network.window and "windows"),
    ):
        if value:
            raise InputError(
                f"`format` {format} cannot hold `{setting}` {value}: stablehlo, onnx, "
                "safetensors and html can"
            )
    return network


def _layer(layer: Any, params: Any, arch: str) -> Layer:
    # Not of a subclass, which may compute something else.
    if type(layer) is LSTM and "cell" in params and _keeps_order(layer):
        weights = Weights(**params["cell"])
        if layer.reverse:
            return LSTMLayer(None, weights, layer.return_sequences)
        return LSTMLayer(weights, None, layer.return_sequences)
    is_lstm = type(layer) is Bidirectional and type(layer.layer) is LSTM
    if is_lstm and "forward" in params and layer.merge == "concat":
        forward, backward = (Weights(**params[name]["cell"]) for name in ("forward", "backward"))
        return LSTMLayer(forward, backward, layer.layer.return_sequences)
    if type(layer) is Conv and "conv" in params and layer.activation is nn.relu:
        return ConvLayer(**params["conv"])
    if type(layer) is MaxPool:
        return MaxPoolLayer(layer.window)
    raise InputError(
        f"`arch` {arch} has a layer that this `format` cannot hold, {type(layer).__name__}: "
        "stablehlo and safetensors can"
    )


def _keeps_order(layer: LSTM) -> bool:
    return layer.keep_order or not layer.reverse or not layer.return_sequences
