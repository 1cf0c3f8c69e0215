"""Training, evaluation and prediction on the devices of a mesh."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from flax_imdb.data import Batch, Batching, Dataset, Examples, Planned
from flax_imdb.devices import by_row, replicated
from flax_imdb.distributed import all_gather
from flax_imdb.errors import InputError
from flax_imdb.training.config import TrainConfig
from flax_imdb.training.history import History, StepRecord, UnfinishedEpoch
from flax_imdb.training.metrics import (
    Evaluation,
    Metrics,
    StepMetrics,
    compute,
    merge,
    monitored,
)
from flax_imdb.training.objectives import Objective
from flax_imdb.training.parallel import (
    Compiled,
    local_copy,
    make_train_step,
    on_each_device,
    place,
)
from flax_imdb.training.predictor import Predictor, in_order, one_late
from flax_imdb.training.state import TrainState, to_evaluate
from flax_imdb.training.step import eval_step

ADVICE = "in a new run a smaller `learning_rate` or `clip_norm` may prevent it"
"""For messages about a loss or gradient that is not finite."""


class Hook(Protocol):
    """Called between two training steps."""

    def due(self, step: int) -> bool:
        """Whether to call it after this step of the run; asked after every step."""

    def __call__(self, state: TrainState, history: History) -> None:
        """Called with the newest state. Copy what you keep: the next step reuses its buffers."""


class Progress(NamedTuple):
    """Where an epoch stands.

    Attributes:
      epoch: its number, from 1.
      step: steps done of this epoch.
      steps: steps of this epoch.
      loss: mean over the epoch so far.
      accuracy: mean over the epoch so far.
      step_ms: median time of the last 99 steps, in milliseconds.
      last: the last step alone.
    """

    epoch: int
    step: int
    steps: int
    loss: float
    accuracy: float
    step_ms: float
    last: StepRecord


class Trainer:
    """Trains and evaluates a model on the devices of a mesh.

    With several processes each has a trainer, and all call the same methods in the same order.

    Attributes:
      mesh: the devices.
      batching: how examples become batches.
    """

    def __init__(
        self,
        mesh: Mesh,
        batching: Batching,
        microbatches: int = 1,
        objective: Objective = Objective(),
    ):
        self.mesh = mesh
        self.batching = batching
        self._local = mesh.local_mesh
        self._train_step = make_train_step(mesh, microbatches, objective)
        self._eval_step = Compiled(jax.jit(on_each_device(eval_step, self._local)))

    def place(self, state: TrainState) -> TrainState:
        """Put a state on the devices. With several processes, the first one's goes to all."""
        return place(state, self._train_step.sharding)

    def steps(
        self, state: TrainState, examples: Examples, plan: Sequence[Planned]
    ) -> Iterator[tuple[TrainState, StepMetrics]]:
        """Start a training step on each planned batch, and yield its state and metrics.

        `state` comes from `place`. Each state is donated to the next step.
        """
        for planned in plan:
            state, metrics = self._train_step(state, self._share(examples, planned))
            yield state, metrics

    def train_epochs(
        self,
        state: TrainState,
        dataset: Dataset,
        history: History,
        config: TrainConfig,
        *,
        hooks: Sequence[Hook] = (),
        on_step: Callable[[Progress], None] = lambda progress: None,
        on_evaluated: Callable[[TrainState, History, int, int], None] = lambda *_: None,
    ) -> Iterator[tuple[TrainState, Evaluation | None]]:
        """Train until `history` has all epochs; yield the state and the evaluation after each.

        An epoch is evaluated on the validation split, or without one on the test split, or not at
        all if both are empty. With `config.patience` fewer epochs may be all (see
        `History.is_stalled`).

        Args:
          state: as in `train_epoch`.
          dataset: what to train and evaluate on.
          history: the training so far, which is updated.
          config: as in `train_epoch`; `epochs` is how many there are in all.
          hooks: as in `train_epoch`.
          on_step: as in `train_epoch`.
          on_evaluated: called after each batch of an evaluation, with the batches done and their
            number; an exception from it ends the evaluation.

        Raises:
          InputError: a loss or gradient is not finite.
        """
        task = dataset.info.task
        monitor = config.monitor_of(task.multi_label)
        while len(history.epochs) < config.epochs and not history.is_stalled(config.patience):
            state = self.train_epoch(
                state, dataset.train, history, config, hooks=hooks, on_step=on_step
            )
            split, examples = dataset.to_evaluate()
            evaluation = value = None
            if split is not None:
                check = partial(on_evaluated, state, history)
                evaluation = self.evaluate(state, examples, check)
                check_finite(evaluation, split, len(history.epochs) + 1)
                value = monitored(evaluation, examples.labels, task.classes, monitor)
            history.end_epoch(
                dataset=dataset.info.name,
                step=int(state.step),
                examples=len(dataset.train),
                split=split,
                evaluation=evaluation,
                monitor=monitor,
                monitored=value,
            )
            yield state, evaluation

    def train_epoch(
        self,
        state: TrainState,
        examples: Examples,
        history: History,
        config: TrainConfig,
        *,
        hooks: Sequence[Hook] = (),
        on_step: Callable[[Progress], None] = lambda progress: None,
    ) -> TrainState:
        """Train one epoch, or the rest of an unfinished one.

        Args:
          state: where to start; its buffers are donated to the first step.
          examples: what to train on.
          history: the training so far; its unfinished epoch is updated.
          config: `seed` fixes the order; `skip_nonfinite` decides whether a step that is not
            finite is skipped or an error.
          hooks: called between steps, when due.
          on_step: called after each step.

        Returns:
          The state after the epoch, before its evaluation.

        Raises:
          InputError: a loss or gradient is not finite.
        """
        number = len(history.epochs) + 1
        plan = self.batching.plan_epoch(examples, seed=config.seed, epoch=number)
        epoch = history.unfinished = history.unfinished or UnfinishedEpoch()
        steps_before = int(state.step) - epoch.steps
        clock = _Clock(self._train_step)

        def count(planned: Planned, metrics: StepMetrics) -> None:
            metrics = jax.device_get(metrics)  # Waits for the step.
            step = steps_before + epoch.steps + 1
            finite = epoch.count(number, step, metrics, *clock.lap())
            if not finite and not config.skip_nonfinite:
                rows = examples.ids[planned.indices]
                raise InputError(_nonfinite(step, number, metrics, rows))
            on_step(
                Progress(
                    *(number, epoch.steps, len(plan), *epoch.means),
                    step_ms=epoch.recent_ms(99),
                    last=epoch.records[-1],
                )
            )

        waiting: tuple[Planned, StepMetrics] | None = None
        left = plan[epoch.steps :]
        steps = zip(left, self.steps(state, examples, left), strict=True)
        for step, (planned, (state, metrics)) in enumerate(steps, start=epoch.steps + 1):
            if waiting is not None:  # One step late, so that no device waits for the host.
                count(*waiting)
            waiting = planned, metrics
            due = [hook for hook in hooks if hook.due(steps_before + step)]
            if due or step == len(plan):
                count(*waiting)
                waiting = None
            if step < len(plan):
                for hook in due:
                    hook(state, history)
        if epoch.skipped_steps == len(plan):
            raise InputError(f"epoch {number} had no step with a finite loss and gradient")
        return state

    def evaluate(
        self,
        state: TrainState,
        examples: Examples,
        after_batch: Callable[[int, int], None] = lambda done, batches: None,
    ) -> Evaluation:
        """Evaluate `state` on `examples`.

        `after_batch` is called after each batch, with the batches done and their number; an
        exception from it ends the evaluation.
        """
        sums = dict.fromkeys(Metrics.__annotations__, 0.0)
        plan = self.batching.plan_evaluation(examples)
        batches = []
        state = jax.device_put(local_copy(to_evaluate(state)), replicated(self._local))
        started = (
            self._eval_step(
                state, jax.device_put(self._share(examples, planned), by_row(self._local))
            )
            for planned in plan
        )
        for done, metrics in enumerate(one_late(started), start=1):
            after_batch(done, len(plan))
            metrics = jax.device_get(metrics)
            sums = merge(sums, metrics)  # Over this process's devices.
            # Of each device.
            predictions = (np.concatenate(metrics[name]) for name in ("predicted", "probability"))
            batches.append(np.stack([*predictions], axis=-1))
        total = dict.fromkeys(sums, 0.0)
        of_processes = all_gather((sums, batches))
        for part, _ in of_processes:
            total = merge(total, part)
        shares = zip(*(batches for _, batches in of_processes), strict=True)
        rows = in_order(plan, [np.concatenate(share) for share in shares])
        return Evaluation(
            *compute(total), rows[..., 0].astype(np.int32), rows[..., 1].astype(np.float32)
        )

    def predictor(self, state: TrainState, multi_label: bool = False) -> Predictor:
        """What predicts with the parameters that are evaluated; for a single process.

        With `multi_label` each label has a probability of its own.
        """
        return Predictor(self._local, self.batching, state, multi_label)

    def _share(self, examples: Examples, planned: Planned) -> Batch:
        """This process's rows of a batch."""
        return self.batching.make(examples, planned, (jax.process_index(), jax.process_count()))


class _Clock:
    """Measures the time of steps, and how much of it was compilation."""

    def __init__(self, step: Any):
        self._step = step
        self._time, self._compiled = time.perf_counter(), step.compile_seconds

    def lap(self) -> tuple[float, float]:
        """Seconds since the last lap, and how many of them were compilation."""
        before = self._time, self._compiled
        self._time, self._compiled = time.perf_counter(), self._step.compile_seconds
        return self._time - before[0], self._compiled - before[1]


def check_finite(evaluation: Evaluation, split: str, epoch: int) -> None:
    """Raise InputError unless the loss on a split after an epoch is finite."""
    if not math.isfinite(evaluation.loss):
        raise InputError(
            f"the loss on the {split} split after epoch {epoch} is {evaluation.loss}: {ADVICE}"
        )


def _nonfinite(step: int, epoch: int, metrics: StepMetrics, rows: np.ndarray) -> str:
    (loss, _), norm = compute(metrics), float(metrics["gradient_norm"])
    what = "gradient" if math.isfinite(loss) else "loss"
    return (
        f"the {what} of step {step}, in epoch {epoch}, is not finite (loss {loss}, norm of its "
        f"gradient {norm}): {ADVICE}, and `resume` with `skip_nonfinite` goes on without such "
        f"steps; its batch has rows {', '.join(map(str, sorted(rows)))} of the training split"
    )
