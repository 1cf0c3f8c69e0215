"""What is kept of a run, and what is refused when it is read."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from epochs import epochs
from saved import IDENTITY, assert_is, at, flip, kept, resume, save

from flax_imdb import models
from flax_imdb.errors import InputError
from flax_imdb.training import History, StepRecord, TrainState, UnfinishedEpoch, create_state
from flax_imdb.training.checkpoints import CheckpointConfig, Checkpoints
from flax_imdb.training.checksums import NAME


class TestSaving:
    def test_all_that_it_takes_to_go_on_is_restored(
        self, template: TrainState, tmp_path: Path
    ) -> None:
        run = UnfinishedEpoch(3, 1, {"loss": 1 / 3, "correct": 5.0, "examples": 24.0}, 0.1, 0.05)
        run.records.append(StepRecord(3, 27, 1 / 3, None, 2.0, 1 / 7))
        history = History(epochs(12, 24), run, [StepRecord(2, 24, 0.1, 0.5, 1 / 9, 1.0)])
        save(tmp_path, template, (24, History(history.epochs)), (27, history))
        state, restored, refused, _ = resume(tmp_path, template)
        assert_is(state, template, 27)
        jax.tree.map(np.testing.assert_array_equal, state.opt_state, template.opt_state)
        assert restored == history
        assert refused == []

    def test_what_is_saved_is_not_what_the_next_step_makes_of_it(
        self, template: TrainState, tmp_path: Path
    ) -> None:
        """The step after a save is given the same memory to write to."""
        change = jax.jit(lambda params: jax.tree.map(jnp.negative, params), donate_argnums=0)
        state = at(template, 1)
        with Checkpoints(tmp_path, IDENTITY) as checkpoints:
            checkpoints.save(state, History())
            jax.block_until_ready(change(state.params))
        assert_is(resume(tmp_path, template).state, template, 1)

    def test_the_newest_and_what_the_run_stood_for_at_each_are_kept(
        self, template: TrainState, tmp_path: Path
    ) -> None:
        ends = epochs(10, 20, 30, accuracies=(0.9, 0.8, 0.7))
        saved = [(step, History(ends[: step // 10])) for step in (5, 10, 15, 20, 25, 30)]
        save(tmp_path, template, *saved, keep=2)
        assert kept(tmp_path) == [10, 25, 30]
        # Without validation rows each epoch takes the place of the one before it.
        ends = epochs(10, 20, 30)
        saved = [(step, History(ends[: step // 10])) for step in (10, 20, 25, 30)]
        save(tmp_path / "test", template, *saved, keep=2)
        assert kept(tmp_path / "test") == [20, 25, 30]

    def test_a_checkpoint_is_due_after_so_many_steps_or_minutes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 0.0
        monkeypatch.setattr("time.monotonic", lambda: now)
        config = CheckpointConfig(checkpoint_steps=5, checkpoint_minutes=2)
        with Checkpoints(tmp_path, IDENTITY, config) as checkpoints:
            assert [step for step in range(1, 12) if checkpoints.due(step)] == [5, 10]
            now = 120.0
            assert checkpoints.due(1)


class TestReading:
    """A run goes on from what it saved, and from nothing else."""

    def test_a_checkpoint_of_another_step_is_refused(
        self, directory: Path, template: TrainState
    ) -> None:
        (directory / "10").rename(directory / "30")
        state, _, (refused,), _ = resume(directory, template, finished=2)
        assert_is(state, template, 20)
        assert refused.endswith("/30 is that of step 10, renamed")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"settings": {"arch": "lstm", "seed": 8}}, "`seed` is 7 in it and 8 here"),
            ({"fingerprint": "abd"}, "it was trained on other texts"),
            ({"words": ["<pad>", "<start>", "<unk>", "b"]}, "it has another vocabulary"),
        ],
    )
    def test_a_checkpoint_of_another_experiment_is_refused(
        self, directory: Path, template: TrainState, change: dict[str, Any], message: str
    ) -> None:
        other = IDENTITY._replace(**change)
        with (
            Checkpoints(directory, other, read_only=True) as checkpoints,
            pytest.raises(InputError, match=f"/20 is another run's: {message}"),
        ):
            checkpoints.load(template, 2)
        with pytest.raises(InputError, match=f"has no intact checkpoint .*{message}"):
            resume(directory, template, finished=2, identity=other)
        assert kept(directory) == [10, 20]

    def test_settings_by_their_flags_are_those_of_the_same_names(
        self, template: TrainState, tmp_path: Path
    ) -> None:
        """As version 0.1.0 wrote them; one that it did not know has its default."""
        old = IDENTITY._replace(settings={"--arch": "lstm", "--clip-norm": 1.0})
        with Checkpoints(tmp_path, old) as checkpoints:
            checkpoints.save(template, History())
        now = IDENTITY._replace(settings={"arch": "lstm", "clip_norm": 1.0, "averaging": None})
        restored = resume(tmp_path, template, identity=now, defaults={"averaging": None})
        assert restored.refused == []
        with pytest.raises(InputError, match=r"`averaging` is None in it and 3\.0 here"):
            resume(
                tmp_path,
                template,
                finished=1,
                identity=now._replace(settings={**now.settings, "averaging": 3.0}),
                defaults={"averaging": None},
            )

    def test_a_checkpoint_of_another_model_is_refused(self, directory: Path) -> None:
        config = models.ModelConfig("lstm", embedding_features=4, features=5)
        other = create_state(models.build(config, vocab_size=10), learning_rate=1e-3, seed=0)
        with (
            Checkpoints(directory, IDENTITY, read_only=True) as checkpoints,
            pytest.raises(InputError, match="/20 is another model's: its parameters have other"),
        ):
            checkpoints.load(other, 2)

    def test_without_the_one_that_the_run_stands_for_it_goes_on_from_one_before(
        self, template: TrainState, tmp_path: Path
    ) -> None:
        """Those after it cannot end as they should: the run goes on from one before it."""
        ends = epochs(10, 20, accuracies=(0.5, 0.9))
        saved = [(10, History(ends[:1])), (20, History(ends)), (25, History(ends))]
        save(tmp_path, template, *saved)
        flip(tmp_path / "20" / "state" / "manifest.ocdbt")
        state, history, refused, _ = resume(tmp_path, template, finished=2)
        assert_is(state, template, 10)
        assert history == History(ends[:1])
        assert len(refused) == 2
        with (
            Checkpoints(tmp_path, IDENTITY) as checkpoints,
            pytest.raises(InputError, match="/20 is damaged: it has no SHA256SUMS"),
        ):
            checkpoints.restore(template, 20)

    def test_another_model_than_the_run_ended_with_is_not_loaded(
        self, directory: Path, template: TrainState
    ) -> None:
        with Checkpoints(directory, IDENTITY, read_only=True) as checkpoints:
            with pytest.raises(
                InputError, match="has no checkpoint of epoch 3, which was finished"
            ):
                checkpoints.load(template, 3)
            assert checkpoints.load(template, 2) is not None
        for step in (10, 20):
            shutil.rmtree(directory / str(step))
        with Checkpoints(directory, IDENTITY, read_only=True) as checkpoints:
            with pytest.raises(
                InputError, match=r"has no checkpoint, but 2 epochs in metrics.jsonl"
            ):
                checkpoints.load(template, 2)
            assert checkpoints.load(template, 0) is None

    def test_nothing_whole_is_no_start_from_scratch(
        self, directory: Path, template: TrainState, tmp_path: Path
    ) -> None:
        for step in (10, 20):
            flip(directory / str(step) / "history" / "metadata")
        with pytest.raises(
            InputError, match=r"no intact checkpoint .*, but 2 epochs in metrics.jsonl"
        ):
            resume(directory, template, finished=2)
        with pytest.raises(InputError, match=r"no intact checkpoint .it is empty., but 2 epochs"):
            resume(tmp_path / "new", template, finished=2)

    def test_nothing_whole_is_a_start_from_scratch_where_no_epoch_was_finished(
        self, directory: Path, template: TrainState
    ) -> None:
        for step in (10, 20):
            (directory / str(step) / NAME).unlink()
        state, history, refused, _ = resume(directory, template, finished=0)
        assert_is(state, template, 0)
        assert history == History()
        assert len(refused) == 2


class TestConfig:
    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ({"checkpoint_steps": 0}, "`checkpoint_steps` 0 is too small: 1 or more"),
            ({"checkpoint_minutes": 0.0}, "`checkpoint_minutes` 0.0 makes no sense"),
            ({"checkpoint_minutes": float("nan")}, "`checkpoint_minutes` nan makes no sense"),
            ({"keep_checkpoints": 0}, "`keep_checkpoints` 0 is too small: 1 or more"),
        ],
    )
    def test_settings_that_make_no_sense_are_refused(
        self, setting: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            CheckpointConfig(**setting)
        assert dataclasses.asdict(CheckpointConfig()).keys() >= setting.keys()
