"""The directory of a run: who may write to it, and what happens when nobody can."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fake_reviews
import permissions
import pytest

from flax_imdb.errors import InputError
from flax_imdb.training import StepRecord
from flax_imdb.workdir import Workdir

HOLD = """
import sys, time
from flax_imdb.training import StepRecord
from flax_imdb.workdir import Workdir
with Workdir(sys.argv[1]).hold():
    print("held", flush=True)
    time.sleep(600)
"""


class TestHold:
    def test_is_refused_until_the_process_that_has_it_dies(self, tmp_path: Path) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            with (
                pytest.raises(InputError, match=r"`workdir` .* is in use by another run"),
                Workdir(tmp_path).hold(),
            ):
                pass
            other.kill()
            other.wait()
            with Workdir(tmp_path).hold():
                pass

    def test_of_a_path_that_is_no_directory_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        for path in (tmp_path / "file", tmp_path / "file" / "run"):
            message = f"`workdir` {path} (is not a directory|cannot be written: Not a directory)"
            with pytest.raises(InputError, match=message), Workdir(path).hold():
                pass

    def test_new_ones_of_the_same_name_are_two(self, tmp_path: Path) -> None:
        first, second = (Workdir(tmp_path / "runs" / "lstm-1", new=True) for _ in range(2))
        with first.hold():
            first.write("config.json", "{}")
            second.check_free()
            with second.hold():
                assert first.path == tmp_path / "runs" / "lstm-1"
                assert second.path == tmp_path / "runs" / "lstm-1-2"
                second.check_free()


class TestUnreadable:
    """What may not be read is neither absent nor damaged."""

    READS = (
        ("config.json", Workdir.config),
        ("vocabulary.json", Workdir.dataset_info),
        ("result.json", Workdir.result),
        ("metrics.jsonl", Workdir.finished_epochs),
        ("steps.jsonl", Workdir.steps),
    )

    @pytest.mark.parametrize(("name", "read"), READS)
    @pytest.mark.parametrize("hidden", ["file", "directory"])
    def test_a_file_that_may_not_be_read_is_an_error(
        self, tmp_path: Path, name: str, read: Callable, hidden: str
    ) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / name).write_text("{}")
        with (
            permissions.denied(tmp_path / "run" / (name if hidden == "file" else "")),
            pytest.raises(InputError, match="cannot be read: Permission denied"),
        ):
            read(Workdir(tmp_path / "run"))

    @pytest.mark.parametrize("read", [Workdir.check_free, Workdir.check_own, Workdir.clear])
    def test_a_directory_that_cannot_be_listed_is_an_error(
        self, tmp_path: Path, read: Callable
    ) -> None:
        (tmp_path / "run" / "seed-7").mkdir(parents=True)
        with (
            permissions.denied(tmp_path / "run", 0o300),
            pytest.raises(InputError, match="/run cannot be read: Permission denied"),
        ):
            read(Workdir(tmp_path / "run"))


class TestSteps:
    def test_of_an_epoch_that_is_trained_again_replace_what_was_there(self, tmp_path: Path) -> None:
        """A run that goes on from an older checkpoint has less behind it than its files."""
        workdir = Workdir(tmp_path)
        assert workdir.steps() == []
        first, second, again = (
            [StepRecord(epoch, 2 * epoch + i, 0.1 * n, None, 1.0, 9.0) for i in (0, 1)]
            for n, epoch in enumerate((1, 2, 2))
        )
        with workdir.hold():
            workdir.write_steps(1, first)
            workdir.write_steps(2, second)
            assert workdir.steps() == first + second
            workdir.write_steps(2, again)
            assert workdir.steps() == first + again
            workdir.write_steps(1, first)
            assert workdir.steps() == first

    @pytest.mark.parametrize("content", ["[", "[1]", '{"epoch": 1}', '"steps"', "5"])
    def test_that_are_damaged_are_an_error_of_one_line(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "steps.jsonl").write_text(content)
        with pytest.raises(
            InputError, match=r"steps\.jsonl is damaged .*: once it is deleted"
        ) as raised:
            Workdir(tmp_path).steps()
        assert "\n" not in str(raised.value)


class TestWrite:
    def test_a_write_is_all_or_nothing(self, tmp_path: Path) -> None:
        """A full disk, as Linux's device for it plays it."""
        workdir = Workdir(tmp_path)
        with workdir.hold():
            workdir.write("metrics.jsonl", "before")
            (tmp_path / "metrics.jsonl.tmp").symlink_to("/dev/full")
            with pytest.raises(
                InputError, match=r"`workdir` .* cannot be written: No space left on device"
            ):
                workdir.write("metrics.jsonl", "after")
        assert (tmp_path / "metrics.jsonl").read_text() == "before"

    @pytest.mark.parametrize("again", [False, True])
    def test_into_a_directory_that_was_removed_is_refused(
        self, tmp_path: Path, again: bool
    ) -> None:
        """Made again it is another run's."""
        workdir = Workdir(tmp_path / "run")
        with workdir.hold():
            shutil.rmtree(workdir.path)
            if again:
                workdir.path.mkdir()
                (workdir.path / ".lock").write_text("")
            with pytest.raises(InputError, match="was removed while the run wrote to it"):
                workdir.write("result.json", "{}")
            assert workdir.path.exists() == again
            assert not (workdir.path / "result.json").exists()

    def test_without_holding_it_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError, match="is written to and not held"):
            Workdir(tmp_path).write("result.json", "{}")


READ_ONLY = """
import ctypes, os, sys
# As root one may write anywhere, unless one gives that up.
if os.geteuid() == 0:
    assert ctypes.CDLL(None).prctl(24, 1) == 0  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_a_workdir_that_is_read_only_is_one_line_and_status_2(tmp_path: Path) -> None:
    reviews = fake_reviews.write(tmp_path / "reviews")
    (tmp_path / "run").mkdir(mode=0o555)
    train = Path(__file__).parents[1] / "train.py"
    for workdir in (tmp_path / "run", tmp_path / "run" / "new"):
        done = subprocess.run(
            [
                *(sys.executable, "-c", READ_ONLY, train, "--data-dir", reviews),
                *("--max-length", "10", "--workdir", workdir),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr == f"error: --workdir {workdir} cannot be written: Permission denied\n"
    assert os.listdir(tmp_path / "run") == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("lr[0.1]", r"`workdir` .*/lr\[0.1\] has one of the characters \* \? \[, with which"),
        ("a*b/run", "has one of the characters"),
        ("what?", "has one of the characters"),
    ],
)
def test_a_name_that_would_be_taken_for_a_pattern_is_refused(path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Workdir(path)
