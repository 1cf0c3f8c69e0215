"""The training history: records of finished epochs, and the state of the current one."""

import dataclasses
import math
import statistics
from collections.abc import Mapping
from typing import Any

from flax_imdb.training.metrics import Evaluation, Metrics, StepMetrics, compute, merge


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


@dataclasses.dataclass
class UnfinishedEpoch:
    """The progress of an epoch that has not finished: all that is needed to continue it.

    Attributes:
      steps: training steps done; all of them if only the evaluation is missing.
      skipped_steps: those whose loss or gradient was not finite.
      sums: summed metrics of the other steps, in double precision.
      seconds: wall-clock time of training so far.
      compile_seconds: time spent on compilation.
      step_ms: time of each step in milliseconds, without compilation.
    """

    steps: int = 0
    skipped_steps: int = 0
    sums: dict[str, float] = dataclasses.field(
        default_factory=lambda: dict.fromkeys(Metrics.__annotations__, 0.0)
    )
    seconds: float = 0.0
    compile_seconds: float = 0.0
    step_ms: list[float] = dataclasses.field(default_factory=list)

    def count(self, metrics: StepMetrics, seconds: float, compile_seconds: float) -> bool:
        """Add a step and its times in seconds; returns whether its loss and gradient are finite."""
        finite = math.isfinite(metrics["loss"]) and math.isfinite(metrics["gradient_norm"])
        if finite:
            self.sums = merge(self.sums, metrics)
        else:
            self.skipped_steps += 1
        self.steps += 1
        self.seconds += seconds
        self.compile_seconds += compile_seconds
        self.step_ms.append(1e3 * (seconds - compile_seconds))
        return finite

    @property
    def means(self) -> tuple[float, float]:
        """Mean loss and accuracy so far."""
        return compute(self.sums)


@dataclasses.dataclass
class History:
    """The training history: with the state, all that is needed to continue training.

    Attributes:
      epochs: the finished epochs.
      unfinished: the current epoch; None if it has not begun.
    """

    epochs: list[EpochRecord] = dataclasses.field(default_factory=list)
    unfinished: UnfinishedEpoch | None = None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "History":
        """Convert the output of `dataclasses.asdict` back."""
        unfinished = content["unfinished"]
        return cls(
            [EpochRecord(**record) for record in content["epochs"]],
            UnfinishedEpoch(**unfinished) if unfinished else None,
        )

    def end_epoch(
        self,
        *,
        dataset: str,
        step: int,
        examples: int,
        split: str | None,
        evaluation: Evaluation | None,
    ) -> None:
        """Make the unfinished epoch the last of the finished ones.

        Args:
          dataset: its name.
          step: training steps since the start of the run.
          examples: the number of training examples.
          split: what was evaluated; None for nothing.
          evaluation: of that split.
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
            step_ms_median=statistics.median(trained.step_ms),
            examples_per_second=examples / (trained.seconds - trained.compile_seconds),
        )
        self.epochs.append(record)
        self.unfinished = None

    def best(self, step: int | None = None) -> EpochRecord | None:
        """The epoch to report; `evaluate` and `predict` load its parameters.

        With validation rows it is the first with the best validation accuracy. Without, it is the
        last epoch, since the test split is never used to choose.

        Args:
          step: consider only epochs that ended at this training step or before; None: all.
        """
        epochs = [record for record in self.epochs if step is None or record.step <= step]
        if not epochs or epochs[-1].eval_split != "validation":
            return epochs[-1] if epochs else None
        return max(epochs, key=lambda record: record.eval_accuracy or 0.0)
