"""The training history: records of finished epochs, and the state of the current one."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flax_imdb.training.metrics import (
    Evaluation,
    Metrics,
    Monitor,
    StepMetrics,
    compute,
    merge,
)


@dataclasses.dataclass(frozen=True)
class EpochRecord:
    """The metrics of an epoch: a line of ``metrics.jsonl``.

    Attributes:
      dataset: name of the dataset.
      epoch: number of the epoch, from 1.
      step: training steps since the start of the run.
      skipped_steps: steps of the epoch that were skipped, as loss or gradient was not finite.
      train_loss: mean cross-entropy in nats over the epoch's other steps, with dropout.
      train_accuracy: accuracy over these steps, with dropout.
      eval_split: ``"validation"`` or ``"test"``; None if the epoch was not evaluated.
      eval_loss: mean cross-entropy in nats on that split, after the epoch.
      eval_accuracy: accuracy on that split, after the epoch.
      seconds: wall-clock time of the epoch's training, including compilation.
      compile_seconds: time spent on compilation.
      step_ms_median: median time of a training step in milliseconds, without compilation.
      examples_per_second: training examples per second, without compilation.
      monitor: what decides on the best epoch by the validation split.
      eval_macro_f1: mean of the classes' F1 on that split; None unless it is what decides.
      eval_roc_auc: area under the ROC curve on that split; None unless it is what decides.
    """

    dataset: str
    epoch: int
    step: int
    skipped_steps: int
    train_loss: float
    train_accuracy: float
    eval_split: str | None
    eval_loss: float | None
    eval_accuracy: float | None
    seconds: float
    compile_seconds: float
    step_ms_median: float
    examples_per_second: float
    monitor: Monitor = "accuracy"
    eval_macro_f1: float | None = None
    eval_roc_auc: float | None = None

    @property
    def monitored(self) -> float:
        """The value that decides on the best epoch; nan if the epoch was not evaluated."""
        value: float | None = getattr(self, f"eval_{self.monitor}")
        return math.nan if value is None else value


class StepRecord(NamedTuple):
    """The metrics of a training step: a line of ``steps.jsonl``.

    Attributes:
      epoch: number of the epoch, from 1.
      step: training steps since the start of the run, with this one.
      loss: mean cross-entropy in nats over the batch, before the update and with dropout; None if
        it is not finite.
      accuracy: accuracy on the batch, with dropout; None if it is not finite.
      gradient_norm: global norm of the gradient, before clipping; None if it is not finite.
      step_ms: its time in milliseconds, without compilation.
    """

    epoch: int
    step: int
    loss: float | None
    accuracy: float | None
    gradient_norm: float | None
    step_ms: float


@dataclasses.dataclass
class UnfinishedEpoch:
    """The progress of an epoch that has not finished: all that is needed to continue it.

    Attributes:
      steps: training steps done; all of them if only the evaluation is missing.
      skipped_steps: those whose loss or gradient was not finite.
      sums: summed metrics of the other steps, in double precision.
      seconds: wall-clock time of training so far.
      compile_seconds: time spent on compilation.
      records: of each step.
    """

    steps: int = 0
    skipped_steps: int = 0
    sums: dict[str, float] = dataclasses.field(
        default_factory=lambda: dict.fromkeys(Metrics.__annotations__, 0.0)
    )
    seconds: float = 0.0
    compile_seconds: float = 0.0
    records: list[StepRecord] = dataclasses.field(default_factory=list)

    def count(
        self, epoch: int, step: int, metrics: StepMetrics, seconds: float, compile_seconds: float
    ) -> bool:
        """Add a step; returns whether its loss and gradient are finite.

        Args:
          epoch: number of the epoch, from 1.
          step: training steps since the start of the run, with this one.
          metrics: of its batch.
          seconds: its wall-clock time.
          compile_seconds: the part of it spent on compilation.
        """
        finite = math.isfinite(metrics["loss"]) and math.isfinite(metrics["gradient_norm"])
        if finite:
            self.sums = merge(self.sums, metrics)
        else:
            self.skipped_steps += 1
        self.steps += 1
        self.seconds += seconds
        self.compile_seconds += compile_seconds
        numbers = (*compute(metrics), float(metrics["gradient_norm"]))
        loss, accuracy, norm = (number if math.isfinite(number) else None for number in numbers)
        step_ms = 1e3 * (seconds - compile_seconds)
        self.records.append(StepRecord(epoch, step, loss, accuracy, norm, step_ms))
        return finite

    @property
    def means(self) -> tuple[float, float]:
        """Mean loss and accuracy so far."""
        return compute(self.sums)

    def recent_ms(self, steps: int | None = None) -> float:
        """Median time of the last so many steps (None: all), in milliseconds."""
        recent = self.records if steps is None else self.records[-steps:]
        return statistics.median(record.step_ms for record in recent)


@dataclasses.dataclass(frozen=True)
class Segment:
    """A part of a run that was trained in one environment: up to the next one, or to the end.

    Attributes:
      step: training steps before it.
      epochs: epochs that were finished before it. If all steps of the next one were done, its
        evaluation is what the segment begins with.
      environment: see `flax_imdb.environment.describe`.
      implementation: the setting for how the LSTM is computed.
    """

    step: int
    epochs: int
    environment: Mapping[str, str]
    implementation: str

    @property
    def begin(self) -> tuple[int, int]:
        """Where it begins: step and epochs."""
        return self.step, self.epochs


@dataclasses.dataclass
class History:
    """The training history: with the state, all that is needed to continue training.

    Attributes:
      epochs: the finished epochs.
      unfinished: the current epoch; None if it has not begun.
      last_steps: the steps of the last finished epoch.
      segments: where the training went on in another environment, the start first. Of a run that
        an older version began, the first one is that of a later step, or there is none.
    """

    epochs: list[EpochRecord] = dataclasses.field(default_factory=list)
    unfinished: UnfinishedEpoch | None = None
    last_steps: list[StepRecord] = dataclasses.field(default_factory=list)
    segments: list[Segment] = dataclasses.field(default_factory=list)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "History":
        """Convert the output of `dataclasses.asdict` back."""
        epochs = [EpochRecord(**record) for record in content["epochs"]]
        unfinished = None
        if saved := content["unfinished"]:
            unfinished = UnfinishedEpoch(**_with_records(saved, epochs))
            unfinished.records = [StepRecord(*record) for record in unfinished.records]
        last_steps = [StepRecord(*record) for record in content.get("last_steps", [])]
        segments = [Segment(**segment) for segment in content.get("segments", [])]
        return cls(epochs, unfinished, last_steps, segments)

    def go_on(self, step: int, environment: Mapping[str, str], implementation: str) -> None:
        """Begin a new segment after this step, unless the last one is like it."""
        new = Segment(step, len(self.epochs), dict(environment), implementation)
        # Nothing was kept of one that began at the same place.
        segments = [segment for segment in self.segments if segment.begin != new.begin]
        like = dataclasses.replace(segments[-1], step=step, epochs=new.epochs) if segments else None
        self.segments = segments if like == new else [*segments, new]

    def end_epoch(
        self,
        *,
        dataset: str,
        step: int,
        examples: int,
        split: str | None,
        evaluation: Evaluation | None,
        monitor: Monitor = "accuracy",
        monitored: float | None = None,
    ) -> None:
        """Make the unfinished epoch the last of the finished ones.

        Args:
          dataset: its name.
          step: training steps since the start of the run.
          examples: the number of training examples.
          split: what was evaluated; None for nothing.
          evaluation: of that split.
          monitor: what decides on the best epoch.
          monitored: its value on that split.
        """
        trained = self.unfinished
        assert trained is not None
        train_loss, train_accuracy = trained.means
        record = EpochRecord(
            dataset=dataset,
            epoch=len(self.epochs) + 1,
            step=step,
            skipped_steps=trained.skipped_steps,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            eval_split=split,
            eval_loss=evaluation.loss if evaluation else None,
            eval_accuracy=evaluation.accuracy if evaluation else None,
            seconds=trained.seconds,
            compile_seconds=trained.compile_seconds,
            step_ms_median=trained.recent_ms(),
            examples_per_second=examples / (trained.seconds - trained.compile_seconds),
            monitor=monitor,
            eval_macro_f1=monitored if monitor == "macro_f1" else None,
            eval_roc_auc=monitored if monitor == "roc_auc" else None,
        )
        self.epochs.append(record)
        self.unfinished, self.last_steps = None, trained.records

    def best(self, step: int | None = None) -> EpochRecord | None:
        """The epoch to report; `evaluate` and `predict` load its parameters.

        With validation rows it is the first with the best value of what is monitored on them.
        Without, it is the last epoch, since the test split is never used to choose.

        Args:
          step: consider only epochs that ended at this training step or before; None: all.
        """
        epochs = [record for record in self.epochs if step is None or record.step <= step]
        if not epochs or epochs[-1].eval_split != "validation":
            return epochs[-1] if epochs else None
        sign = -1 if epochs[-1].monitor == "loss" else 1
        return max(epochs, key=lambda record: sign * record.monitored)

    def is_stalled(self, patience: int | None) -> bool:
        """Whether the last `patience` epochs are not better than the best one before them."""
        best = self.best()
        return (
            patience is not None and best is not None and len(self.epochs) - best.epoch >= patience
        )


def _with_records(saved: Mapping[str, Any], epochs: Sequence[EpochRecord]) -> dict[str, Any]:
    """An unfinished epoch as it is saved; version 0.1.0 kept the time of each step alone."""
    unfinished = dict(saved)
    first = epochs[-1].step + 1 if epochs else 1
    for step, step_ms in enumerate(unfinished.pop("step_ms", []), start=first):
        record = StepRecord(len(epochs) + 1, step, None, None, None, step_ms)
        unfinished.setdefault("records", []).append(record)
    return unfinished
