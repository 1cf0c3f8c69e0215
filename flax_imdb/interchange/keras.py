"""Classifiers of Keras."""

import dataclasses
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from flax_imdb.data import Padding
from flax_imdb.data.tokenizer import PAD
from flax_imdb.environment import fixed_settings
from flax_imdb.errors import InputError, one_line
from flax_imdb.export.check import TOLERANCE
from flax_imdb.export.keras import import_keras
from flax_imdb.export.network import ConvLayer, LSTMLayer, MaxPoolLayer, Weights
from flax_imdb.interchange.imported import Found, Imported, Named, imported, lstm
from flax_imdb.paths import local_path, unreadable
from flax_imdb.training.metrics import class_probabilities, of_each_class

_LSTM_OPTIONS = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "use_bias": True,
    "stateful": False,
    "return_state": False,
}
_CONV_OPTIONS = {
    "activation": "relu",
    "use_bias": True,
    "padding": "same",
    "strides": (1,),
    "dilation_rate": (1,),
    "groups": 1,
    "data_format": "channels_last",
}


def from_keras(model: Any) -> Imported:
    """A classifier of Keras 3: a ``Sequential`` or functional model of ids.

    Its layers are ``Embedding``, perhaps ``Conv1D`` and ``MaxPooling1D``, ``LSTM`` or
    ``Bidirectional(LSTM)``, perhaps global pooling, ``Dense``, and dropout between them. The rates
    of dropout are taken over where the architecture has dropout at the same place. The model is
    asked for the probabilities of a few rows of ids, and what is made of it must give the same.
    That tells how it treats padding, too.

    Args:
      model: the model, or a ``.keras`` file.

    Raises:
      InputError: no architecture has such layers, or the file cannot be read.
    """
    if isinstance(model, str | os.PathLike):
        model = _load(local_path("model", model, "file"))
    keras = import_keras()
    # Not of a subclass, which may compute something else.
    own = type(model).__module__.partition(".")[0] == "keras"
    if not (own and isinstance(model, keras.Model)):
        raise InputError(
            f"a Sequential or functional model of Keras, or a .keras file, is needed, and this is "
            f"a {type(model).__name__}"
        )
    if not model.built:
        raise InputError(f"model {model.name} has no parameters yet: it needs to be built")
    shapes = [tuple(each.shape) for each in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 2 or len(model.outputs) != 1:
        raise InputError(f"model {model.name} has the inputs {shapes}: ids alone are needed")
    reader = _Reader(shapes[0][1])
    for layer in model.layers:
        reader.read(layer)
    return _like(model, reader)


def _load(path: Path) -> Any:
    """The model of a file, which has nothing that could run code.

    Raises:
      InputError: it has, or is not a file of Keras 3.
    """
    if path.suffix != ".keras":  # Keras goes by the name, and would read another format.
        raise InputError(f"{path}: a name that ends with .keras is needed")
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
            stored = {each.filename: each.file_size for each in archive.infolist()}
        config = {**config, "compile_config": None}  # It is not read.
        parts = list(_parts(config))
    except OSError as error:
        raise unreadable(path, error) from None
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, RuntimeError):
        raise InputError(f"{path} is not a .keras file: model.save of Keras 3 writes one") from None
    for part in parts:
        module, kind = part.get("module"), part["class_name"]
        ours = module is None or str(module).partition(".")[0] == "keras"
        if kind == "Lambda" or not ours or ">" in str(part.get("registered_name")):
            name = part["config"].get("name") if isinstance(part.get("config"), dict) else None
            raise InputError(
                f"{path}: layer {name} is a {kind}, which can run any code: only layers of Keras "
                "are read"
            )
    numbers = stored.get("model.weights.h5", 0) // 2  # At least 2 bytes each.
    for part in parts:
        if _size(part) > numbers:  # It would be allocated before the file is read.
            raise InputError(
                f"{path}: a {part['class_name']} has more numbers than the file: it is damaged"
            )
    keras = import_keras()
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # It says no more about what it raises.
        raise InputError(f"{path} cannot be read by Keras: {one_line(error)}") from None


def _size(part: Mapping[str, Any]) -> int:
    """How many numbers a layer has at least."""
    config = part.get("config")
    sizes = config if isinstance(config, dict) else {}

    def size(name: str) -> int:
        value = sizes.get(name)
        return value if isinstance(value, int) else 0

    recurrent = 4 * size("units") ** 2 if part["class_name"] == "LSTM" else size("units")
    return max(size("input_dim") * size("output_dim"), recurrent, size("filters"))


def _parts(config: Any) -> Iterator[dict[str, Any]]:
    """All objects that a configuration describes."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        config = list(config.values())
    if isinstance(config, list):
        for each in config:
            yield from _parts(each)


class _Reader:
    """Reads the layers of a model, in order.

    Args:
      time: the number of ids that it takes; None: any.
    """

    def __init__(self, time: int | None):
        self.time = time
        self.embedding: Float[np.ndarray, "tokens embedding_features"] | None = None
        self.layers: list[Named] = []
        self.head: tuple[np.ndarray, np.ndarray] | None = None
        self.activation = ""
        # What may be the reason if the model answers otherwise.
        self.hint = "no other connections or operations are known here"
        # Of what is embedded, of an LSTM's inputs and state, and of the head's inputs.
        self.rates = {"embedded": 0.0, "inputs": 0.0, "recurrent": 0.0, "head": 0.0}

    def read(self, layer: Any) -> None:
        """Read a layer."""
        kind = type(layer).__name__
        read: Callable[[Any], None] | None = {
            "InputLayer": self._nothing,
            "GlobalMaxPooling1D": self._nothing,
            "GlobalAveragePooling1D": self._nothing,
            "Embedding": self._embedding,
            "Dropout": self._dropout,
            "SpatialDropout1D": self._dropout,
            "Conv1D": self._conv,
            "MaxPooling1D": self._max_pool,
            "LSTM": self._lstm,
            "Bidirectional": self._both,
            "Dense": self._dense,
        }.get(kind)
        if read is None or type(layer).__module__.partition(".")[0] != "keras":
            raise InputError(f"layer {layer.name} is a {kind}, which no architecture here has")
        if layer.dtype_policy.compute_dtype != "float32":
            raise InputError(
                f"layer {layer.name} computes in {layer.dtype_policy.compute_dtype}: float32 is "
                "needed"
            )
        if (self.embedding is None) != (kind in ("InputLayer", "Embedding")) or self.head:
            raise InputError(
                f"layer {layer.name} does not fit: one Embedding comes first, and one Dense last"
            )
        read(layer)

    def _nothing(self, layer: Any) -> None:
        pass

    def _embedding(self, layer: Any) -> None:
        (self.embedding,) = _weights(layer, 1)

    def _dropout(self, layer: Any) -> None:
        self.rates["embedded" if not self._lstms() else "head"] = layer.rate

    def _lstms(self) -> list[Named]:
        return [each for each in self.layers if isinstance(each.layer, LSTMLayer)]

    def _conv(self, layer: Any) -> None:
        _check(layer, _CONV_OPTIONS)
        self.layers.append(Named(layer.name, ConvLayer(*_weights(layer, 2))))

    def _max_pool(self, layer: Any) -> None:
        window, strides = layer.pool_size[0], layer.strides[0]
        if strides != window:
            raise InputError(f"layer {layer.name} has strides {strides}: {window} are needed")
        if layer.padding == "valid" and (self.time is None or self.time % window):
            self.hint = (
                f"layer {layer.name} leaves out the last step of an odd number: padding='same' is "
                "needed, or an even number of ids, as by keras.Input((500,))"
            )
        self.layers.append(Named(layer.name, MaxPoolLayer(window)))

    def _lstm(self, layer: Any) -> None:
        weights = self._direction(layer)
        read = lstm([weights], reverse=layer.go_backwards, return_sequences=layer.return_sequences)
        self.layers.append(Named(layer.name, read))

    def _both(self, layer: Any) -> None:
        forward, backward = layer.forward_layer, layer.backward_layer
        if type(forward).__name__ != "LSTM" or type(backward).__name__ != "LSTM":
            raise InputError(f"layer {layer.name} is not of LSTMs")
        _check(layer, {"merge_mode": "concat"})
        if forward.go_backwards or not backward.go_backwards:
            raise InputError(f"layer {layer.name} reads backwards first")
        both = [self._direction(each) for each in (forward, backward)]
        read = lstm(both, reverse=False, return_sequences=forward.return_sequences)
        self.layers.append(Named(layer.name, read))

    def _direction(self, layer: Any) -> Weights:
        _check(layer, _LSTM_OPTIONS)
        self.rates |= {"inputs": layer.dropout, "recurrent": layer.recurrent_dropout, "head": 0.0}
        return Weights(*_weights(layer, 3))

    def _dense(self, layer: Any) -> None:
        self.activation = layer.get_config()["activation"]
        fitting = ("linear", "sigmoid" if layer.units == 1 else "softmax")
        if self.activation not in fitting:
            raise InputError(
                f"layer {layer.name} has the activation {self.activation!r:.40} of {layer.units} "
                f"units: {' or '.join(fitting)} is needed"
            )
        _check(layer, {"use_bias": True})
        kernel, bias = _weights(layer, 2)
        self.head = kernel, bias

    def poolings(self) -> Sequence[str]:
        """The poolings that the shapes allow.

        Raises:
          InputError: there is none.
        """
        if self.embedding is None or self.head is None or not self._lstms():
            missing = "Embedding" if self.embedding is None else "LSTM" if self.head else "Dense"
            raise InputError(f"there is no layer {missing}")
        last = self.layers[-1].layer
        if not isinstance(last, LSTMLayer):
            raise InputError(f"layer {self.layers[-1].name} does not fit: LSTMs come last")
        if not last.return_sequences:
            return ("last",)
        width = sum(each.features for each in (last.forward, last.backward) if each)
        return ("max_mean",) if len(self.head[0]) == 2 * width else ("max", "mean")

    def imported(self, pooling: str) -> Imported:
        """What was read, with this pooling.

        Raises:
          InputError: no architecture has such layers.
        """
        assert self.embedding is not None
        assert self.head is not None
        made = imported(Found(self.embedding, self.layers, *self.head), pooling=pooling)
        arch, rates = made.config.arch, self.rates
        within = arch == "bilstm" or (arch == "lstm" and rates["inputs"])
        if arch == "lstm" and within:
            arch = "lstm_recurrent_dropout"
        elif arch in ("lstm", "conv_lstm") and (rates["embedded"] or rates["head"]):
            arch = f"{arch}_dropout"
        config = dataclasses.replace(
            made.config,
            arch=arch,
            dropout=rates["inputs" if within else "embedded"],
            recurrent_dropout=rates["recurrent"],
            head_dropout=rates["head"],
        )
        return dataclasses.replace(made, config=config, max_length=self.time)


def _weights(layer: Any, number: int) -> list[np.ndarray]:
    arrays = layer.get_weights()
    if len(arrays) != number:
        raise InputError(f"layer {layer.name} has {len(arrays)} arrays: {number} are needed")
    return list(arrays)


def _check(layer: Any, options: Mapping[str, Any]) -> None:
    """Raise InputError if the layer has another option."""
    config = layer.get_config()
    for name, wanted in options.items():
        value = tuple(config[name]) if isinstance(config[name], list) else config[name]
        if value != wanted:
            raise InputError(f"layer {layer.name} has {name} {value!r:.40}: {wanted!r} is needed")


@fixed_settings()
@jax.default_matmul_precision("float32")
def _like(model: Any, reader: _Reader) -> Imported:
    """What was read, with the padding and the pooling with which it answers as the model.

    Raises:
      InputError: with none it does.
    """
    best, least = None, np.inf
    tokens, lengths = _rows(reader)
    theirs = _probabilities(model, reader.activation, tokens)
    for pooling in reader.poolings():
        made = reader.imported(pooling)
        for padding in get_args(Padding):
            valid = lengths if padding == "masked" else np.full_like(lengths, tokens.shape[1])
            logits = made.module().apply({"params": made.params}, jnp.asarray(tokens), valid)
            difference = np.max(np.abs(_of_classes(logits) - theirs))
            if difference < least:  # Not if it is NaN.
                best, least = dataclasses.replace(made, padding=padding), difference
    if best is None or least > TOLERANCE:
        raise InputError(
            f"model {model.name} answers otherwise than its layers, one after the other, by "
            f"{least:.1e}: {reader.hint}"
        )
    return best


def _rows(reader: _Reader) -> tuple[Int[np.ndarray, "batch time"], Int[np.ndarray, " batch"]]:
    """Rows of random ids, padded behind, and their lengths."""
    assert reader.embedding is not None
    time, ids = reader.time or 13, len(reader.embedding)  # An odd number, for pooling.
    tokens = np.random.default_rng(0).integers(min(1, ids - 1), ids, (8, time), dtype=np.int32)
    lengths = np.linspace(1, time, len(tokens)).astype(np.int32)
    tokens[np.arange(time) >= lengths[:, None]] = PAD
    return tokens, lengths


def _probabilities(
    model: Any, activation: str, tokens: Int[np.ndarray, "batch time"]
) -> Float[np.ndarray, "batch classes"]:
    """Those that a model of Keras gives."""
    import keras

    outputs = keras.ops.convert_to_numpy(model(tokens, training=False))
    if activation == "linear":
        return _of_classes(outputs)
    return of_each_class(outputs)


def _of_classes(logits: Any) -> Float[np.ndarray, "batch classes"]:
    """The probability of each class."""
    return of_each_class(np.asarray(class_probabilities(jnp.asarray(logits))))
