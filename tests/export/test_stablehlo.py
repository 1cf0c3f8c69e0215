"""Compiled programs, asked with jax.export."""

import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from untrained import (
    SETTINGS,
    WIDE,
    padded,
    question,
    raw_sequences,
    untrained,
    untrained_on_sequences,
)

from flax_imdb.errors import InputError
from flax_imdb.export import network, stablehlo, write
from flax_imdb.export.check import Answer, answers_of
from flax_imdb.layers import LSTM
from flax_imdb.models import ARCHITECTURES
from flax_imdb.predict import TrainedModel


def exported(model: TrainedModel, directory: Path) -> Answer:
    write(model, "stablehlo", directory / "model")
    return stablehlo.read(directory / "model")


def beside(directory: Path) -> Any:
    return json.loads((directory / "model.json").read_text())


def assert_same(model: TrainedModel, directory: Path) -> None:
    asked = question(model.config.data.padding)
    answers = answers_of(model)(*asked)
    assert np.ptp(answers[:, 0]) > 0.05  # They depend on the text.
    np.testing.assert_allclose(exported(model, directory)(*asked), answers, rtol=0, atol=1e-6)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_it_answers_as_the_model(settings: dict[str, Any], tmp_path: Path) -> None:
    assert_same(untrained(**settings), tmp_path)


def test_it_takes_numeric_sequences_as_they_are(tmp_path: Path) -> None:
    """And standardizes them itself. There are no words to tell of."""
    model = untrained_on_sequences("conv_lstm", classes=3)
    answer = exported(model, tmp_path)
    expected = model.predict_probabilities(raw_sequences())
    assert np.ptp(expected[:, 0]) > 0.05
    np.testing.assert_allclose(answer(*padded(raw_sequences())), expected, rtol=0, atol=1e-5)
    about = beside(tmp_path)
    assert (about["features"], about["feature_names"]) == (3, ["speed", "height", "mass"])
    assert not about.keys() & {"words", "text", "vocabulary", "pad"}
    assert {path.name for path in tmp_path.iterdir()} == {"model", "model.json"}


def test_steps_that_are_remembered_in_training_alone_do_not_matter(tmp_path: Path) -> None:
    """Chunks of 5 steps would need arrays of 5."""
    assert stablehlo.write(untrained(remat_steps=5), tmp_path / "model")["min_time"] == 1


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_is_translated_for_all_platforms(arch: str, tmp_path: Path) -> None:
    said = stablehlo.write(untrained(arch), tmp_path / "model")
    assert said["min_time"] == (2 if arch.startswith("conv") else 1)
    program = jax.export.deserialize(bytearray((tmp_path / "model").read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu") == tuple(said["platforms"])
    assert program.nr_devices == 1
    assert program.calling_convention_version == said["calling_convention_version"]
    batch, _ = program.in_avals[0].shape
    shapes = [(value.shape, value.dtype) for value in (*program.in_avals, *program.out_avals)]
    assert str(shapes[0]) == "((b, t), dtype('int32'))"
    assert shapes[1:] == [((batch,), jnp.int32), ((batch, 2), jnp.float32)]


def test_it_has_no_code_of_a_platform_but_a_choice_of_loops(tmp_path: Path) -> None:
    """Nothing that is not a part of StableHLO, and no call back into Python."""
    write(untrained("conv_lstm", **WIDE), "stablehlo", tmp_path / "model")
    program = jax.export.deserialize(bytearray((tmp_path / "model").read_bytes())).mlir_module()
    calls = {
        line.split("@")[1].split("(")[0] for line in program.split("stablehlo.custom_call")[1:]
    }
    assert calls == {"shape_assertion"}


class Doubled(LSTM):
    def __call__(self, inputs: Any, **options: Any) -> Any:
        return super().__call__(2 * inputs, **options)


class InPython(LSTM):
    def __call__(self, inputs: Any, **options: Any) -> Any:
        same = jax.ShapeDtypeStruct(inputs.shape, inputs.dtype)
        return super().__call__(jax.pure_callback(np.asarray, same, inputs), **options)


def test_architectures_of_ones_own_are_translated_if_jax_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for layer in (Doubled(4), InPython(4)):
        own = {"encoder": (layer,), "pooling": "mean"}
        monkeypatch.setitem(ARCHITECTURES, type(layer).__name__, lambda config, own=own: own)
    assert_same(untrained("Doubled"), tmp_path)
    with pytest.raises(
        InputError, match="`arch` InPython cannot be translated for cpu, cuda, tpu: "
    ) as raised:
        stablehlo.write(untrained("InPython"), tmp_path / "other")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "other").exists()


def test_shorter_arrays_are_padded_and_an_empty_batch_is_answered(tmp_path: Path) -> None:
    """By whoever runs the program, as `read` does: JAX's symbolic sizes begin with 1."""
    ask = exported(untrained("conv_lstm", classes=3), tmp_path)
    tokens, lengths = question(rows=4)
    expected = ask(tokens, np.minimum(lengths, 1))
    padded = ask(tokens[:, :1], np.minimum(lengths, 1))
    np.testing.assert_allclose(padded, expected, rtol=0, atol=1e-6)
    assert ask(tokens[:, :0], np.zeros(4, np.int32)).shape == (4, 3)
    assert ask(tokens[:0], lengths[:0]).shape == (0, 3)
    program = jax.export.deserialize(bytearray((tmp_path / "model").read_bytes()))
    assert beside(tmp_path)["min_time"] == 2
    with pytest.raises(ValueError, match="shapes"):
        program.call(tokens[:, :1], lengths)


def test_jaxs_guarantee_and_its_end_are_beside_it(tmp_path: Path) -> None:
    write(untrained(), "stablehlo", tmp_path / "model")
    said = beside(tmp_path)
    assert "up to 6 months after those that wrote it" in said["guarantee"]
    created, until = (
        datetime.date.fromisoformat(said[name]) for name in ("created", "guaranteed_until")
    )
    assert until - created == datetime.timedelta(days=181)
    assert said["versions"]["jax"] == jax.__version__


ALONE = """
import sys
for name in ("flax_imdb", "flax", "optax", "orbax", "jaxtyping", "tensorflow"):
    sys.modules[name] = None
import jax
import numpy as np

call = jax.jit(jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read())).call)
with np.load(sys.argv[2]) as given:
    np.save(sys.argv[3], call(given["inputs"], given["lengths"]))
"""


def test_it_runs_where_there_is_jax_and_flatbuffers_alone(tmp_path: Path) -> None:
    model, asked = untrained("bilstm"), question()
    stablehlo.write(model, tmp_path / "model")
    np.savez(tmp_path / "given.npz", **asked._asdict())
    files = [tmp_path / name for name in ("model", "given.npz", "taken.npy")]
    subprocess.run([sys.executable, "-c", ALONE, *files], check=True)
    np.testing.assert_allclose(np.load(files[-1]), answers_of(model)(*asked), rtol=0, atol=1e-6)


def test_a_model_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "MOST_BYTES", 100)
    with pytest.raises(InputError, match="`format` stablehlo cannot hold the model: it has"):
        stablehlo.write(untrained(), tmp_path / "model")
