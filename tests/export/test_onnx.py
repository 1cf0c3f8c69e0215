"""ONNX files, asked with ONNX Runtime."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from sklearn.utils import murmurhash3_32
from untrained import (
    MAX_LENGTH,
    SETTINGS,
    WIDE,
    padded,
    question,
    raw_sequences,
    untrained,
    untrained_on_sequences,
)

from flax_imdb.errors import InputError
from flax_imdb.export import facts, network
from flax_imdb.export import onnx as written_as_onnx
from flax_imdb.export.check import Answer, answers_of
from flax_imdb.models import ARCHITECTURES
from flax_imdb.models.wide import NGRAM_HASHES
from flax_imdb.predict import TrainedModel


def exported(model: TrainedModel, directory: Path) -> Answer:
    written_as_onnx.write(model, directory / "model.onnx")
    return written_as_onnx.read(directory / "model.onnx")


def assert_same(model: TrainedModel, directory: Path) -> None:
    data = model.config.data
    asked = question(data.padding, time=data.longest)
    answers = answers_of(model)(*asked)
    assert np.ptp(answers[:, 0]) > 0.05  # They depend on the text.
    np.testing.assert_allclose(exported(model, directory)(*asked), answers, rtol=0, atol=1e-6)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_answers_as_the_model(arch: str, tmp_path: Path) -> None:
    assert_same(untrained(arch), tmp_path)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_every_option_is_in_it(settings: dict[str, Any], tmp_path: Path) -> None:
    assert_same(untrained(**settings), tmp_path)


@pytest.mark.parametrize(
    "settings",
    [{"arch": "bilstm", "pooling": "max_mean"}, {"arch": "conv_lstm", "classes": 3}],
    ids=str,
)
def test_it_takes_numeric_sequences_as_they_are(settings: dict[str, Any], tmp_path: Path) -> None:
    """And standardizes them itself, whatever stands at padding."""
    model = untrained_on_sequences(**settings)
    answer = exported(model, tmp_path)
    (inputs, _) = onnxruntime.InferenceSession(tmp_path / "model.onnx").get_inputs()
    assert (inputs.name, inputs.type, inputs.shape) == (
        *("inputs", "tensor(float)"),
        ["batch", "time", 3],
    )
    expected = model.predict_probabilities(raw_sequences())
    assert np.ptp(expected[:, 0]) > 0.05
    for filling in (0.0, 1e6):
        asked = padded(raw_sequences(), filling)
        np.testing.assert_allclose(answer(*asked), expected, rtol=0, atol=1e-5)
    assert answer(np.zeros((0, 4, 3), "f"), np.zeros(0, "i")).shape == (0, expected.shape[1])


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("buckets", [7, NGRAM_HASHES])
def test_its_hash_is_murmurhash3(n: int, buckets: int) -> None:
    make = written_as_onnx._Builder()
    hashes = written_as_onnx._hash_ngrams(make, "tokens", n, buckets)
    graph = helper.make_graph(
        make.nodes,
        "hashes",
        [helper.make_tensor_value_info("tokens", onnx.TensorProto.INT32, [None, None])],
        [helper.make_tensor_value_info(hashes, onnx.TensorProto.INT64, [None, None])],
        make.constants,
    )
    program = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    tokens = np.random.default_rng(0).integers(0, 2**31, (50, 9), dtype=np.int32)
    session = onnxruntime.InferenceSession(program.SerializeToString())
    (found,) = session.run(None, {"tokens": tokens})
    before = np.pad(tokens, ((0, 0), (n - 1, 0)))
    for (row, step), bucket in np.ndenumerate(found):
        ngram = before[row, step : step + n]
        assert bucket == murmurhash3_32(ngram.tobytes(), positive=True) % buckets


def test_an_ngram_counts_once_however_often_it_comes(tmp_path: Path) -> None:
    ask = exported(untrained(wide_ngrams=1, wide_buckets=60, wide_weight=1.0), tmp_path)
    once, again = ask(np.array([[4, 5, 0, 0], [5, 4, 4, 5]], np.int32), np.array([2, 4], np.int32))
    np.testing.assert_array_equal(once, again)


@pytest.mark.parametrize("arch", ["bilstm", "conv_lstm"])
def test_any_number_of_rows_and_steps_can_be_asked_at_once(arch: str, tmp_path: Path) -> None:
    ask = exported(untrained(arch, classes=3, **WIDE), tmp_path)
    tokens, lengths = question()
    together = ask(tokens, lengths)
    for row, time in enumerate(lengths):
        alone = ask(tokens[row : row + 1, :time], lengths[row : row + 1])
        np.testing.assert_allclose(alone, together[row : row + 1], rtol=0, atol=1e-6)


def test_lengths_are_at_most_the_time_and_at_least_0(tmp_path: Path) -> None:
    ask = exported(untrained(), tmp_path)
    tokens, _ = question(rows=4)
    beyond, within = ([-5, 99, 3, 4], [0, MAX_LENGTH, 3, 4])
    np.testing.assert_array_equal(
        *(ask(tokens, np.array(lengths, np.int32)) for lengths in (beyond, within))
    )


EMPTY = """
import sys
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
for shape in ((0, 5), (0, 0), (2, 0)):
    given = {"tokens": np.zeros(shape, np.int32), "lengths": np.zeros(shape[0], np.int32)}
    print(session.run(None, given)[0].shape)
"""


def test_an_empty_batch_does_not_end_the_process(tmp_path: Path) -> None:
    """As ONNX Runtime's LSTM does by itself."""
    written_as_onnx.write(untrained("conv_lstm", classes=3, **WIDE), tmp_path / "model.onnx")
    done = subprocess.run(
        [sys.executable, "-c", EMPTY, tmp_path / "model.onnx"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, ["(0, 3)", "(0, 3)", "(2, 3)"])


def test_it_is_an_lstm_with_lengths_and_no_loop(tmp_path: Path) -> None:
    model = untrained("bilstm", layers=2)
    assert written_as_onnx.write(model, tmp_path / "model.onnx") == {"opset": 18}
    written = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(written, full_check=True)
    lstms = [node for node in written.graph.node if node.op_type == "LSTM"]
    assert len(lstms) == 2
    assert all(node.input[4] for node in lstms)  # sequence_lens
    assert len({node.op_type for node in written.graph.node} & {"Loop", "Scan"}) == 0


def test_it_says_what_its_inputs_and_outputs_are(tmp_path: Path) -> None:
    model = untrained(classes=3)
    written_as_onnx.write(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    values = [*session.get_inputs(), *session.get_outputs()]
    assert [(value.name, value.type, value.shape) for value in values] == [
        ("tokens", "tensor(int32)", ["batch", "time"]),
        ("lengths", "tensor(int32)", ["batch"]),
        ("probabilities", "tensor(float)", ["batch", 3]),
    ]
    said = session.get_modelmeta().custom_metadata_map
    expected = facts(model)
    assert said.keys() == expected.keys() - {"words"}
    for name in ("text", "vocabulary", "lengths", "padding"):
        assert said[name] == expected[name]
    for name in ("classes", "max_length", "min_time", "versions"):
        assert json.loads(said[name]) == expected[name]


def test_a_model_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "MOST_BYTES", 100)
    with pytest.raises(InputError, match=r"`format` onnx cannot hold the model: it has 0\.0 GB"):
        written_as_onnx.write(untrained(), tmp_path / "model.onnx")
    assert not any(tmp_path.iterdir())
