"""A classifier as plain arrays, computed by NumPy as their docstrings say."""

from typing import Any

import numpy as np
import pytest
from sklearn.utils import murmurhash3_32
from untrained import SETTINGS, question, untrained

from flax_imdb.errors import InputError
from flax_imdb.export.check import answers_of
from flax_imdb.export.network import (
    ConvLayer,
    Layer,
    LSTMLayer,
    MaxPoolLayer,
    Network,
    Weights,
    WideHead,
    network,
)
from flax_imdb.layers import LSTM, Bidirectional, Conv
from flax_imdb.models import ARCHITECTURES


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def direction(weights: Weights, steps: np.ndarray) -> np.ndarray:
    """The outputs of all steps, in the order in which they are computed."""
    h = c = np.zeros(weights.features)
    outputs = []
    for x in steps:
        gates = x @ weights.kernel + h @ weights.recurrent_kernel + weights.bias
        i, f, g, o = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.array(outputs).reshape(len(steps), weights.features)


def lstm(layer: LSTMLayer, steps: np.ndarray) -> np.ndarray:
    each = []
    if layer.forward is not None:
        each.append(direction(layer.forward, steps))
    if layer.backward is not None:
        each.append(direction(layer.backward, steps[::-1]))
    if not layer.return_sequences:
        return np.concatenate([pool("last", outputs) for outputs in each])
    if layer.backward is not None:
        each[-1] = each[-1][::-1]
    return np.concatenate(each, axis=1)


def apply(layer: Layer, steps: np.ndarray) -> np.ndarray:
    """A layer, on the valid steps of one text, [time, features]."""
    match layer:
        case LSTMLayer():
            return lstm(layer, steps)
        case ConvLayer(kernel, bias):
            size = len(kernel)
            padded = np.pad(steps, (((size - 1) // 2, size // 2), (0, 0)))
            windows = [padded[t : t + size] for t in range(len(steps))]
            each = [np.einsum("si,sio->o", window, kernel) + bias for window in windows]
            return np.maximum(np.array(each).reshape(-1, len(bias)), 0)
        case MaxPoolLayer(window):
            starts = range(0, len(steps), window)
            pooled = [steps[start : start + window].max(axis=0) for start in starts]
            return np.array(pooled or [np.zeros(steps.shape[1])])


def pool(kind: str, steps: np.ndarray) -> np.ndarray:
    if len(steps) == 0:
        return np.zeros(steps.shape[1])
    return {"max": steps.max(axis=0), "mean": steps.mean(axis=0), "last": steps[-1]}[kind]


def hashes(tokens: np.ndarray, n: int) -> np.ndarray:
    padded = np.append(np.zeros(n - 1, np.int32), tokens)
    ngrams = [padded[t : t + n].tobytes() for t in range(len(tokens))]
    return np.array([murmurhash3_32(ngram, positive=True) for ngram in ngrams], np.int64)


def wide_logits(head: WideHead, tokens: np.ndarray) -> np.ndarray:
    total, number = np.zeros(len(head.bias)), 0
    for n in range(1, head.ngrams + 1):
        of_text = {each % 2**31 for each in hashes(tokens, n)[tokens != 0]}
        found = [each % len(head.owners) for each in of_text]
        found = [b for b, each in zip(found, of_text, strict=True) if head.owners[b] == each]
        total += head.terms[found].sum(axis=0)
        number += len(found)
    return head.bias + total / np.sqrt(max(1, number))


def windows(steps: np.ndarray, window: tuple[int, int] | None) -> list[np.ndarray]:
    """The first `length` steps, and those from `stride` on until a window reaches the end."""
    if window is None or len(steps) <= window[0]:
        return [steps]
    length, stride = window
    return [steps[:length], *windows(steps[stride:], window)]


def encoder_logits(net: Network, steps: np.ndarray) -> np.ndarray:
    for layer in net.layers:
        steps = apply(layer, steps)
    if net.pooling is not None:
        steps = np.concatenate([pool(kind, steps) for kind in net.pooling.split("_")])
    return steps @ net.kernel + net.bias


def probabilities(net: Network, tokens: np.ndarray) -> np.ndarray:
    """Of one text without padding."""
    steps: Any = net.embedding[tokens].astype(float)
    for n, table in enumerate(net.ngram_embeddings, start=2):
        steps = steps + table[hashes(tokens, n) % len(table)]
    each = [encoder_logits(net, window) for window in windows(steps, net.window)]
    logits = np.mean(each, axis=0)
    if net.wide is not None:
        wide = wide_logits(net.wide, tokens)
        logits = (1 - net.wide.weight) * logits + net.wide.weight * wide
    if net.multi_label:
        return sigmoid(logits)
    if len(logits) == 1:
        return np.append(1 - sigmoid(logits), sigmoid(logits))
    return np.exp(logits) / np.exp(logits).sum()


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_it_is_all_that_the_model_computes_with(settings: dict[str, Any]) -> None:
    model = untrained(**settings)
    data = model.config.data
    net, asked = network(model), question(data.padding, time=data.longest)
    each = [probabilities(net, tokens[:length]) for tokens, length in zip(*asked, strict=True)]
    np.testing.assert_allclose(answers_of(model)(*asked), each, rtol=0, atol=2e-6)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_is_described(arch: str) -> None:
    kinds = [type(layer) for layer in network(untrained(arch)).layers]
    assert kinds == ([ConvLayer, MaxPoolLayer, LSTMLayer] if "conv" in arch else [LSTMLayer])


class Doubled(LSTM):
    def __call__(self, inputs: Any, **options: Any) -> Any:
        return super().__call__(2 * inputs, **options)


SHARED = LSTM(3)


@pytest.mark.parametrize(
    "encoder",
    [
        (Doubled(4),),
        (Conv(4, 3),),
        (Bidirectional(LSTM(4), merge="sum"),),
        (LSTM(4, reverse=True),),
        (SHARED, SHARED),
    ],
    ids=["subclass", "without activation", "merged otherwise", "in another order", "shared"],
)
def test_layers_that_compute_something_else_are_refused(
    encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARCHITECTURES, "own", lambda _: {"encoder": encoder, "pooling": "mean"})
    with pytest.raises(InputError) as raised:
        network(untrained("own"))
    assert str(raised.value) == (
        "`arch` own has a layer that this `format` cannot hold, "
        f"{type(encoder[-1]).__name__}: stablehlo and safetensors can"
    )
