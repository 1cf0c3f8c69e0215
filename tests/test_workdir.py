"""The directory of a run: who may write to it, and what happens when nobody can."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import fake_reviews
import pytest

from flax_imdb.config import ExperimentConfig, dump_config, load_config
from flax_imdb.errors import InputError
from flax_imdb.training import TrainConfig
from flax_imdb.workdir import Workdir

HOLD = """
import sys, time
from flax_imdb.workdir import Workdir
with Workdir(sys.argv[1]).hold():
    print("held", flush=True)
    time.sleep(600)
"""


class TestHold:
    def test_against_another_process_until_it_dies(self, tmp_path: Path) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            with (
                pytest.raises(InputError, match=r"--workdir .* is in use by another run"),
                Workdir(tmp_path).hold(),
            ):
                pass
            other.kill()
            other.wait()
            with Workdir(tmp_path).hold():
                pass

    def test_of_a_path_that_is_no_directory(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        for path in (tmp_path / "file", tmp_path / "file" / "run"):
            with pytest.raises(InputError, match="cannot be written"), Workdir(path).hold():
                pass


class TestWrite:
    def test_all_or_nothing(self, tmp_path: Path) -> None:
        """A full disk, as Linux's device for it plays it."""
        workdir = Workdir(tmp_path)
        with workdir.hold():
            workdir.write("metrics.jsonl", "before")
            (tmp_path / "metrics.jsonl.tmp").symlink_to("/dev/full")
            with pytest.raises(
                InputError, match=r"--workdir .* cannot be written: No space left on device"
            ):
                workdir.write("metrics.jsonl", "after")
        assert (tmp_path / "metrics.jsonl").read_text() == "before"

    @pytest.mark.parametrize("again", [False, True])
    def test_into_a_directory_that_was_removed(self, tmp_path: Path, again: bool) -> None:
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

    def test_without_holding_it(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError, match="is written to and not held"):
            Workdir(tmp_path).write("result.json", "{}")


class TestResult:
    @pytest.mark.parametrize(
        "content",
        [
            *("", "[]", "{}", "nan", '{"epochs": 3}', "\x00", '{"epochs": 2, "note": ""}'),
            '{"epochs": 3, "note": "", "reported_step": 36, "test_accuracy": "much"}',
            '{"epochs": 3, "note": "", "reported_step": 36, "test_accuracy": NaN}',
            '{"epochs": 3, "note": "", "reported_step": [36], "test_accuracy": 0.5}',
        ],
    )
    def test_a_damaged_one_is_none(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "result.json").write_text(content)
        assert Workdir(tmp_path).result(ExperimentConfig()) is None

    def test_of_fewer_epochs_is_none(self, tmp_path: Path) -> None:
        result = {"epochs": 3, "note": "", "reported_step": 36, "test_accuracy": 0.5}
        (tmp_path / "result.json").write_text(json.dumps(result))
        assert Workdir(tmp_path).result(ExperimentConfig()) == result
        more = ExperimentConfig(training=TrainConfig(epochs=4))
        assert Workdir(tmp_path).result(more) is None


class TestConfig:
    def test_it_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        config = ExperimentConfig(training=TrainConfig(clip_norm=0.1, learning_rate=1 / 3))
        (tmp_path / "config.json").write_text(dump_config(config))
        assert Workdir(tmp_path).config() == config
        assert Workdir(tmp_path / "new").config() is None

    def test_a_run_of_a_version_without_averaging_goes_on_without_it(self, tmp_path: Path) -> None:
        content = json.loads(dump_config(ExperimentConfig()))
        del content["training"]["averaging"]
        (tmp_path / "config.json").write_text(json.dumps(content))
        assert load_config(tmp_path / "config.json").training.averaging is None

    @pytest.mark.parametrize(
        "content", [b"", b"[]", b"\xff", b"[" * 99_999, b'{"model": {"a": 1}}']
    )
    def test_a_damaged_one(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "config.json").write_bytes(content)
        with pytest.raises(InputError, match=r"config.json is not the configuration of a run"):
            load_config(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training": {"epochs": 1.5}}, "--epochs 1.5 is not a whole number"),
        ({"training": {"epochs": True}}, "--epochs True is not a whole number"),
        ({"data": {"dataset": "mnist"}}, "--dataset mnist is unknown: one of auto, imdb_reviews"),
        ({"data": {"padding": "left"}}, "--padding left is unknown: one of masked, keras"),
        ({"data": {"data_dir": 3}}, "--data-dir 3 is not the name of a directory"),
    ],
)
def test_a_configuration_of_values_that_make_no_sense(
    tmp_path: Path, settings: dict[str, dict[str, object]], message: str
) -> None:
    content = json.loads(dump_config(ExperimentConfig()))
    for part, values in settings.items():
        content[part].update(values)
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        load_config(tmp_path / "config.json")


READ_ONLY = """
import ctypes, os, sys
# As root one may write anywhere, unless one gives that up.
if os.geteuid() == 0:
    assert ctypes.CDLL(None).prctl(24, 1) == 0  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_a_workdir_that_is_read_only(tmp_path: Path) -> None:
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
