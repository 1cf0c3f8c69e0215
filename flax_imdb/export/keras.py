"""A ``.keras`` file: the classifier as a functional model of Keras 3, on any of its backends."""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from flax_imdb.data import DataConfig
from flax_imdb.data.tokenizer import PAD
from flax_imdb.errors import InputError
from flax_imdb.export.check import Answer
from flax_imdb.export.network import (
    ConvLayer,
    LSTMLayer,
    MaxPoolLayer,
    Network,
    check_texts,
    network,
    only_plain,
)
from flax_imdb.predict import TrainedModel

NEEDS = {"keras": "keras"}

_LOWEST = float(np.finfo(np.float32).min)


def import_keras() -> ModuleType:
    """Keras on the backend that the user has chosen, or else on JAX.

    It is chosen by ``KERAS_BACKEND``, or by having imported Keras already.

    Raises:
      InputError: the backend cannot be imported.
    """
    chosen = "keras" in sys.modules or "KERAS_BACKEND" in os.environ
    if not chosen:  # Keras's own choice is TensorFlow, which may not be there.
        os.environ["KERAS_BACKEND"] = "jax"
    try:
        return importlib.import_module("keras")
    except (ImportError, ValueError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "keras":
            raise InputError("keras is not installed: pip install keras") from None
        raise InputError(
            f"keras cannot be imported: {error}: KERAS_BACKEND must name a backend that is "
            "installed, such as jax"
        ) from None
    finally:
        if not chosen:
            del os.environ["KERAS_BACKEND"]


def write(model: TrainedModel, path: Path) -> dict[str, Any]:
    """Write the classifier as a Keras model of ids alone.

    Raises:
      InputError: Keras cannot hold the model.
    """
    check_texts(model, "keras")
    built = as_keras(only_plain(network(model), "keras"), model.config.data)
    built.save(path)
    if model.config.data.padding == "keras":
        return {}
    return {"lengths": f"not asked for: behind the ids of each row, ids {PAD} are padding"}


def read(path: Path) -> Answer:
    """A function from tokens and lengths to probabilities, which Keras computes."""
    keras = import_keras()
    model = keras.saving.load_model(path, compile=False, safe_mode=True)

    def answer(
        tokens: Int[np.ndarray, "batch time"], lengths: Int[np.ndarray, " batch"]
    ) -> Float[np.ndarray, "batch classes"]:
        if len(tokens) == 0:  # Some layers of some backends fail on that.
            return np.empty((0, *model.output_shape[1:]), np.float32)
        valid = np.arange(tokens.shape[1]) < lengths[:, None]
        outputs = model(np.where(valid, tokens, PAD), training=False)
        return np.asarray(keras.ops.convert_to_numpy(outputs))

    return answer


def as_keras(network: Network, data: DataConfig) -> Any:
    """The network as a Keras model: from ids, int32 [batch, time], to probabilities.

    Args:
      network: the network, which has no n-grams.
      data: with ``padding="masked"``, what follows the last id that is not `PAD` is padding, and
        there may be any number of steps. With ``"keras"`` there are `max_length`, all computed.
    """
    keras = import_keras()
    masked = data.padding == "masked"
    ids = keras.Input((None if masked else data.max_length,), dtype="int32", name="ids")
    mask = keras.ops.not_equal(ids, PAD) if masked else None
    x = _apply(
        keras.layers.Embedding(*network.embedding.shape, dtype="float32", name="embedding"),
        [network.embedding],
        ids,
    )
    for number, layer in enumerate(network.layers):
        x, mask = _LAYERS[type(layer)](layer, x, mask, f"layer_{number}")
    if network.pooling is not None:
        x = _pooled(network.pooling, x, mask)
    kernel, bias = network.kernel, network.bias
    if len(bias) == 1 and not network.multi_label:  # The softmax of 0 and a logit has its sigmoid.
        kernel, bias = np.insert(kernel, 0, 0, axis=1), np.insert(bias, 0, 0)
    activation = "sigmoid" if network.multi_label else "softmax"
    head = keras.layers.Dense(len(bias), activation, dtype="float32", name="probabilities")
    return keras.Model(ids, _apply(head, [kernel, bias], x), name="classifier")


def _apply(layer: Any, arrays: list[np.ndarray], x: Any, **options: Any) -> Any:
    """What a layer with these arrays makes of `x`."""
    outputs = layer(x, **options)
    layer.set_weights(arrays)
    return outputs


def _where(mask: Any, x: Any, otherwise: float = 0.0) -> Any:
    """`x` at the steps of `mask`, and `otherwise` at padding."""
    from keras import ops

    return x if mask is None else ops.where(ops.expand_dims(mask, -1), x, otherwise)


def _lstm(layer: LSTMLayer, x: Any, mask: Any, name: str) -> tuple[Any, Any]:
    from keras import layers, ops

    weights = layer.forward or layer.backward
    assert weights is not None
    lstm = layers.LSTM(
        weights.features,
        return_sequences=layer.return_sequences,
        go_backwards=layer.forward is None,
        dtype="float32",
        name=name,
    )
    arrays = [array for weights in (layer.forward, layer.backward) if weights for array in weights]
    if layer.forward and layer.backward:
        lstm = layers.Bidirectional(lstm, dtype="float32", name=name)
    x = _apply(lstm, arrays, x, mask=mask)
    if layer.return_sequences:
        if layer.forward is None:  # Its outputs are in the order that it reads.
            x = ops.flip(x, 1)
        x = _where(mask, x)
    return x, mask


def _conv(layer: ConvLayer, x: Any, mask: Any, name: str) -> tuple[Any, Any]:
    from keras import layers

    size, _, features = layer.kernel.shape
    conv = layers.Conv1D(
        features, size, padding="same", activation="relu", dtype="float32", name=name
    )
    return _where(mask, _apply(conv, [layer.kernel, layer.bias], _where(mask, x))), mask


def _max_pool(layer: MaxPoolLayer, x: Any, mask: Any, name: str) -> tuple[Any, Any]:
    from keras import layers, ops

    if mask is not None:
        # One step remains of a row without any, as if it had one of zeros.
        mask = ops.concatenate([ops.ones_like(mask[:, :1]), mask[:, 1:]], 1)
        x = _where(mask, x, _LOWEST)
        mask = mask[:, :: layer.window]
    # Not by padding="same", which pads before the first step, too.
    x = ops.pad(x, [[0, 0], [0, layer.window - 1], [0, 0]], constant_values=_LOWEST)
    pool = layers.MaxPooling1D(layer.window, dtype="float32", name=name)
    return _where(mask, pool(x)), mask


_LAYERS: Mapping[type, Callable[..., tuple[Any, Any]]] = {
    LSTMLayer: _lstm,
    ConvLayer: _conv,
    MaxPoolLayer: _max_pool,
}


def _pooled(pooling: str, x: Any, mask: Any) -> Any:
    from keras import ops

    if pooling == "max_mean":
        return ops.concatenate([_pooled(each, x, mask) for each in ("max", "mean")], -1)
    if mask is None:
        return (ops.max if pooling == "max" else ops.mean)(x, axis=1)
    steps = ops.sum(ops.cast(mask, "float32"), axis=1, keepdims=True)
    if pooling == "mean":
        return ops.sum(_where(mask, x), axis=1) / ops.maximum(steps, 1)
    return ops.where(ops.greater(steps, 0), ops.max(_where(mask, x, _LOWEST), axis=1), 0.0)
