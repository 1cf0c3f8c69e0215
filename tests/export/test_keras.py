from pathlib import Path
from typing import Any

import fresh_process
import keras
import numpy as np
import pytest
from untrained import MAX_LENGTH, question, untrained

from flax_imdb.cli import main
from flax_imdb.errors import InputError
from flax_imdb.export import export
from flax_imdb.export.check import TOLERANCE, answers_of
from flax_imdb.export.keras import read, write
from flax_imdb.predict import save


@pytest.mark.parametrize(
    ("arch", "settings"),
    [
        ("lstm", {}),
        ("reversed_lstm", {}),
        ("bilstm", {}),
        ("conv_lstm", {}),
        ("lstm", {"padding": "keras"}),
        ("conv_lstm", {"padding": "keras"}),
        ("reversed_lstm", {"layers": 2}),
        ("bilstm", {"layers": 2, "pooling": "max_mean"}),
        ("conv_lstm", {"pooling": "mean", "padding": "keras"}),
        ("lstm", {"classes": 3}),
        ("lstm", {"classes": 2, "multi_label": True}),
        ("bilstm", {"classes": 1, "multi_label": True}),
    ],
)
def test_keras_answers_as_the_model(arch: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """For rows of length 0 and 1, too, and an odd number of steps."""
    model = untrained(arch, **settings)
    write(model, tmp_path / "model.keras")
    batch = question(model.config.data.padding, lengths=False)
    difference = read(tmp_path / "model.keras")(*batch) - answers_of(model)(*batch)
    assert np.max(np.abs(difference)) < TOLERANCE


def test_the_file_takes_ids_alone_and_has_layers_of_keras_alone(tmp_path: Path) -> None:
    write(untrained("conv_lstm"), tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert model.input_shape == (None, None)
    assert model.inputs[0].dtype == "int32"
    assert {type(layer).__module__.partition(".")[0] for layer in model.operations} == {"keras"}
    assert not any(isinstance(layer, keras.layers.Lambda) for layer in model.layers)
    ids = np.array([[1, 4, 5, 0, 0]], np.int32)
    longer = np.pad(ids, [(0, 0), (0, 3)])
    np.testing.assert_allclose(
        model.predict(ids, verbose=0), model.predict(longer, verbose=0), rtol=1e-6
    )


def test_with_computed_padding_it_takes_as_many_ids_as_the_model_reads(tmp_path: Path) -> None:
    write(untrained(padding="keras"), tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert model.input_shape == (None, MAX_LENGTH)


def test_an_empty_batch_has_no_answers(tmp_path: Path) -> None:
    write(untrained(classes=3), tmp_path / "model.keras")
    apply = read(tmp_path / "model.keras")
    assert apply(np.zeros((0, 4), np.int32), np.zeros(0, np.int32)).shape == (0, 3)


def test_what_is_exported_has_been_read_by_keras_in_another_process(tmp_path: Path) -> None:
    files = export(untrained(), "keras", tmp_path / "model.keras")
    assert [path.name for path in files] == [
        "model.keras",
        "model.keras.json",
        "model.keras.tokenizer.json",
    ]
    assert sorted(tmp_path.iterdir()) == files


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ngrams": 2, "ngram_buckets": 8}, "`format` keras cannot hold `ngrams` 2: "),
        ({"wide_ngrams": 3, "wide_buckets": 8}, "`format` keras cannot hold `wide_ngrams` 3: "),
        ({"long": "windows"}, "`format` keras cannot hold `long` windows: stablehlo, onnx, safe"),
    ],
)
def test_ngrams_are_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    model = untrained(**settings)
    constants = {"wide": {"owners": np.zeros(8, np.int32), "log_ratios": np.zeros((8, 1))}}
    model.state.constants.update(constants if "wide_ngrams" in settings else {})
    with pytest.raises(InputError, match=message):
        write(model, tmp_path / "model.keras")


def test_a_name_that_keras_does_not_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = untrained()
    save(tmp_path / "run", model.config, model.info, model.state)
    command = ["export", "--workdir", str(tmp_path / "run"), "--format", "keras"]
    assert main([*command, "--output", str(tmp_path / "model.h5")]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: --output model.h5: a name that ends with .keras is needed"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


BACKENDS = """
import os, sys
from flax_imdb.export.keras import import_keras
keras = import_keras()
print(keras.config.backend(), os.environ.get("KERAS_BACKEND"))
"""


def test_keras_runs_on_jax_unless_a_backend_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable is left behind."""
    monkeypatch.delenv("KERAS_BACKEND")
    assert fresh_process.output(BACKENDS) == "jax None"


NOT_THERE = """
import sys
sys.modules["tensorflow"] = None
from flax_imdb.errors import InputError
from flax_imdb.export.keras import import_keras
try:
    import_keras()
except InputError as error:
    print(error)
"""


def test_a_backend_that_is_not_there_is_named() -> None:
    said = fresh_process.output(NOT_THERE, KERAS_BACKEND="tensorflow")
    assert said.startswith("keras cannot be imported: ")
    assert said.endswith("KERAS_BACKEND must name a backend that is installed, such as jax")
    assert len(said.splitlines()) == 1
