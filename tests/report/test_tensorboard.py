"""Event files: what TensorBoard would read in them."""

import collections
import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from small_runs import STEPS, dying_after, experiment, quiet_train
from tensorboardX.proto.event_pb2 import Event

from flax_imdb.cli import main
from flax_imdb.errors import InputError
from flax_imdb.report import tensorboard
from flax_imdb.report.tensorboard import EventFiles
from flax_imdb.training import StepRecord
from flax_imdb.training.checkpoints import CheckpointConfig

Scalars = dict[str, list[tuple[int, float]]]


def events(directory: Path) -> list[Event]:
    """Those of all files: records of a length, its checksum, the content and its checksum."""
    found = []
    for path in sorted(directory.glob("*.tfevents.*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            found.append(Event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    return found


def scalars(directory: Path) -> Scalars:
    """Steps and values by tag."""
    by_tag: Scalars = collections.defaultdict(list)
    for event in events(directory):
        for value in event.summary.value:
            by_tag[value.tag].append((event.step, value.simple_value))
    return dict(by_tag)


def expected(workdir: Path, name: str, **keys: str) -> Scalars:
    """The same from a file of the run; an event's numbers are of float32."""
    lines = [json.loads(line) for line in (workdir / name).open()]
    return {
        tag: [(line["step"], float(np.float32(line[key]))) for line in lines]
        for tag, key in keys.items()
    }


OF_STEPS = {"loss": "loss", "accuracy": "accuracy", "gradient_norm": "gradient_norm"}
OF_EPOCHS = {"loss": "eval_loss", "accuracy": "eval_accuracy"}


def assert_complete(workdir: Path) -> None:
    folder = workdir / "tensorboard"
    assert {path.name for path in folder.iterdir()} == {"train", "test"}
    assert scalars(folder / "train") == expected(workdir, "steps.jsonl", **OF_STEPS)
    assert scalars(folder / "test") == expected(workdir, "metrics.jsonl", **OF_EPOCHS)


class TestOfARun:
    def test_each_step_and_each_evaluation_is_there_once(
        self, reviews: Path, tmp_path: Path
    ) -> None:
        """Each of several runs has events of its own."""
        quiet_train(experiment(reviews, epochs=1, runs=2), tmp_path, tensorboard=True)
        for seed in (7, 8):
            assert_complete(tmp_path / f"seed-{seed}")

    @pytest.mark.parametrize("before", [False, True])
    def test_a_run_that_goes_on_repeats_and_lacks_nothing(
        self, reviews: Path, tmp_path: Path, before: bool
    ) -> None:
        """It dies after step 19, and goes on after step 15; or it wrote no events at first."""
        saving = CheckpointConfig(checkpoint_steps=5)
        with dying_after(STEPS + 8):
            quiet_train(experiment(reviews), tmp_path, checkpoints=saving, tensorboard=before)
        if before:
            steps = [step for step, _ in scalars(tmp_path / "tensorboard" / "train")["loss"]]
            assert steps == list(range(1, STEPS + 8))
        quiet_train(experiment(reviews), tmp_path, resume=True, tensorboard=True)
        assert_complete(tmp_path)

    def test_without_the_library_it_is_refused_in_a_line(
        self,
        reviews: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setitem(sys.modules, "tensorboardX", None)
        args = ["--tensorboard", "--data-dir", str(reviews), "--workdir", str(tmp_path / "run")]
        assert main(["train", *args]) == 2
        assert capsys.readouterr().err == (
            "error: --tensorboard needs tensorboardX, which is not installed: pip install "
            "tensorboardX\n"
        )
        assert not (tmp_path / "run").exists()


class TestEventFiles:
    def test_leave_out_what_is_not_finite(self, tmp_path: Path) -> None:
        files = EventFiles(tmp_path / "events")
        files.step(StepRecord(1, 1, None, 0.5, None, 9.0))
        files.close()
        assert scalars(tmp_path / "events" / "train") == {"accuracy": [(1, 0.5)]}

    def test_can_be_read_while_they_are_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = EventFiles(tmp_path / "events")
        monkeypatch.setattr(tensorboard, "_FLUSH_SECONDS", 0.0)
        files.step(StepRecord(1, 1, 0.25, 0.5, 1.0, 9.0))
        assert scalars(tmp_path / "events" / "train")["loss"] == [(1, 0.25)]
        files.close()

    def test_that_cannot_be_written_are_an_error(self, tmp_path: Path) -> None:
        files = EventFiles(tmp_path / "events")
        (tmp_path / "events").write_text("mine")
        with pytest.raises(InputError, match="events cannot be written: "):
            files.step(StepRecord(1, 1, 0.25, 0.5, 1.0, 9.0))
