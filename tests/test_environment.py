"""A run's bits do not depend on JAX's settings; what they depend on is recorded, and said."""

import contextlib
import json
import os
import shutil
from pathlib import Path

import fake_reviews
import jax
import numpy as np
import pytest
from faults import untimed
from small_runs import quiet_train

from flax_imdb import environment
from flax_imdb.config import ExperimentConfig
from flax_imdb.errors import InputError
from flax_imdb.models import ModelConfig
from flax_imdb.predict import load
from flax_imdb.training import TrainConfig


def experiment(reviews: Path, epochs: int = 1) -> ExperimentConfig:
    return ExperimentConfig(
        model=ModelConfig("lstm_dropout", embedding_features=8, features=8),
        data=fake_reviews.config(reviews),
        training=TrainConfig(epochs=epochs, batch_size=8),
    )


@pytest.fixture(scope="module")
def finished(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    quiet_train(experiment(reviews), workdir)
    return workdir


def test_a_run_has_the_same_bits_whatever_jax_is_set_to(
    reviews: Path, finished: Path, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as settings:
        for setting in (
            *(
                jax.enable_x64(True),
                jax.default_prng_impl("rbg"),
                jax.threefry_partitionable(False),
            ),
            *(jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise")),
            jax.transfer_guard("disallow"),
        ):
            settings.enter_context(setting)
        result, _ = quiet_train(experiment(reviews), tmp_path)
        model = load(tmp_path)
        assert model.evaluate() == (result["test_loss"], result["test_accuracy"])
        predictions = model.predict(["a good film"])
    jax.tree.map(np.testing.assert_array_equal, model.state.params, load(finished).state.params)
    assert untimed(tmp_path) == untimed(finished)
    assert load(finished).predict(["a good film"]) == predictions


def test_a_run_without_compilation_is_refused(
    reviews: Path, finished: Path, tmp_path: Path
) -> None:
    def train() -> object:
        return quiet_train(experiment(reviews), tmp_path / "new")

    for run in (train, lambda: load(finished)):
        with jax.disable_jit(), pytest.raises(InputError, match="JAX_DISABLE_JIT is set"):
            run()
    assert not (tmp_path / "new").exists()


def test_a_run_that_goes_on_where_roundings_differ_says_so(
    reviews: Path,
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    versions = {**environment.versions(), "jax": "0.99"}
    monkeypatch.setattr(environment, "versions", lambda: versions)
    quiet_train(experiment(reviews, epochs=2), tmp_path, resume=True)
    first, *_ = capsys.readouterr().err.splitlines()
    assert first == (
        "warning: the run goes on in another environment, and rounds differently from here on: "
        f"jax 0.99 (was {jax.__version__})"
    )


def test_a_run_that_would_draw_other_random_numbers_is_refused_and_left_as_it_was(
    reviews: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    here = environment.describe(jax.devices()[:1])
    monkeypatch.setattr(environment, "describe", lambda _: {**here, "jax_random_seed_offset": "1"})
    with pytest.raises(InputError, match="JAX_RANDOM_SEED_OFFSET 1 is not what the run was"):
        quiet_train(experiment(reviews, epochs=2), finished, resume=True)
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_a_checkpoint_says_where_it_was_made(finished: Path) -> None:
    (path,) = finished.glob("checkpoints/*/experiment/metadata")
    recorded = json.loads(path.read_text())["environment"]
    assert recorded == environment.describe(jax.devices()[:1])
    assert recorded["jax"] == jax.__version__
    assert recorded["devices"] == "1 x cpu"


class TestDifference:
    def test_from_a_checkpoint_that_does_not_say_where_it_was_made_is_none(self) -> None:
        assert environment.difference({}, environment.describe(jax.devices())) is None

    def test_in_the_number_of_devices_is_said_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not of the flag that chose it, too."""
        two = environment.describe(jax.devices()[:2])
        flags = os.environ.get("XLA_FLAGS", "")
        monkeypatch.setenv("XLA_FLAGS", f"{flags} --xla_force_host_platform_device_count=4")
        four = environment.describe(jax.devices()[:4])
        assert environment.difference(two, two) is None
        assert str(environment.difference(two, four)).endswith(": devices 4 x cpu (was 2 x cpu)")

    def test_in_what_decides_roundings_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        then = environment.describe(jax.devices())
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
        with jax.default_matmul_precision("bfloat16"):
            now = environment.describe(jax.devices())
        assert str(environment.difference(then, now)).endswith(
            ": NVIDIA_TF32_OVERRIDE 0 (was not set); "
            "jax_default_matmul_precision bfloat16 (was None)"
        )

    @pytest.mark.parametrize("name", ["jax_random_seed_offset", "flax_fix_rng_separator"])
    def test_in_what_decides_random_numbers_is_refused(self, name: str) -> None:
        then = environment.describe(jax.devices())
        assert then[name] in ("0", "False")  # A newer JAX or Flax may call it otherwise.
        with pytest.raises(InputError, match=f"{name.upper()} 1 is not what the run was trained"):
            environment.difference(then, {**then, name: "1"})
