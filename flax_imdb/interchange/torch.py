"""Classifiers of PyTorch."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from flax_imdb.errors import InputError, one_line
from flax_imdb.export.network import ConvLayer, MaxPoolLayer, Weights
from flax_imdb.interchange.imported import Arrays, Found, Imported, Named, imported, lstm
from flax_imdb.paths import local_path, unreadable


def from_torch(
    state_dict: Mapping[str, Any] | str | os.PathLike[str],
    *,
    arch: str | None = None,
    pooling: str | None = None,
) -> Imported:
    """A classifier of PyTorch, from its state dict.

    Its names are those of the module in docs/exports.md: ``embedding.weight``;
    ``conv.weight`` and ``conv.bias``, if there is a convolution, after which 2 steps are pooled;
    ``lstm.weight_ih_l0`` and so on, as `torch.nn.LSTM` has them; ``head.weight`` and ``head.bias``.

    Args:
      state_dict: arrays or tensors by name, or a file of safetensors.
      arch: the architecture. The names do not tell ``reversed_lstm`` from ``lstm``, nor what
        dropout there is. None: as the file says, or the first that has such layers.
      pooling: as in `flax_imdb.ModelConfig`. None: as the file says, or ``"last"``.

    Raises:
      InputError: no architecture has such layers, or the file cannot be read.
    """
    arrays, metadata = _state(state_dict)
    arch, pooling = arch or metadata.get("arch"), pooling or metadata.get("pooling", "last")
    given = Arrays(arrays)
    embedding = given.take("embedding.weight", None, None)
    width, layers = embedding.shape[1], []
    if "conv.weight" in given:
        kernel = given.take("conv.weight", None, width, None)
        width = len(kernel)
        conv = ConvLayer(kernel.transpose(2, 1, 0), given.take("conv.bias", width))
        layers = [Named("conv", conv), Named("the pooling after it", MaxPoolLayer(2))]
    last = pooling == "last"
    number = 0
    while f"lstm.weight_ih_l{number}" in given or number == 0:
        more = f"lstm.weight_ih_l{number + 1}" in given
        both = f"lstm.weight_ih_l{number}_reverse" in given
        ends = (f"l{number}", f"l{number}_reverse") if both else (f"l{number}",)
        weights = [_torch_lstm(given, end, width) for end in ends]
        layer = lstm(weights, reverse=arch == "reversed_lstm", return_sequences=more or not last)
        layers.append(Named(f"lstm l{number}", layer))
        width = sum(each.features for each in weights)
        number += 1
    width *= 2 if pooling == "max_mean" else 1
    kernel = given.take("head.weight", None, width).T
    found = Found(embedding, layers, kernel, given.take("head.bias", kernel.shape[1]))
    given.check_all_taken()
    return imported(found, arch=arch, pooling=pooling)


def _torch_lstm(given: Arrays, end: str, width: int) -> Weights:
    recurrent = given.take(f"lstm.weight_hh_{end}", None, None)
    features = recurrent.shape[1]
    if len(recurrent) != 4 * features:
        raise InputError(
            f"lstm.weight_hh_{end} has the shape {recurrent.shape}: (4 * units, units) is needed"
        )
    kernel = given.take(f"lstm.weight_ih_{end}", 4 * features, width)
    bias = sum(given.take(f"lstm.bias_{of}_{end}", 4 * features) for of in ("ih", "hh"))
    return Weights(kernel.T, recurrent.T, np.asarray(bias))


def _state(
    state_dict: Mapping[str, Any] | str | os.PathLike[str],
) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """The arrays, and what a file says of them."""
    if isinstance(state_dict, Mapping):
        if other := next((name for name in state_dict if not isinstance(name, str)), None):
            raise InputError(f"a state dict has names, and this one has {other!r:.40}")
        return state_dict, {}
    if not isinstance(state_dict, str | os.PathLike):
        raise InputError(
            f"a state dict or a file of safetensors is needed, and this is a "
            f"{type(state_dict).__name__}"
        )
    from safetensors import SafetensorError, safe_open

    path = local_path("state_dict", state_dict, "file")
    try:
        with path.open("rb") as content:
            start = content.read(2)
        if start == b"PK" or start[:1] == b"\x80":
            raise InputError(
                f"{path} is a pickle, which can run any code when it is read: save the state dict "
                "with safetensors.torch.save_file"
            )
        with safe_open(path, "flax") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except SafetensorError as error:
        raise InputError(f"{path} is not a file of safetensors: {one_line(error)}") from None
    except OSError as error:
        raise unreadable(path, error) from None
