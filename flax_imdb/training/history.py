"""What is known of a run's training so far: its finished epochs, and the one that has begun."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from flax_imdb.training.metrics import Metrics, StepMetrics, compute, merge


@dataclasses.dataclass(frozen=True)
class EpochRecord:
    """What is reported of an epoch: a line of ``metrics.jsonl``.

    Attributes:
      dataset: name of the dataset.
      epoch: its number, from 1.
      step: training steps since the start of the run.
      skipped_steps: those of the epoch whose loss or gradient was not finite: not applied.
      train_loss: mean cross-entropy in nats over the epoch's other steps, dropout on.
      train_accuracy: share of hits over these steps, dropout on.
      eval_split: ``"validation"`` or ``"test"``.
      eval_loss: mean cross-entropy in nats on that split, after the epoch.
      eval_accuracy: share of hits on that split, after the epoch.
      seconds: wall-clock time of the epoch's training, compilation included.
      compile_seconds: the part of it that went into compilation.
      step_ms_median: median time of a training step in milliseconds, compilation excluded.
      examples_per_second: training examples over `seconds` less `compile_seconds`.
    """

    dataset: str
    epoch: int
    step: int
    skipped_steps: int
    train_loss: float
    train_accuracy: float
    eval_split: str
    eval_loss: float
    eval_accuracy: float
    seconds: float
    compile_seconds: float
    step_ms_median: float
    examples_per_second: float


@dataclasses.dataclass
class UnfinishedEpoch:
    """What must be known of an epoch to continue it.

    Attributes:
      steps: training steps done of it; all of them where only its evaluation is missing.
      skipped_steps: those of them whose loss or gradient was not finite.
      sums: the metrics of the others, in double precision.
      seconds: wall-clock time of its training so far.
      compile_seconds: the part of it that went into compilation.
      step_ms: the time of each step in milliseconds.
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
        """Count a step that took so long; whether its loss and gradient were finite."""
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
    """The training so far; with the state, all that it takes to continue.

    Attributes:
      epochs: the finished epochs, evaluated.
      unfinished: the epoch after them, where it has begun.
    """

    epochs: list[EpochRecord] = dataclasses.field(default_factory=list)
    unfinished: UnfinishedEpoch | None = None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "History":
        """From what `dataclasses.asdict` gives."""
        unfinished = content["unfinished"]
        return cls(
            [EpochRecord(**record) for record in content["epochs"]],
            UnfinishedEpoch(**unfinished) if unfinished else None,
        )

    def best(self, step: int | None = None) -> EpochRecord | None:
        """The epoch that the run stands for: its parameters are what `evaluate` and `predict` load.

        It is the best by validation accuracy (of equals the first), and the last one where nothing
        was held out, since the test split chooses nothing.

        Args:
          step: of the epochs that ended with this training step or before; None: of all.
        """
        epochs = [record for record in self.epochs if step is None or record.step <= step]
        if not epochs or epochs[-1].eval_split == "test":
            return epochs[-1] if epochs else None
        return max(epochs, key=lambda record: record.eval_accuracy)
