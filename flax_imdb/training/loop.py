"""Epochs of training steps over a dataset, each followed by an evaluation."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypedDict, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh

from flax_imdb.data import Batch, Batching, Dataset, Examples, Planned
from flax_imdb.devices import by_row, exchange, replicated
from flax_imdb.errors import InputError, Interrupted, check_between
from flax_imdb.training.interruption import Interruption
from flax_imdb.training.metrics import StepMetrics
from flax_imdb.training.parallel import (
    Compiled,
    local_copy,
    make_train_step,
    on_each_device,
    place,
)
from flax_imdb.training.state import TrainState, averaged
from flax_imdb.training.step import eval_step, predict_step

T = TypeVar("T")

# Sums of `Metrics`, in double precision on the host.
_NOTHING = {"loss": 0.0, "correct": 0.0, "examples": 0.0}

_TO_TRY = "in a new run a smaller `learning_rate` or `clip_norm` may prevent it"

# With more, the average is the last step's parameters for longer than any run takes.
MAX_AVERAGING = 10**6

# More rows than IMDB has reviews: a mistake, of which the machine would run out of memory.
MAX_BATCH_SIZE = 2**16


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
      epochs: Passes over the training reviews.
      batch_size: Reviews per step, over all devices together.
      microbatches: Compute a step's gradients on so many parts of the batch in turn: less memory,
        the same update.
      learning_rate: Adam's.
      clip_norm: Scale a gradient whose norm is larger down to it; None never does.
      averaging: Evaluate and keep an average of the parameters, in which step t has a weight of
        about t**averaging; None keeps those of the last step.
      skip_nonfinite: Go on after a step whose loss or gradient is not finite, without it.
      seed: Decides the parameters' first values, the order of the data and what dropout drops.
    """

    epochs: int = 3
    batch_size: int = 64
    microbatches: int = 1
    learning_rate: float = 1e-3
    clip_norm: float | None = 1.0
    averaging: float | None = 3.0
    skip_nonfinite: bool = False
    seed: int = 7

    def __post_init__(self) -> None:
        check_between("epochs", self.epochs, 1)
        check_between("batch_size", self.batch_size, 1, MAX_BATCH_SIZE)
        check_between("microbatches", self.microbatches, 1)
        if self.microbatches > self.batch_size:
            raise InputError(
                f"`microbatches` {self.microbatches} is too large: a batch has "
                f"`batch_size` {self.batch_size} rows"
            )
        check_between("seed", self.seed, 0, 2**32 - 1)
        for setting, value in (
            ("learning_rate", self.learning_rate),
            ("clip_norm", self.clip_norm),
        ):
            # It is going to be a float32, and XLA takes what is nearer to 0 for 0.
            limits = np.finfo(np.float32)
            least, most = float(limits.tiny), float(limits.max)
            if value is not None and not least <= value <= most:
                raise InputError(
                    f"`{setting}` {value} makes no sense: a finite number above 0 is needed"
                )
        if self.averaging is not None and not 0 <= self.averaging <= MAX_AVERAGING:
            raise InputError(
                f"`averaging` {self.averaging} makes no sense: a number from 0 to "
                f"{MAX_AVERAGING} is needed, or None"
            )


class EpochRecord(TypedDict):
    """What is reported of an epoch: a line of ``metrics.jsonl``.

    Keys:
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


def reported_epoch(epochs: list[EpochRecord]) -> EpochRecord:
    """The epoch whose parameters a run stands for, and `evaluate` and `predict` load.

    The best by validation accuracy (of equals, the first); the last where nothing was held out,
    since the test split chooses nothing.
    """
    if epochs[-1]["eval_split"] == "test":
        return epochs[-1]
    return max(epochs, key=lambda record: record["eval_accuracy"])


@dataclasses.dataclass
class UnfinishedEpoch:
    """What must be known of an epoch to go on with it.

    Attributes:
      steps: training steps done of it; all of them where it is yet to be evaluated.
      skipped_steps: those of them that were not finite.
      sums: of the others' `Metrics`.
      seconds: wall-clock time of its training so far.
      compile_seconds: the part of it that went into compilation.
      step_ms: the time of each step in milliseconds.
    """

    steps: int = 0
    skipped_steps: int = 0
    sums: dict[str, float] = dataclasses.field(default_factory=lambda: dict(_NOTHING))
    seconds: float = 0.0
    compile_seconds: float = 0.0
    step_ms: list[float] = dataclasses.field(default_factory=list)

    def count(self, metrics: StepMetrics, seconds: float, compile_seconds: float) -> bool:
        """Count a step that took so long; whether its loss and gradient were finite."""
        finite = all(math.isfinite(metrics[name]) for name in ("loss", "gradient_norm"))
        if finite:
            _add(self.sums, metrics)
        else:
            self.skipped_steps += 1
        self.steps += 1
        self.seconds += seconds
        self.compile_seconds += compile_seconds
        self.step_ms.append(1e3 * (seconds - compile_seconds))
        return finite


@dataclasses.dataclass(frozen=True)
class History:
    """How a state came about; with the state, all that it takes to go on. JSON can hold it.

    Attributes:
      epochs: the finished epochs, evaluated.
      unfinished: the epoch after them, where it has begun.
    """

    epochs: list[EpochRecord] = dataclasses.field(default_factory=list)
    unfinished: UnfinishedEpoch | None = None


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
        history: History,
        *,
        due: Callable[[int], bool] = lambda step: False,
        interruption: Interruption | None = None,
        on_step: Callable[[Progress], None] = lambda progress: None,
    ) -> Iterator[tuple[TrainState, History]]:
        """Train the epochs, and the part of one, that `history` lacks.

        Args:
          state: where to start; its buffers are donated to the first step.
          dataset: what to train on, and to evaluate on: its validation split where there is one,
            else the test split.
          config: for the number of epochs and the seed of the order.
          history: what `state` has behind it.
          due: asked after each training step, with their number since the start of the run:
            whether to yield within an epoch.
          interruption: whether to stop; asked after each step and within evaluations.
          on_step: called after each training step.

        Yields:
          A state, and its history: after each epoch, where one is `due`, and before it stops. The
          state's buffers are donated to the step after it.

        Raises:
          Interrupted: it was asked to stop. The last state yielded is the newest.
          InputError: a loss or gradient is not finite; a state of the steps before is what to go
            on from.
        """
        split, evaluated = (
            ("validation", dataset.validation)
            if len(dataset.validation)
            else ("test", dataset.test)
        )
        while len(history.epochs) < config.epochs:
            epoch = len(history.epochs) + 1
            plan = self.batching.plan_epoch(dataset.train, seed=config.seed, epoch=epoch)
            run = history.unfinished or UnfinishedEpoch()
            history = History(history.epochs, run)
            first_step = int(state.step) - run.steps
            started, stop = run.steps, False

            def wanted() -> bool:
                nonlocal started, stop
                started += 1
                # Asked every time: of several processes all must ask alike.
                stop = interruption is not None and interruption.requested()
                return due(first_step + started) or stop  # noqa: B023

            plan_left = plan[run.steps :]
            before, compiled_before = time.perf_counter(), self._train_step.compile_seconds
            steps = self.steps(state, dataset.train, plan_left, wanted)
            for planned, (kept, metrics) in zip(plan_left, steps, strict=True):
                metrics = jax.device_get(metrics)  # Waits for the step.
                now, compiled = time.perf_counter(), self._train_step.compile_seconds
                finite = run.count(metrics, now - before, compiled - compiled_before)
                before, compiled_before = now, compiled
                if not finite and not config.skip_nonfinite:
                    rows = dataset.train.ids[planned.indices]
                    raise InputError(_nonfinite(first_step + run.steps, epoch, metrics, rows))
                recent = statistics.median(run.step_ms[-99:])
                on_step(Progress(epoch, run.steps, len(plan), *_means(run.sums), recent))
                if kept is not None:
                    state = kept
                    if run.steps < len(plan):
                        yield state, history
                        if stop and interruption is not None:
                            interruption.check()
            if run.skipped_steps == len(plan):
                raise InputError(f"epoch {epoch} had no step with a finite loss and gradient")
            try:
                eval_loss, eval_accuracy = self.evaluate(state, evaluated, interruption)
            except Interrupted:
                yield state, history
                raise
            train_loss, train_accuracy = _means(run.sums)
            if not math.isfinite(eval_loss):
                raise InputError(
                    f"the loss on the {split} split after epoch {epoch} is {eval_loss}: {_TO_TRY}"
                )
            record = EpochRecord(
                dataset=dataset.name,
                epoch=epoch,
                step=int(state.step),
                skipped_steps=run.skipped_steps,
                train_loss=train_loss,
                train_accuracy=train_accuracy,
                eval_split=split,
                eval_loss=eval_loss,
                eval_accuracy=eval_accuracy,
                seconds=run.seconds,
                compile_seconds=run.compile_seconds,
                step_ms_median=statistics.median(run.step_ms),
                examples_per_second=len(dataset.train) / (run.seconds - run.compile_seconds),
            )
            history = History([*history.epochs, record])
            yield state, history
            if interruption is not None:
                interruption.check()

    def steps(
        self,
        state: TrainState,
        examples: Examples,
        plan: list[Planned],
        wanted: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[TrainState | None, StepMetrics]]:
        """Make each planned batch of `examples` and train on it.

        `state` is one that `place` or another step returned, and is donated.
        A step's metrics are yielded when the next step has been started, and no state with them,
        since that step has consumed it. `wanted` is asked whenever a step has been started: if so,
        it is waited for and its state yielded before the next. The last state is yielded always.
        """
        waiting: StepMetrics | None = None
        for number, planned in enumerate(plan, start=1):
            state, metrics = self._train_step(state, self._share(examples, planned))
            if waiting is not None:
                yield None, waiting
            waiting = metrics
            if wanted() or number == len(plan):
                yield state, metrics
                waiting = None

    def evaluate(
        self, state: TrainState, examples: Examples, interruption: Interruption | None = None
    ) -> tuple[float, float]:
        """Mean loss in nats and accuracy of `state` on `examples`.

        Raises:
          Interrupted: `interruption` asked it to stop.
        """
        sums = dict(_NOTHING)
        plan = self.batching.plan_evaluation(examples)
        for metrics in _one_ahead(self._on_each(self._eval_step, state, examples, plan)):
            if interruption is not None:
                interruption.check()
            for name, value in jax.device_get(metrics).items():
                sums[name] += float(np.sum(value, dtype=np.float64))  # Over this process's devices.
        total = dict(_NOTHING)
        for part in exchange(sums):
            _add(total, part)
        return _means(total)

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
        state = local_copy(averaged(state).replace(opt_state=()))
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


def _add(sums: dict[str, float], part: Mapping[str, Any]) -> None:
    for name in sums:
        sums[name] += float(part[name])


def _means(sums: Mapping[str, float]) -> tuple[float, float]:
    """Mean loss and accuracy."""
    examples = sums["examples"] or math.nan
    return sums["loss"] / examples, sums["correct"] / examples


def _nonfinite(step: int, epoch: int, metrics: StepMetrics, rows: np.ndarray) -> str:
    loss, norm = (float(metrics[name]) for name in ("loss", "gradient_norm"))
    return (
        f"step {step}, in epoch {epoch}: the loss is {loss} and its gradient has norm {norm}, "
        f"which is not finite: {_TO_TRY}, and `resume` with `skip_nonfinite` goes on without such "
        f"steps; its batch has rows {', '.join(map(str, sorted(rows)))} of the training split"
    )
