"""Event files for TensorBoard."""

import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flax_imdb.errors import InputError, warn
from flax_imdb.training import EpochRecord, StepRecord

# A flush waits for the disk, for as long as some training steps take.
_FLUSH_SECONDS = 10.0


def check_installed() -> None:
    """Raise InputError if the library that writes event files is not there."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise InputError(
            "`tensorboard` needs tensorboardX, which is not installed: pip install tensorboardX"
        ) from None


class EventFiles:
    """Writes the metrics of a run to event files: ``loss``, ``accuracy`` and ``gradient_norm``.

    Those of training, by step, and those of an evaluation, by epoch, are in sub-directories named
    ``train`` and as the split, so that TensorBoard draws them over each other.

    Args:
      directory: where they go. What is there is deleted: a run that goes on writes all that it has
        behind it again, so that each step is there once, wherever the run was stopped.

    Raises:
      InputError: they cannot be written; from the other methods, too.
    """

    def __init__(self, directory: Path):
        self._directory = directory.absolute()
        self._writers: dict[str, Any] = {}
        self._flushed = time.monotonic()
        try:
            shutil.rmtree(self._directory)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._problem(error) from None

    def step(self, record: StepRecord) -> None:
        """Write the metrics of a training step."""
        self._write(
            "train",
            record.step,
            loss=record.loss,
            accuracy=record.accuracy,
            gradient_norm=record.gradient_norm,
        )

    def epoch(self, record: EpochRecord) -> None:
        """Write the evaluation of an epoch, if there was one."""
        if record.eval_split is not None:
            self._write(
                record.eval_split,
                record.step,
                loss=record.eval_loss,
                accuracy=record.eval_accuracy,
            )

    def add(self, steps: Iterable[StepRecord], epochs: Iterable[EpochRecord]) -> None:
        """Write what a run has behind it."""
        for step in steps:
            self.step(step)
        for epoch in epochs:
            self.epoch(epoch)

    def close(self) -> None:
        """Close the files, or warn: there may be a more urgent problem."""
        for writer in self._writers.values():
            try:
                writer.close()
            except OSError as error:
                warn(str(self._problem(error)))
        self._writers.clear()

    def _write(self, split: str, step: int, **values: float | None) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        known = [
            Summary.Value(tag=tag, simple_value=value)
            for tag, value in values.items()
            if value is not None
        ]
        event = Event(wall_time=time.time(), step=step, summary=Summary(value=known))
        try:
            writer = self._writer(split)
            writer.write_event(event)
            if time.monotonic() - self._flushed >= _FLUSH_SECONDS:
                for each in self._writers.values():
                    each.flush()
                self._flushed = time.monotonic()
        except OSError as error:
            raise self._problem(error) from None

    def _writer(self, split: str) -> Any:
        # Not `SummaryWriter`: it writes in a thread, where a full disk is noticed by nobody, and
        # waits for ever once its queue is full.
        from tensorboardX.event_file_writer import EventsWriter

        if split not in self._writers:
            (self._directory / split).mkdir(parents=True, exist_ok=True)
            self._writers[split] = EventsWriter(str(self._directory / split / "events"))
        return self._writers[split]

    def _problem(self, error: OSError) -> InputError:
        return InputError(f"{self._directory} cannot be written: {error.strerror}")
