"""The files of checkpoints: how they are written, and that none is read that is damaged."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import permissions
import pytest
from epochs import epochs
from saved import IDENTITY, assert_is, at, flip, kept, resume, save

from flax_imdb.errors import InputError
from flax_imdb.training import History, TrainState, UnfinishedEpoch, checkpoint_store
from flax_imdb.training.checkpoint_store import are_intact
from flax_imdb.training.checkpoints import Checkpoints
from flax_imdb.training.checksums import NAME, write_checksums

FILES = ["state/manifest.ocdbt", "state/_METADATA", "history/metadata", "_CHECKPOINT_METADATA"]


class TestReplacing:
    def test_it_is_written_while_training_goes_on(
        self, template: TrainState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        go_on, digest = threading.Event(), write_checksums

        def when_told(directory: Path) -> None:
            assert go_on.wait(60)
            digest(directory)

        monkeypatch.setattr(checkpoint_store, "write_checksums", when_told)
        with Checkpoints(tmp_path, IDENTITY) as checkpoints:
            checkpoints.save(at(template, 1), History())
            assert not are_intact(tmp_path, 1)
            go_on.set()
            checkpoints.wait()
            assert are_intact(tmp_path, 1)

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


class TestDamage:
    """Nothing damaged is read; the newest intact checkpoint is."""

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

    def test_what_cannot_be_read_now_is_not_damaged(
        self, directory: Path, template: TrainState, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is not thrown aside for an older one."""

        def fail(directory: Path) -> None:
            raise OSError(24, "Too many open files")

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint_store, "check_checksums", fail)
            with pytest.raises(InputError, match=r"/20 cannot be read: Too many open files"):
                resume(directory, template, finished=2)
        assert_is(resume(directory, template, finished=2).state, template, 20)

    def test_one_of_a_newer_version_is_refused_in_a_line(
        self, directory: Path, template: TrainState
    ) -> None:
        path = directory / "20" / "experiment" / "metadata"
        path.write_text(json.dumps({"future": 1} | json.loads(path.read_text())))
        (directory / "20" / NAME).unlink()
        write_checksums(directory / "20")
        with pytest.raises(InputError, match=r"checkpoint .*/20 cannot be read: .*future"):
            resume(directory, template, finished=2)

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
sys.path.insert(0, "tests")
from epochs import epochs
from saved import IDENTITY, at, make_template
from flax_imdb.errors import InputError
from flax_imdb.training import History
from flax_imdb.training.checkpoints import Checkpoints
state = at(make_template(), 20)
with Checkpoints(Path(sys.argv[1]), IDENTITY) as checkpoints:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
    try:
        checkpoints.save(state, History(epochs(10, 20)))
        checkpoints.wait()
    except InputError as error:
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
        def fail(directory: Path) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(checkpoint_store, "write_checksums", fail)

        def save_and(error: Exception | None) -> None:
            with Checkpoints(tmp_path, IDENTITY) as checkpoints:
                checkpoints.save(at(template, 1), History())
                if error is not None:
                    raise error

        with pytest.raises(ZeroDivisionError):
            save_and(ZeroDivisionError())
        monkeypatch.setattr(checkpoint_store, "write_checksums", fail)
        for path in tmp_path.iterdir():
            path.rename(path.with_name("x"))
        with pytest.raises(InputError, match="No space left on device; the earlier ones are"):
            save_and(None)
