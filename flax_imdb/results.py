"""The results of finished runs, and their JSON form."""

import dataclasses
import json
import math
from types import GenericAlias
from typing import Any, Self, get_origin

from flax_imdb.scores import Scores


class _Written:
    """Base class of dataclasses that are stored as JSON."""

    def dump(self) -> str:
        """The attributes as a JSON object."""
        content = dataclasses.asdict(self)  # type: ignore[call-overload]
        return json.dumps(content, indent=2, allow_nan=False) + "\n"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Parse the output of `dump`; None if it is damaged."""
        try:
            content: dict[str, Any] = json.loads(text)
            fields = dataclasses.fields(cls)  # type: ignore[arg-type]
            # What an older version did not write has a default.
            parsed = cls(**{f.name: content[f.name] for f in fields if f.name in content})
        except (LookupError, ValueError, TypeError, RecursionError):
            return None
        for field in fields:
            value = getattr(parsed, field.name)
            kind = get_origin(field.type) if isinstance(field.type, GenericAlias) else field.type
            if not isinstance(value, kind):  # type: ignore[arg-type]
                return None
            if isinstance(value, float) and not math.isfinite(value):
                return None
        return parsed


@dataclasses.dataclass(frozen=True)
class Result(Scores, _Written):
    """The result of a run, as in ``result.json``; with the scores on the test split.

    Attributes:
      arch: the architecture.
      dataset: ``"imdb_reviews"``, ``"synthetic"``, or the name of the user's own file or folder.
      note: a warning to show with the accuracy; empty for real texts.
      device: kind of the devices: cpu, gpu or tpu.
      device_kind: JAX's name of the devices.
      devices: number of devices.
      processes: number of processes.
      cpus: number of CPUs of the machine.
      epochs: passes over the training texts.
      reported_epoch: the epoch whose parameters are reported (see `History.best`).
      reported_step: the training step at its end.
      skipped_steps: steps that were skipped because they were not finite.
      seed: the seed.
      padding: masked or keras.
      precision: precision of the encoder.
      batch_size: texts per step.
      train_examples: number of training texts.
      validation_examples: number of validation texts.
      test_examples: number of test texts.
      parameters: number of parameters (scalars).
      validation_accuracy: that of the reported epoch; None without validation texts.
      baseline_accuracy: test accuracy of logistic regression on word counts; None if not asked for.
      train_seconds: wall-clock time of training, without evaluation.
      compile_seconds: the part of it spent on compilation.
      step_ms_median: median over epochs of the median step time, in milliseconds.
      versions: versions of the software that determines the numbers.
      stopped_early: whether it stopped before the epochs that it was asked for.
      segments: where it went on in another environment, the start first, with the attributes of
        `flax_imdb.training.Segment`; none if an older version wrote the file.
      calibration_examples: number of texts that it was calibrated with.
    """

    arch: str
    dataset: str
    note: str
    device: str
    device_kind: str
    devices: int
    processes: int
    cpus: int | None
    epochs: int
    reported_epoch: int
    reported_step: int
    skipped_steps: int
    seed: int
    padding: str
    precision: str
    batch_size: int
    train_examples: int
    validation_examples: int
    test_examples: int
    parameters: int
    validation_accuracy: float | None
    baseline_accuracy: float | None
    train_seconds: float
    compile_seconds: float
    step_ms_median: float
    versions: dict[str, str]
    stopped_early: bool = False
    segments: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    calibration_examples: int = 0


@dataclasses.dataclass(frozen=True)
class Summary(_Written):
    """The results of several runs with different seeds, as in ``summary.json``.

    Attributes:
      arch: the architecture.
      dataset: ``"imdb_reviews"``, ``"synthetic"``, or the name of the user's own file or folder.
      note: a warning to show with the accuracy; empty for real texts.
      device: kind of the devices: cpu, gpu or tpu.
      devices: number of devices.
      epochs: epochs of each run, unless it stopped early.
      padding: masked or keras.
      precision: precision of the encoder.
      runs: number of runs.
      seeds: seed of each run.
      test_accuracy: mean over the runs.
      test_accuracy_std: standard deviation over the runs.
      test_accuracies: test accuracy of each run.
      test_losses: test loss of each run, in nats.
      baseline_accuracy: test accuracy of logistic regression on word counts; None if not asked for.
      train_seconds: training time of each run.
      step_ms_median: median step time over the runs, in milliseconds.
      versions: versions of the software that determines the numbers.
      epochs_by_run: epochs that each run was trained for; empty if an older version wrote the file.
    """

    arch: str
    dataset: str
    note: str
    device: str
    devices: int
    epochs: int
    padding: str
    precision: str
    runs: int
    seeds: list[int]
    test_accuracy: float
    test_accuracy_std: float
    test_accuracies: list[float]
    test_losses: list[float]
    baseline_accuracy: float | None
    train_seconds: list[float]
    step_ms_median: float
    versions: dict[str, str]
    epochs_by_run: list[int] = dataclasses.field(default_factory=list)
