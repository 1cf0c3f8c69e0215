"""What a finished run came to."""

import dataclasses
import json
import math
from types import GenericAlias
from typing import Any, Self, get_origin


class _Written:
    """A dataclass that is written as JSON, and read again."""

    def dump(self) -> str:
        """As JSON: an object with the attributes."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"  # type: ignore[call-overload]

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """What `dump` gave; None where it is damaged."""
        try:
            content: dict[str, Any] = json.loads(text)
            fields = dataclasses.fields(cls)  # type: ignore[arg-type]
            values = {field.name: content[field.name] for field in fields}
        except (LookupError, ValueError, TypeError, RecursionError):
            return None
        for field in fields:
            value = values[field.name]
            kind = get_origin(field.type) if isinstance(field.type, GenericAlias) else field.type
            if not isinstance(value, kind):  # type: ignore[arg-type]
                return None
            if isinstance(value, float) and not math.isfinite(value):
                return None
        return cls(**values)


@dataclasses.dataclass(frozen=True)
class Result(_Written):
    """What ``result.json`` says of a run.

    Attributes:
      arch: the architecture.
      dataset: ``"imdb_reviews"`` or ``"synthetic"``.
      note: a warning that belongs beside the accuracy; empty for real reviews.
      device: kind of the devices: cpu, gpu or tpu.
      device_kind: what JAX calls them.
      devices: how many there were.
      processes: how many there were.
      cpus: number of CPUs of the machine.
      epochs: passes over the training reviews.
      reported_epoch: the one that the parameters are of (see `History.best`).
      reported_step: the training step that it ended with.
      skipped_steps: steps that were not applied, since they were not finite.
      seed: of the run.
      padding: masked or keras.
      precision: of the encoder.
      batch_size: reviews in a step.
      train_examples: reviews trained on.
      validation_examples: reviews held out of them.
      test_examples: reviews tested on.
      parameters: number of scalars.
      test_accuracy: share of hits on the test split.
      test_loss: mean cross-entropy there, in nats.
      validation_accuracy: that of the reported epoch; None where nothing was held out.
      train_seconds: wall-clock time of training, evaluations apart.
      compile_seconds: the part of it that went into compilation.
      step_ms_median: median over the epochs of their median time of a step, in milliseconds.
      versions: of what decides the numbers.
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
    test_accuracy: float
    test_loss: float
    validation_accuracy: float | None
    train_seconds: float
    compile_seconds: float
    step_ms_median: float
    versions: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Summary(_Written):
    """What ``summary.json`` says of several runs, which differ in their seed.

    Attributes:
      arch: the architecture.
      dataset: ``"imdb_reviews"`` or ``"synthetic"``.
      note: a warning that belongs beside the accuracy; empty for real reviews.
      device: kind of the devices: cpu, gpu or tpu.
      devices: how many there were.
      epochs: of each run.
      padding: masked or keras.
      precision: of the encoder.
      runs: how many there were.
      seeds: of each.
      test_accuracy: mean over the runs.
      test_accuracy_std: their standard deviation.
      test_accuracies: of each.
      test_losses: of each, in nats.
      train_seconds: of each.
      step_ms_median: median over the runs, in milliseconds.
      versions: of what decides the numbers.
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
    train_seconds: list[float]
    step_ms_median: float
    versions: dict[str, str]
