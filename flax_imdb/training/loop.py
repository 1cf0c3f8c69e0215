"""Epochs of training steps over a dataset, each followed by an evaluation."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypedDict, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh

from flax_imdb.data import Batch, Batching, Dataset, Examples, Planned
from flax_imdb.devices import by_row, exchange, replicated
from flax_imdb.errors import InputError, check_at_least
from flax_imdb.training.metrics import Metrics
from flax_imdb.training.parallel import (
    Compiled,
    local_copy,
    make_train_step,
    on_each_device,
    place,
)
from flax_imdb.training.state import TrainState
from flax_imdb.training.step import eval_step, predict_step

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
      epochs: Passes over the training reviews.
      batch_size: Reviews per step, over all devices together.
      microbatches: Compute a step's gradients on so many parts of the batch in turn: less memory,
        the same update.
      learning_rate: Adam's.
      seed: Decides the parameters' first values, the order of the data and what dropout drops.
    """

    epochs: int = 3
    batch_size: int = 64
    microbatches: int = 1
    learning_rate: float = 1e-3
    seed: int = 7

    def __post_init__(self) -> None:
        check_at_least("--epochs", self.epochs, 1)
        check_at_least("--batch-size", self.batch_size, 1)
        check_at_least("--microbatches", self.microbatches, 1)
        if self.microbatches > self.batch_size:
            raise InputError(
                f"--microbatches {self.microbatches} is too large: a batch has "
                f"--batch-size {self.batch_size} rows"
            )
        check_at_least("--seed", self.seed, 0)
        if self.seed >= 2**32:
            raise InputError(f"--seed {self.seed} is too large: below 2**32 is needed")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(
                f"--learning-rate {self.learning_rate} makes no sense: "
                "a finite number above 0 is needed"
            )


class EpochRecord(TypedDict):
    """What is reported of an epoch: a line of ``metrics.jsonl``.

    Keys:
      dataset: name of the dataset.
      epoch: its number, from 1.
      step: training steps since the start of the run.
      train_loss: mean cross-entropy in nats over the epoch's steps, dropout on.
      train_accuracy: share of hits over the epoch's steps, dropout on.
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
    train_loss: float
    train_accuracy: float
    eval_split: str
    eval_loss: float
    eval_accuracy: float
    seconds: float
    compile_seconds: float
    step_ms_median: float
    examples_per_second: float


def reported_epoch(history: list[EpochRecord]) -> int:
    """The epoch whose parameters a run stands for, and `evaluate` and `predict` load.

    The best by validation accuracy (of equals, the first); the last where nothing was held out,
    since the test split chooses nothing.
    """
    if history[-1]["eval_split"] == "test":
        return history[-1]["epoch"]
    return max(history, key=lambda record: record["eval_accuracy"])["epoch"]


class Progress(NamedTuple):
    """Where an epoch stands.

    Attributes:
      epoch: its number, from 1.
      step: steps done of this epoch.
      steps: steps of this epoch.
      loss: mean over the epoch so far.
      accuracy: mean over the epoch so far.
      step_ms: median time of a step so far, in milliseconds.
    """

    epoch: int
    step: int
    steps: int
    loss: float
    accuracy: float
    step_ms: float


class Trainer:
    """Trains and evaluates states of one model on the devices of a mesh.

    Where those are of several processes, each has a trainer and calls the same methods in the same
    order.

    Attributes:
      mesh: the devices.
      batching: how examples become batches.
    """

    def __init__(self, mesh: Mesh, batching: Batching, microbatches: int = 1):
        self.mesh = mesh
        self.batching = batching
        self._local = mesh.local_mesh
        self._train_step = make_train_step(mesh, microbatches)
        self._eval_step = Compiled(jax.jit(on_each_device(eval_step, self._local)))
        self._predict_step = Compiled(jax.jit(predict_step, out_shardings=by_row(self._local)))

    def place(self, state: TrainState) -> TrainState:
        """Put a state where the steps look for it; that of the first process in all of them."""
        return place(state, self._train_step.home)

    def train(
        self,
        state: TrainState,
        dataset: Dataset,
        config: TrainConfig,
        history: list[EpochRecord],
        on_step: Callable[[Progress], None] = lambda progress: None,
    ) -> Iterator[tuple[TrainState, EpochRecord]]:
        """Train the epochs that `history` lacks.

        Args:
          state: where to start; its buffers are donated to the first step.
          dataset: what to train on, and to evaluate on: its validation split where there is one,
            else the test split.
          config: for the number of epochs and the seed of the order.
          history: records of the epochs that `state` has behind it.
          on_step: called after each training step.

        Yields:
          The state after each epoch, and the epoch's record. The state's buffers are donated to
          the next epoch's first step.
        """
        eval_split, eval_examples = (
            ("validation", dataset.validation)
            if len(dataset.validation)
            else ("test", dataset.test)
        )
        for epoch in range(len(history) + 1, config.epochs + 1):
            plan = self.batching.plan_epoch(dataset.train, seed=config.seed, epoch=epoch)
            totals = _Totals()
            durations: list[float] = []
            compile_seconds = -self._train_step.compile_seconds
            start = time.perf_counter()
            before = start - self._train_step.compile_seconds
            for done in self.steps(state, dataset.train, plan):
                state, metrics = done
                totals.add(metrics)
                now = time.perf_counter() - self._train_step.compile_seconds
                durations.append(1e3 * (now - before))
                before = now
                recent = statistics.median(durations[-99:])
                on_step(Progress(epoch, len(durations), len(plan), *totals.means(), recent))
            seconds = time.perf_counter() - start
            compile_seconds += self._train_step.compile_seconds
            train_loss, train_accuracy = totals.means()
            eval_loss, eval_accuracy = self.evaluate(state, eval_examples)
            record = EpochRecord(
                dataset=dataset.name,
                epoch=epoch,
                step=int(state.step),
                train_loss=train_loss,
                train_accuracy=train_accuracy,
                eval_split=eval_split,
                eval_loss=eval_loss,
                eval_accuracy=eval_accuracy,
                seconds=seconds,
                compile_seconds=compile_seconds,
                step_ms_median=statistics.median(durations),
                examples_per_second=len(dataset.train) / (seconds - compile_seconds),
            )
            yield state, record

    def steps(
        self, state: TrainState, examples: Examples, plan: list[Planned]
    ) -> Iterator[tuple[TrainState, Metrics]]:
        """Make each planned batch of `examples` and train on it.

        `state` is one that `place` or another step returned, and is donated.
        A step's results are yielded when the next step has been started. Its state has been donated
        to that step then: the last one alone is of use.
        """

        def started() -> Iterator[tuple[TrainState, Metrics]]:
            latest = state
            for planned in plan:
                latest, metrics = self._train_step(latest, self._share(examples, planned))
                yield latest, metrics

        return _one_ahead(started())

    def evaluate(self, state: TrainState, examples: Examples) -> tuple[float, float]:
        """Mean loss in nats and accuracy of `state` on `examples`."""
        totals = _Totals()
        plan = self.batching.plan_evaluation(examples)
        for metrics in _one_ahead(self._on_each(self._eval_step, state, examples, plan)):
            totals.add(metrics)
        return _Totals.of_all(exchange(totals.sums)).means()

    def predict(self, state: TrainState, examples: Examples) -> np.ndarray:
        """Probabilities float32 [examples, classes]; with one logit, that of label 1.

        For one process alone.
        """
        plan = self.batching.plan_evaluation(examples)
        batches = _one_ahead(self._on_each(self._predict_step, state, examples, plan))
        probabilities = [
            np.asarray(batch)[: len(planned.indices)]
            for planned, batch in zip(plan, batches, strict=True)
        ]
        order = np.concatenate([planned.indices for planned in plan])
        return np.concatenate(probabilities)[np.argsort(order)]

    def _on_each(
        self, step: Compiled, state: TrainState, examples: Examples, plan: list[Planned]
    ) -> Iterator[Any]:
        """Start a step on each planned batch of `examples`; its results follow in that order."""
        state = local_copy(state.replace(opt_state=()))
        state = jax.device_put(state, replicated(self._local))
        for planned in plan:
            yield step(state, jax.device_put(self._share(examples, planned), by_row(self._local)))

    def _share(self, examples: Examples, planned: Planned) -> Batch:
        """This process's rows of a batch."""
        return self.batching.make(examples, planned, (jax.process_index(), jax.process_count()))


def _one_ahead(started: Iterator[T]) -> Iterator[T]:
    """Each result once the next has been started, so that no device waits for the host."""
    waiting: list[T] = []
    for result in started:
        yield from waiting
        waiting = [result]
    yield from waiting


class _Totals:
    """Sums of `Metrics` over batches, in double precision on the host."""

    def __init__(self) -> None:
        self.sums = {"loss": 0.0, "correct": 0.0, "examples": 0.0}

    @classmethod
    def of_all(cls, parts: list[dict[str, float]]) -> "_Totals":
        """The total of sums that several processes have."""
        total = cls()
        for part in parts:
            total.add(part)
        return total

    def add(self, metrics: Metrics | dict[str, float]) -> None:
        """Wait for the step that computes `metrics`, and add them, those of all devices."""
        for name, value in jax.device_get(metrics).items():
            self.sums[name] += float(np.sum(value, dtype=np.float64))

    def means(self) -> tuple[float, float]:
        """Mean loss and accuracy."""
        examples = self.sums["examples"]
        return self.sums["loss"] / examples, self.sums["correct"] / examples
