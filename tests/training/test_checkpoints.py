"""What is kept of a run, and what is refused when it is read."""

import dataclasses
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import permissions
import pytest
from epochs import epochs

from flax_imdb import models
from flax_imdb.errors import InputError
from flax_imdb.training import (
    History,
    TrainState,
    UnfinishedEpoch,
    create_state,
)
from flax_imdb.training.checkpoints import (
    CheckpointConfig,
    Checkpoints,
    Identity,
    are_intact,
)
from flax_imdb.training.checksums import NAME, write_checksums

IDENTITY = Identity({"arch": "lstm", "seed": 7}, "abc", ["<pad>", "<start>", "<unk>", "a"])


@pytest.fixture(scope="module")
def template() -> TrainState:
    config = models.ModelConfig("lstm", embedding_features=4, features=4)
    return create_state(models.build(config, vocab_size=10), learning_rate=1e-3, seed=0)


def at(template: TrainState, step: int) -> TrainState:
    """A state with numbers of its own."""
    params = jax.tree.map(lambda leaf: leaf + step, template.params)
    return template.replace(step=jnp.int32(step), params=params)


def save(directory: Path, template: TrainState, *saved: tuple[int, History], keep: int = 9) -> None:
    with Checkpoints(directory, IDENTITY, CheckpointConfig(keep_checkpoints=keep)) as checkpoints:
        for step, history in saved:
            checkpoints.save(at(template, step), history)


def resume(directory: Path, template: TrainState, finished: int = 0, **options: Any) -> Any:
    experiment = options.pop("identity", IDENTITY)
    with Checkpoints(directory, experiment, **options) as checkpoints:
        return checkpoints.resume(template, finished)


def kept(directory: Path) -> list[int]:
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdecimal())


def assert_is(state: TrainState, template: TrainState, step: int) -> None:
    assert int(state.step) == step
    jax.tree.map(np.testing.assert_array_equal, state.params, at(template, step).params)


class TestSaving:
    def test_all_that_it_takes_to_go_on_is_restored(
        self, template: TrainState, tmp_path: Path
    ) -> None:
        run = UnfinishedEpoch(3, 1, {"loss": 1 / 3, "correct": 5.0, "examples": 24.0}, 0.1, 0.05)
        run.step_ms.append(1 / 7)
        history = History(epochs(12, 24), run)
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

    def test_it_is_written_while_training_goes_on(
        self, template: TrainState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from flax_imdb.training import checkpoints as module

        go_on, digest = threading.Event(), write_checksums

        def when_told(directory: Path) -> None:
            assert go_on.wait(60)
            digest(directory)

        monkeypatch.setattr(module, "write_checksums", when_told)
        with Checkpoints(tmp_path, IDENTITY) as checkpoints:
            checkpoints.save(at(template, 1), History())
            assert not are_intact(tmp_path, 1)
            go_on.set()
            checkpoints.wait()
            assert are_intact(tmp_path, 1)

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

    def test_a_step_saved_again_after_its_evaluation_replaces_the_first(
        self, template: TrainState, tmp_path: Path
    ) -> None:
        """A signal during an evaluation saves the step, and the evaluation, made again, too."""
        save(tmp_path, template, (10, History([], UnfinishedEpoch(10))))
        save(tmp_path, template, (10, History(epochs(10))))
        assert resume(tmp_path, template).history == History(epochs(10))

    @pytest.mark.parametrize("whole", [False, True])
    def test_a_process_that_dies_while_it_replaces_one_leaves_a_whole_one(
        self, template: TrainState, tmp_path: Path, whole: bool
    ) -> None:
        before, after = History([], UnfinishedEpoch(10)), History(epochs(10))
        save(tmp_path / "c", template, (10, before))
        (tmp_path / "c" / "10").rename(tmp_path / "replaced-10")
        save(tmp_path / "c", template, (10, after))
        (tmp_path / "replaced-10").rename(tmp_path / "c" / "replaced-10")
        if not whole:
            (tmp_path / "c" / "10" / NAME).unlink()
        assert resume(tmp_path / "c", template).history == (after if whole else before)
        assert not (tmp_path / "c" / "replaced-10").exists()

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


FILES = ["state/manifest.ocdbt", "state/_METADATA", "history/metadata", "_CHECKPOINT_METADATA"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


class TestDamage:
    """Nothing damaged is read; the newest that is whole is."""

    @pytest.fixture
    def directory(self, template: TrainState, tmp_path: Path) -> Path:
        save(tmp_path / "c", template, (10, History(epochs(10))), (20, History(epochs(10, 20))))
        return tmp_path / "c"

    @pytest.mark.parametrize("file", FILES)
    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            (flip, "has other bytes than were written"),
            (lambda path: os.truncate(path, 1), "has other bytes than were written"),
            (Path.unlink, "is missing"),
            (lambda path: path.with_name("more").write_text(""), "is not in SHA256SUMS"),
        ],
        ids=["flipped", "cut", "removed", "added"],
    )
    def test_a_damaged_file_is_refused_and_the_one_before_is_resumed(
        self,
        directory: Path,
        template: TrainState,
        file: str,
        damage: Callable[[Path], object],
        reason: str,
    ) -> None:
        damage(directory / "20" / file)
        with (
            Checkpoints(directory, IDENTITY, read_only=True) as checkpoints,
            pytest.raises(InputError, match=f"checkpoint .*/20 is damaged: .* {reason}") as raised,
        ):
            checkpoints.load(template, 2)
        assert "\n" not in str(raised.value)
        state, history, (refused,), _ = resume(directory, template, finished=2)
        assert_is(state, template, 10)
        assert history == History(epochs(10))
        assert reason in refused
        # It is out of the way of the one that takes its place, and not lost.
        assert (kept(directory), (directory / "refused-20").is_dir()) == ([10], True)
        save(directory, template, (20, History(epochs(10, 20))))
        assert_is(resume(directory, template).state, template, 20)

    @pytest.mark.parametrize("content", [None, "", "nonsense\n", "\udcff"])
    def test_damaged_checksums_are_refused_and_the_one_before_is_resumed(
        self, directory: Path, template: TrainState, content: str | None
    ) -> None:
        """A process killed between the checkpoint and its checksums leaves it without them."""
        if content is None:
            (directory / "20" / NAME).unlink()
        else:
            (directory / "20" / NAME).write_bytes(os.fsencode(content))
        state, _, (refused,), _ = resume(directory, template, finished=2)
        assert_is(state, template, 10)
        assert "/20 is damaged: it" in refused

    @pytest.mark.parametrize(
        ("hidden", "mode"),
        [
            *((name, 0) for name in ("", "20", "20/state", f"20/{NAME}", "20/history/metadata")),
            *((name, 0o444) for name in ("", "20")),
        ],
    )
    def test_what_may_not_be_read_is_not_damaged(
        self, directory: Path, template: TrainState, hidden: str, mode: int
    ) -> None:
        """It stays where it is, and no older one is taken for it."""
        denied = pytest.raises(InputError, match="cannot be read: Permission denied")
        with permissions.denied(directory / hidden, mode):
            with denied:
                resume(directory, template, finished=2)
            with denied, Checkpoints(directory, IDENTITY, read_only=True) as checkpoints:
                checkpoints.load(template, 2)
            with denied:
                are_intact(directory, 20)
        assert sorted(os.listdir(directory)) == ["10", "20"]
        shutil.copytree(directory / "20", directory / "replaced-20")
        with permissions.denied(directory / "20" / NAME), denied:
            resume(directory, template, finished=2)
        assert sorted(os.listdir(directory)) == ["10", "20", "replaced-20"]

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
            ({"fingerprint": "abd"}, "it was trained on other reviews"),
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
        with pytest.raises(InputError, match=f"has no whole checkpoint .*{message}"):
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

    def test_what_cannot_be_read_now_is_not_damaged(
        self, directory: Path, template: TrainState, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is not thrown aside for an older one."""

        def fail(directory: Path) -> None:
            raise OSError(24, "Too many open files")

        with monkeypatch.context() as patch:
            patch.setattr("flax_imdb.training.checkpoints.check_checksums", fail)
            with pytest.raises(InputError, match=r"/20 cannot be read: Too many open files"):
                resume(directory, template, finished=2)
        assert_is(resume(directory, template, finished=2).state, template, 20)

    def test_nothing_whole_is_no_start_from_scratch(
        self, directory: Path, template: TrainState, tmp_path: Path
    ) -> None:
        for step in (10, 20):
            flip(directory / str(step) / "history" / "metadata")
        with pytest.raises(
            InputError, match=r"no whole checkpoint .*, but 2 epochs in metrics.jsonl"
        ):
            resume(directory, template, finished=2)
        with pytest.raises(InputError, match=r"no whole checkpoint .it is empty., but 2 epochs"):
            resume(tmp_path / "new", template, finished=2)

    def test_nothing_whole_is_a_start_from_scratch_where_no_epoch_was_finished(
        self, directory: Path, template: TrainState
    ) -> None:
        for step in (10, 20):
            (directory / str(step) / NAME).unlink()
        state, history, refused, _ = resume(directory, template, finished=0)
        assert state is template
        assert history == History()
        assert len(refused) == 2

    def test_reading_writes_nothing(self, directory: Path, template: TrainState) -> None:
        """What another process is writing at the time, above all, stays."""
        unfinished = directory / "30.orbax-checkpoint-tmp"
        unfinished.mkdir()
        (unfinished / "half").write_text("")
        before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
        with Checkpoints(directory, IDENTITY, read_only=True) as checkpoints:
            assert_is(checkpoints.load(template, 2), template, 20)
        assert {path: path.stat().st_mtime_ns for path in directory.rglob("*")} == before
        # A run that goes on tidies up.
        resume(directory, template)
        assert not unfinished.exists()


class TestWriting:
    def test_a_full_disk_is_one_line_and_leaves_the_earlier_ones(
        self, template: TrainState, tmp_path: Path
    ) -> None:
        """As a limit on the size of files, which the system enforces in the same way."""
        save(tmp_path, template, (10, History(epochs(10))))
        code = """
import resource, sys
from pathlib import Path
sys.path[:0] = ["tests", "tests/training"]
import test_checkpoints as t
from flax_imdb import models
from flax_imdb.training import create_state
config = t.models.ModelConfig("lstm", embedding_features=4, features=4)
template = create_state(models.build(config, vocab_size=10), learning_rate=1e-3, seed=0)
with t.Checkpoints(Path(sys.argv[1]), t.IDENTITY) as checkpoints:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
    try:
        checkpoints.save(t.at(template, 20), t.History(t.epochs(10, 20)))
        checkpoints.wait()
    except t.InputError as error:
        print(error)
"""
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)],
            capture_output=True,
            text=True,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("a checkpoint cannot be written to")
        assert "the earlier ones are as they were" in done.stdout
        assert done.stdout.count("\n") == 1
        assert_is(resume(tmp_path, template, finished=1).state, template, 10)

    def test_another_problem_is_not_hidden_by_that_of_the_last_save(
        self, template: TrainState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from flax_imdb.training import checkpoints as module

        def fail(directory: Path) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(module, "write_checksums", fail)

        def save_and(error: Exception | None) -> None:
            with Checkpoints(tmp_path, IDENTITY) as checkpoints:
                checkpoints.save(at(template, 1), History())
                if error is not None:
                    raise error

        with pytest.raises(ZeroDivisionError):
            save_and(ZeroDivisionError())
        monkeypatch.setattr(module, "write_checksums", fail)
        for path in tmp_path.iterdir():
            path.rename(path.with_name("x"))
        with pytest.raises(InputError, match="No space left on device; the earlier ones are"):
            save_and(None)


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
