"""Classifiers of Flax's own layers."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from flax_imdb.errors import InputError
from flax_imdb.export.network import ConvLayer, MaxPoolLayer, Weights
from flax_imdb.interchange.imported import Arrays, Found, Imported, Named, imported, lstm

_GATES = "ifgo"


def from_flax(
    params: Mapping[str, Any], *, arch: str | None = None, pooling: str = "last"
) -> Imported:
    """A classifier of Flax's own layers: ``Embed``, ``RNN`` of an LSTM cell, ``Dense``.

    The cells are ``OptimizedLSTMCell`` or ``LSTMCell``. Before them there may be a ``Conv``, after
    which 2 steps are pooled. Modules are told by their parameters, and several cells must be
    numbered in order. In ``Bidirectional`` the forward one comes first.

    Args:
      params: the parameters, or all variables, of `flax.linen`.
      arch: the architecture. Parameters do not tell ``reversed_lstm`` from ``lstm``, nor what
        dropout there is, nor, unless a name has ``backward`` in it, ``bilstm`` from two layers.
        None: the first that has such layers.
      pooling: as in `flax_imdb.ModelConfig`.

    Raises:
      InputError: no architecture has such layers.
    """
    if not isinstance(params, Mapping):
        raise InputError(f"parameters are needed, and this is a {type(params).__name__}")
    variables = params["params"] if set(params) == {"params"} else params
    modules: dict[str, list[str]] = {"Embed": [], "Conv": [], "LSTM cell": [], "Dense": []}
    for path, kind in _flax_modules(variables, ""):
        modules[kind].append(path)
    for kind, least, most in (
        ("Embed", 1, 1),
        ("Conv", 0, 1),
        ("LSTM cell", 1, 99),
        ("Dense", 1, 1),
    ):
        if not least <= len(modules[kind]) <= most:
            listed = ", ".join(modules[kind]) or "none"
            raise InputError(f"one {kind} is needed, and there is {listed}")
    given = Arrays(_flat(variables, ""))
    embedding = given.take(f"{modules['Embed'][0]}/embedding", None, None)
    width, layers = embedding.shape[1], []
    for path in modules["Conv"]:
        kernel = given.take(f"{path}/kernel", None, width, None)
        width = kernel.shape[2]
        conv = ConvLayer(kernel, given.take(f"{path}/bias", width))
        layers = [Named(path, conv), Named("the pooling after it", MaxPoolLayer(2))]
    cells = _in_order(modules["LSTM cell"])
    both = arch == "bilstm" or (arch is None and any("backward" in path for path in cells))
    if both and len(cells) % 2:
        raise InputError(f"{cells[-1]} has no counterpart that reads in the other direction")
    per_layer = 2 if both else 1
    for first in range(0, len(cells), per_layer):
        paths = cells[first : first + per_layer]
        weights = [_flax_lstm(given, path, width) for path in paths]
        sequences = first + per_layer < len(cells) or pooling != "last"
        layer = lstm(weights, reverse=arch == "reversed_lstm", return_sequences=sequences)
        layers.append(Named(paths[0], layer))
        width = sum(each.features for each in weights)
    width *= 2 if pooling == "max_mean" else 1
    head = modules["Dense"][0]
    kernel = given.take(f"{head}/kernel", width, None)
    found = Found(embedding, layers, kernel, given.take(f"{head}/bias", kernel.shape[1]))
    given.check_all_taken()
    return imported(found, arch=arch, pooling=pooling)


def _flat(tree: Any, path: str) -> dict[str, Any]:
    if not isinstance(tree, Mapping):
        return {path: tree}
    flat = {}
    for name, branch in tree.items():
        flat.update(_flat(branch, f"{path}/{name}" if path else str(name)))
    return flat


def _flax_modules(tree: Any, path: str) -> Iterator[tuple[str, str]]:
    """The path and the kind of each module that has parameters."""
    if not isinstance(tree, Mapping):
        raise InputError(f"{path or 'the parameters'} is a {type(tree).__name__}, not a module")
    names = set(tree)
    if names == {"embedding"}:
        yield path, "Embed"
    elif names == {f"{of}{gate}" for of in "ih" for gate in _GATES}:
        yield path, "LSTM cell"
    elif names == {"kernel", "bias"}:
        yield path, "Conv" if np.ndim(tree["kernel"]) == 3 else "Dense"
    else:
        for name, branch in tree.items():
            inner = f"{path}/{name}" if path else str(name)
            if not isinstance(branch, Mapping):
                raise InputError(f"{inner} is not of a layer that is known here")
            yield from _flax_modules(branch, inner)


def _in_order(paths: list[str]) -> list[str]:
    """The paths by their numbers, forward before backward.

    Raises:
      InputError: they differ in more than that.
    """
    if len({re.sub(r"_?\d+|forward|backward", "", path) for path in paths}) > 1:
        raise InputError(f"the names do not tell the order of {', '.join(paths)}: number them")

    def key(path: str) -> list[tuple[int, str]]:
        parts = re.split(r"(\d+)", path.replace("forward", "1").replace("backward", "2"))
        return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]

    return sorted(paths, key=key)


def _flax_lstm(given: Arrays, path: str, width: int) -> Weights:
    features = None
    kernels, recurrent_kernels, biases = [], [], []
    for gate in _GATES:
        biases.append(given.take(f"{path}/h{gate}/bias", features))
        features = len(biases[0])
        kernels.append(given.take(f"{path}/i{gate}/kernel", width, features))
        recurrent_kernels.append(given.take(f"{path}/h{gate}/kernel", features, features))
    joined = (np.concatenate(arrays, axis=-1) for arrays in (kernels, recurrent_kernels, biases))
    return Weights(*joined)
