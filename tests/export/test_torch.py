"""The state dict, computed by PyTorch's documented equations; with PyTorch itself where it is."""

import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from untrained import ARCHITECTURES, question, untrained, untrained_on_sequences

from flax_imdb.errors import InputError
from flax_imdb.export import export
from flax_imdb.export import torch as torch_format
from flax_imdb.export.check import TOLERANCE, answers_of
from flax_imdb.export.torch import read, write

PAGE = Path(__file__).parents[2] / "docs" / "exports.md"
SETTINGS = [
    *((arch, {}) for arch in ARCHITECTURES),
    ("lstm", {"padding": "keras"}),
    ("bilstm", {"layers": 2, "pooling": "max_mean"}),
    ("reversed_lstm", {"layers": 2}),
    ("conv_lstm", {"pooling": "max", "classes": 3}),
    ("lstm", {"pooling": "mean"}),
    ("lstm", {"classes": 2, "multi_label": True}),
    ("bilstm", {"classes": 1, "multi_label": True}),
]


def of_torch() -> str:
    """The code that the documentation shows."""
    section = PAGE.read_text().partition("\n## torch\n")[2]
    return section.partition("```python\n")[2].partition("```")[0]


def state(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    with safe_open(path, "np") as file:
        names = file.keys()
        return {name: file.get_tensor(name) for name in names}, file.metadata()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm(weights: dict[str, np.ndarray], layer: str, x: np.ndarray) -> np.ndarray:
    """The outputs for one text, by the equations in the documentation of torch.nn.LSTM."""
    w_ih, w_hh, b_ih, b_hh = (
        weights[f"lstm.{name}_{layer}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    h = c = np.zeros(w_hh.shape[1], np.float32)
    outputs = []
    for step in x:
        i, f, g, o = np.split(w_ih @ step + b_ih + w_hh @ h + b_hh, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.array(outputs)


def logits(weights: dict[str, np.ndarray], told: dict[str, str], ids: np.ndarray) -> np.ndarray:
    """Those of one text that has ids."""
    x = weights["embedding.weight"][ids]
    if "conv.weight" in weights:  # torch.nn.Conv1d(padding=1), ReLU, MaxPool1d(2, ceil_mode=True)
        around = np.pad(x, [(1, 1), (0, 0)])
        windows = np.stack([around[i : i + 3] for i in range(len(x))])
        x = np.einsum("tkc,fck->tf", windows, weights["conv.weight"]) + weights["conv.bias"]
        x = np.maximum(x, 0)
        x = np.array([x[i : i + 2].max(0) for i in range(0, len(x), 2)])
    if told["arch"] == "reversed_lstm":
        x = x[::-1]
    number, last = 0, np.zeros(0, np.float32)
    while f"lstm.weight_ih_l{number}" in weights:
        outputs = [lstm(weights, f"l{number}", x)]
        if f"lstm.weight_ih_l{number}_reverse" in weights:
            outputs.append(lstm(weights, f"l{number}_reverse", x[::-1]))
        last = np.concatenate([each[-1] for each in outputs])
        x = np.hstack([outputs[0], *(each[::-1] for each in outputs[1:])])
        number += 1
    pooled = {"last": last, "max": x.max(0), "mean": x.mean(0)}
    joined = np.concatenate([pooled[each] for each in told["pooling"].split("_")])
    return weights["head.weight"] @ joined + weights["head.bias"]


@pytest.mark.parametrize(("arch", "settings"), SETTINGS)
def test_pytorchs_equations_give_the_answers_of_the_model(
    arch: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    model = untrained(arch, **settings)
    write(model, tmp_path / "model.safetensors")
    weights, told = state(tmp_path / "model.safetensors")
    batch = question(model.config.data.padding)
    expected, several = answers_of(model)(*batch), "multi_label" in told
    assert several == model.info.multi_label
    for ids, length, probabilities in zip(*batch, expected, strict=True):
        if length:
            computed = logits(weights, told, ids[:length])
            two = np.insert(computed, 0, 0) if len(computed) == 1 else computed
            exponents = np.exp(two)
            of_classes = exponents / exponents.sum()
            difference = (sigmoid(computed) if several else of_classes) - probabilities
            assert np.max(np.abs(difference)) < TOLERANCE


def test_names_and_shapes_are_those_of_torch_nn(tmp_path: Path) -> None:
    write(untrained("bilstm", classes=3), tmp_path / "model.safetensors")
    weights, told = state(tmp_path / "model.safetensors")
    of_lstm = {"weight_ih": (16, 3), "weight_hh": (16, 4), "bias_ih": (16,), "bias_hh": (16,)}
    assert {name: array.shape for name, array in weights.items()} == {
        "embedding.weight": (13, 3),
        **{f"lstm.{name}_l0": shape for name, shape in of_lstm.items()},
        **{f"lstm.{name}_l0_reverse": shape for name, shape in of_lstm.items()},
        "head.weight": (3, 8),
        "head.bias": (3,),
    }
    assert told == {"format": "pt", "arch": "bilstm", "pooling": "last"}


def test_the_documentation_shows_the_function_that_loads_a_file() -> None:
    assert inspect.getsource(torch_format.load) in of_torch()


def test_windows_are_refused(tmp_path: Path) -> None:
    message = "`format` torch cannot hold `long` windows: stablehlo, onnx, safetensors and html can"
    with pytest.raises(InputError, match=message):
        torch_format.write(untrained(long="windows"), tmp_path / "model.safetensors")


def test_ngrams_are_refused(tmp_path: Path) -> None:
    model = untrained(ngrams=2, ngram_buckets=8)
    with pytest.raises(InputError, match="`format` torch cannot hold `ngrams` 2: "):
        write(model, tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_without_pytorch_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match="needs torch, which is not installed: pip install torch "):
        export(untrained(), "torch", tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
class TestWithPyTorch:
    @pytest.mark.parametrize(("arch", "settings"), SETTINGS)
    def test_it_answers_as_the_model(
        self, arch: str, settings: dict[str, Any], tmp_path: Path
    ) -> None:
        """For rows of length 0 and 1, too."""
        model = untrained(arch, **settings)
        write(model, tmp_path / "model.safetensors")
        batch = question(model.config.data.padding)
        difference = read(tmp_path / "model.safetensors")(*batch) - answers_of(model)(*batch)
        assert np.max(np.abs(difference)) < TOLERANCE

    def test_the_function_of_the_documentation_loads_a_file(self, tmp_path: Path) -> None:
        import torch

        model = untrained("bilstm")
        write(model, tmp_path / "model.safetensors")
        namespace: dict[str, Any] = {}
        exec(of_torch(), namespace)
        batch = question()
        with torch.inference_mode():
            outputs = namespace["load"](tmp_path / "model.safetensors")(*map(torch.tensor, batch))
        np.testing.assert_allclose(
            outputs.sigmoid()[:, 0], answers_of(model)(*batch)[:, 1], atol=TOLERANCE
        )

    def test_an_empty_batch_has_no_answers(self, tmp_path: Path) -> None:
        write(untrained(), tmp_path / "model.safetensors")
        apply = read(tmp_path / "model.safetensors")
        assert apply(np.zeros((0, 4), np.int32), np.zeros(0, np.int32)).shape == (0, 2)

    def test_what_is_exported_has_been_read_in_another_process(self, tmp_path: Path) -> None:
        files = export(untrained("conv_lstm"), "torch", tmp_path / "model.safetensors")
        assert [path.suffix for path in files] == [".safetensors", ".json", ".json"]


def test_numeric_sequences_are_refused(tmp_path: Path) -> None:
    message = "`format` torch cannot hold a model that reads numeric sequences: stablehlo, onnx"
    with pytest.raises(InputError, match=message):
        write(untrained_on_sequences(), tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []
