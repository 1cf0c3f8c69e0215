"""Epochs of training steps over a dataset, each followed by an evaluation."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypedDict, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from flax_imdb.data import Batch, Batching, Dataset, Examples, Planned
from flax_imdb.devices import by_row, on_cpus, replicated
from flax_imdb.errors import InputError, check_at_least
from flax_imdb.training.metrics import Metrics
from flax_imdb.training.state import TrainState
from flax_imdb.training.step import (
    apply_gradients,
    eval_step,
    predict_step,
    sum_gradients,
    train_step,
)

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
      epochs: Passes over the training reviews.
      batch_size: Reviews per step, over all devices together.
      learning_rate: Adam's.
      seed: Decides the parameters' first values, the order of the data and what dropout drops.
    """

    epochs: int = 3
    batch_size: int = 64
    learning_rate: float = 1e-3
    seed: int = 7

    def __post_init__(self) -> None:
        check_at_least("--epochs", self.epochs, 1)
        check_at_least("--batch-size", self.batch_size, 1)
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

    Attributes:
      mesh: the devices.
      batching: how examples become batches.
    """

    def __init__(self, mesh: Mesh, batching: Batching):
        self.mesh = mesh
        self.batching = batching
        everywhere = replicated(mesh)
        # On accelerators one program, in which XLA adds the gradients of several devices.
        self._train_step = (
            _SplitTrainStep(mesh)
            if on_cpus(mesh)
            else _Compiled(
                jax.jit(train_step, donate_argnums=0, out_shardings=(everywhere, everywhere))
            )
        )
        self._eval_step = _Compiled(jax.jit(on_each_device(eval_step, mesh)))
        self._predict_step = _Compiled(jax.jit(predict_step, out_shardings=by_row(mesh)))

    def place(self, state: TrainState) -> TrainState:
        """Put a state where the steps look for it."""
        return jax.device_put(state, replicated(self.mesh))

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
                latest, metrics = self._train_step(latest, self._batch(examples, planned))
                yield latest, metrics

        return _one_ahead(started())

    def evaluate(self, state: TrainState, examples: Examples) -> tuple[float, float]:
        """Mean loss in nats and accuracy of `state` on `examples`."""
        totals = _Totals()
        plan = self.batching.plan_evaluation(examples)
        for metrics in _one_ahead(self._on_each(self._eval_step, state, examples, plan)):
            totals.add(metrics)
        return totals.means()

    def predict(self, state: TrainState, examples: Examples) -> np.ndarray:
        """Probabilities float32 [examples, classes]; with one logit, that of label 1."""
        plan = self.batching.plan_evaluation(examples)
        batches = _one_ahead(self._on_each(self._predict_step, state, examples, plan))
        probabilities = [
            np.asarray(batch)[: len(planned.indices)]
            for planned, batch in zip(plan, batches, strict=True)
        ]
        order = np.concatenate([planned.indices for planned in plan])
        return np.concatenate(probabilities)[np.argsort(order)]

    def _on_each(
        self, step: "_Compiled", state: TrainState, examples: Examples, plan: list[Planned]
    ) -> Iterator[Any]:
        """Start a step on each planned batch of `examples`; its results follow in that order."""
        state = self.place(state.replace(opt_state=()))
        for planned in plan:
            yield step(state, self._batch(examples, planned))

    def _batch(self, examples: Examples, planned: Planned) -> Batch:
        return jax.device_put(self.batching.make(examples, planned), by_row(self.mesh))


def _one_ahead(started: Iterator[T]) -> Iterator[T]:
    """Each result once the next has been started, so that no device waits for the host."""
    waiting: list[T] = []
    for result in started:
        yield from waiting
        waiting = [result]
    yield from waiting


def on_each_device(function: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Let each device compute on its share of the rows; results get a leading device axis.

    There is no collective in it: on CPU devices, which share one small pool of threads, steps that
    wait for each other can wait for ever.
    """

    def on_share(state: TrainState, batch: Batch) -> Any:
        return jax.tree.map(lambda leaf: leaf[None], function(state, batch))

    return jax.shard_map(
        on_share,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec("batch")),
        out_specs=PartitionSpec("batch"),
        check_vma=False,
    )


class _SplitTrainStep:
    """`train_step` on several CPU devices: gradients on each, the update on the first.

    Attributes:
      compile_seconds: the time that compilations took.
    """

    def __init__(self, mesh: Mesh):
        self._mesh = mesh
        self._gradients = _Compiled(jax.jit(on_each_device(sum_gradients, mesh)))
        self._update = _Compiled(jax.jit(self._apply, donate_argnums=0))

    @property
    def compile_seconds(self) -> float:
        return self._gradients.compile_seconds + self._update.compile_seconds

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        first = self._mesh.devices[0]
        if state.dropout_key.devices() != {first}:  # Else it takes time all the same.
            state = jax.device_put(state, first)
        shares = self._gradients(self._everywhere(state.replace(opt_state=())), batch)
        # Device by device: JAX would put the arrays together first, which takes longer.
        shares = [
            jax.tree.map(lambda leaf, n=n: leaf.addressable_shards[n].data, shares)
            for n in range(self._mesh.size)
        ]
        return self._update(state, jax.device_put(shares, first))

    def _everywhere(self, state: TrainState) -> TrainState:
        """What `device_put` with a replicated sharding does, from the first device, but faster."""
        copies = [state, *(jax.device_put(state, device) for device in self._mesh.devices[1:])]
        return jax.tree.map(
            lambda *copies: jax.make_array_from_single_device_arrays(
                copies[0].shape, replicated(self._mesh), copies
            ),
            *copies,
        )

    @staticmethod
    def _apply(state: TrainState, shares: list[tuple[Any, Metrics]]) -> tuple[TrainState, Metrics]:
        # Added one by one: XLA is slow to reduce over a leading axis as short as this.
        grads, metrics = jax.tree.map(lambda *shares: sum(shares)[0], *shares)
        return apply_gradients(state, grads, metrics), metrics


class _Compiled:
    """A jitted function of a state and something else, compiled for each shape of the latter.

    Attributes:
      compile_seconds: the time that compilations took.
    """

    def __init__(self, function: Any):
        self._function = function
        self._by_shape: dict[tuple[int, ...], Any] = {}
        self.compile_seconds = 0.0

    def __call__(self, state: TrainState, other: Any) -> Any:
        shapes = tuple(leaf.shape for leaf in jax.tree.leaves(other))
        if shapes not in self._by_shape:
            start = time.perf_counter()
            self._by_shape[shapes] = self._function.lower(state, other).compile()
            self.compile_seconds += time.perf_counter() - start
        return self._by_shape[shapes](state, other)


class _Totals:
    """Sums of `Metrics` over batches, in double precision on the host."""

    def __init__(self) -> None:
        self._sums = {"loss": 0.0, "correct": 0.0, "examples": 0.0}

    def add(self, metrics: Metrics) -> None:
        """Wait for the step that computes `metrics`, and add them, those of all devices."""
        for name, value in jax.device_get(metrics).items():
            self._sums[name] += float(np.sum(value, dtype=np.float64))

    def means(self) -> tuple[float, float]:
        """Mean loss and accuracy."""
        examples = self._sums["examples"]
        return self._sums["loss"] / examples, self._sums["correct"] / examples
