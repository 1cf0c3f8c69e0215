"""Prediction on the devices of a mesh, in batches of few shapes."""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from flax_imdb.data import Batching, Examples, Planned, Task
from flax_imdb.devices import by_row, replicated
from flax_imdb.training.parallel import Compiled, local_copy
from flax_imdb.training.state import TrainState, to_evaluate
from flax_imdb.training.step import predict_step

T = TypeVar("T")


class Predictor:
    """Predicts with one state, in batches of few shapes, each compiled once and kept.

    One text is a batch of its own, so that it does not cost as much as a full one. Batches have the
    sizes of `Batching.sizes` and the lengths of `Batching.padded_lengths`. Several threads may use
    a predictor. It is for a single process.

    Args:
      mesh: the devices.
      batching: how examples become batches.
      state: with the parameters; averaged ones are taken, if it has them.
      multi_label: whether each label has a probability of its own.
    """

    def __init__(
        self, mesh: Mesh, batching: Batching, state: TrainState, multi_label: bool = False
    ):
        # A training step's microbatches do not matter here.
        self._batching = dataclasses.replace(batching, multiple_of=mesh.size)
        self._rows = by_row(mesh)
        self._state = jax.device_put(local_copy(to_evaluate(state)), replicated(mesh))
        # With shard_map, since XLA by itself cannot partition the recurrence.
        of_rows = jax.shard_map(
            partial(predict_step, multi_label=multi_label),
            mesh=mesh,
            in_specs=(PartitionSpec(), PartitionSpec("batch")),
            out_specs=PartitionSpec("batch"),
            check_vma=False,
        )
        self._step = Compiled(jax.jit(of_rows))

    def __call__(self, examples: Examples) -> np.ndarray:
        """Probabilities float32 [examples, classes]; with one logit, that of label 1."""
        plan = self._batching.plan_evaluation(examples)
        started = (self._step(self._state, self._batch(examples, planned)) for planned in plan)
        return in_order(plan, [np.asarray(batch) for batch in one_late(started)])

    @property
    def shapes(self) -> int:
        """The number of shapes that were compiled so far."""
        return self._step.shapes

    def compile(self, rows: int | None = None, blank: np.ndarray = Task().blank) -> None:
        """Compile what up to `rows` examples at once need; None: any number of them.

        `blank` is that of the task.
        """
        example = Examples.build([blank], np.zeros(1))
        for batching in self._batching.sizes(rows):
            for time in batching.padded_lengths:
                batch = batching.make(example, Planned(np.arange(1), time))
                self._step.compiled(self._state, self._put(batch))

    def _batch(self, examples: Examples, planned: Planned) -> Any:
        """A planned batch on the devices, in the smallest size that holds it."""
        smallest = self._batching.sizes(len(planned.indices))[-1]
        return self._put(smallest.make(examples, planned))

    def _put(self, batch: Any) -> Any:
        # The others would only take time.
        read = {name: batch[name] for name in ("tokens", "inputs", "lengths") if name in batch}
        return jax.device_put(read, self._rows)


def one_late(started: Iterator[T]) -> Iterator[T]:
    """Yield each result after the next computation has started: no device waits for the host."""
    waiting: list[T] = []
    for result in started:
        yield from waiting
        waiting = [result]
    yield from waiting


def in_order(plan: Sequence[Planned], batches: Sequence[np.ndarray]) -> np.ndarray:
    """The rows of planned batches in the order of the examples, without filler rows."""
    rows = [batch[: len(planned.indices)] for planned, batch in zip(plan, batches, strict=True)]
    order = np.argsort(np.concatenate([planned.indices for planned in plan]))
    return np.concatenate(rows)[order]
