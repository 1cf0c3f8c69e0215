"""Data parallelism: the training step on the devices of a mesh, and over processes."""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flax_imdb.data import Batch
from flax_imdb.devices import by_row, first_of_each, on_cpus, replicated
from flax_imdb.training.metrics import Metrics, StepMetrics
from flax_imdb.training.objectives import Objective
from flax_imdb.training.state import TrainState
from flax_imdb.training.step import apply_gradients, sum_gradients, train_step

Tree = TypeVar("Tree")


def make_train_step(
    mesh: Mesh, microbatches: int = 1, objective: Objective = Objective()
) -> "SplitTrainStep | ShardedTrainStep":
    """Create the `train_step` for a mesh.

    The returned object is called with a state laid out by its `sharding` (see `place`) and this
    process's share of the batch's rows. It returns what `train_step` returns.
    """
    if on_cpus(mesh):
        return SplitTrainStep(mesh, microbatches, objective)
    return ShardedTrainStep(mesh, microbatches, objective)


class ShardedTrainStep:
    """`train_step` as one program on all devices, which sums their gradients.

    Attributes:
      sharding: the layout of the state.
      mapped: the step as a function of the state and the whole batch.
    """

    def __init__(self, mesh: Mesh, microbatches: int, objective: Objective = Objective()):
        self._mesh = mesh
        self.sharding = replicated(mesh)
        # With shard_map: XLA by itself cannot partition the recurrence, whose batch axis is not the
        # leading one, and would compute all of it on each device.
        self.mapped = jax.shard_map(
            partial(train_step, axis_name="batch", microbatches=microbatches, objective=objective),
            mesh=mesh,
            in_specs=(PartitionSpec(), PartitionSpec("batch")),
            out_specs=PartitionSpec(),
            check_vma=False,
        )
        self._step = Compiled(jax.jit(self.mapped, donate_argnums=0))

    @property
    def compile_seconds(self) -> float:
        """The time that compilations took."""
        return self._step.compile_seconds

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        """Train on a batch, given this process's rows of it."""
        rows = partial(jax.make_array_from_process_local_data, by_row(self._mesh))
        result: tuple[TrainState, StepMetrics] = self._step(state, jax.tree.map(rows, batch))
        return result


class SplitTrainStep:
    """`train_step` on several CPU devices: gradients on each, the update on the first.

    With several processes, the first device of each computes the same update, from the sum of their
    gradients.

    Attributes:
      sharding: the layout of the state.
    """

    def __init__(self, mesh: Mesh, microbatches: int, objective: Objective = Objective()):
        self._local = mesh.local_mesh
        self._firsts = first_of_each(mesh)
        self.sharding = replicated(self._firsts)
        gradients = partial(sum_gradients, microbatches=microbatches, objective=objective)
        self._gradients = Compiled(jax.jit(on_each_device(gradients, self._local)))
        self._update = Compiled(
            jax.jit(self._apply, donate_argnums=0, out_shardings=(self.sharding, self.sharding))
        )

    @property
    def compile_seconds(self) -> float:
        """The time that compilations took."""
        return self._gradients.compile_seconds + self._update.compile_seconds

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        """Train on a batch, given this process's rows of it."""
        first = self._local.devices[0]
        batch = jax.device_put(batch, by_row(self._local))
        shares = self._gradients(self._everywhere(state.replace(opt_state=())), batch)
        # Per device, since JAX would first assemble the arrays, which takes longer.
        shares = [
            jax.tree.map(lambda leaf, n=n: leaf.addressable_shards[n].data, shares)
            for n in range(self._local.size)
        ]
        shares = jax.device_put(shares, first)
        if self._firsts.size > 1:
            shares = jax.tree.map(self._of_all_processes, shares)
        return self._update(state, shares)

    def _everywhere(self, state: TrainState) -> TrainState:
        """Replicate from the first device, faster than `device_put` with a replicated sharding."""
        if self._firsts.size > 1:
            state = local_copy(state)
        copies = [state, *(jax.device_put(state, device) for device in self._local.devices[1:])]
        return jax.tree.map(
            lambda *copies: jax.make_array_from_single_device_arrays(
                copies[0].shape, replicated(self._local), copies
            ),
            *copies,
        )

    def _of_all_processes(self, share: jax.Array) -> jax.Array:
        return jax.make_array_from_single_device_arrays(
            (self._firsts.size, *share.shape[1:]), by_row(self._firsts), [share]
        )

    def _apply(
        self, state: TrainState, shares: list[tuple[Any, Metrics]]
    ) -> tuple[TrainState, StepMetrics]:
        # Added one by one: XLA is slow at reductions over such a short leading axis.
        sums = jax.tree.map(lambda *shares: sum(shares), *shares)
        if self._firsts.size == 1:
            grads, metrics = jax.tree.map(lambda leaf: leaf[0], sums)
        else:
            grads, metrics = self._sum_over_processes(sums)
        return apply_gradients(state, grads, metrics)

    def _sum_over_processes(self, sums: Tree) -> Tree:
        """Sum over the leading axis, along which each process has one entry."""

        def reduce(sums: Tree) -> Tree:
            # As one array: each reduction over the network takes milliseconds, however small.
            flat, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], sums))
            total: Tree = unravel(jax.lax.psum(flat, "batch"))
            return total

        mapped = jax.shard_map(
            reduce,
            mesh=self._firsts,
            in_specs=PartitionSpec("batch"),
            out_specs=PartitionSpec(),
            check_vma=False,
        )
        total: Tree = mapped(sums)
        return total


def on_each_device(function: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Run `function` on each device's share of the rows; results get a leading device axis.

    There are no collectives in it: CPU devices share a small thread pool, in which steps that wait
    for each other can deadlock.
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


def place(state: TrainState, sharding: NamedSharding) -> TrainState:
    """Lay a state out on devices; with several processes, all get that of process 0."""
    if jax.process_count() == 1:
        return jax.device_put(state, sharding)
    # Random keys cannot be broadcast; their data can.
    raw = state.replace(dropout_key=jax.random.key_data(state.dropout_key))
    raw = multihost_utils.broadcast_one_to_all(jax.tree.map(np.asarray, raw))
    raw = jax.device_put(raw, sharding)
    implementation = jax.random.key_impl(state.dropout_key)
    return raw.replace(dropout_key=jax.random.wrap_key_data(raw.dropout_key, impl=implementation))


def local_copy(state: Tree) -> Tree:
    """The copy of a replicated tree on this process's first device."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), state)


class Compiled:
    """A jitted function of a state and another argument, compiled once per shape of the latter.

    Several threads may call it.

    Attributes:
      compile_seconds: total compilation time.
    """

    def __init__(self, function: Any):
        self._function = function
        self._by_shape: dict[tuple[int, ...], Any] = {}
        self._compiling = threading.Lock()
        self.compile_seconds = 0.0

    def __call__(self, state: TrainState, other: Any) -> Any:
        """Call the function, compiled for the shapes of `other`."""
        return self.compiled(state, other)(state, other)

    @property
    def shapes(self) -> int:
        """The number of shapes that it was compiled for."""
        return len(self._by_shape)

    def compiled(self, state: TrainState, other: Any) -> Any:
        """The function compiled for the shapes of `other`; not called."""
        shapes = tuple(leaf.shape for leaf in jax.tree.leaves(other))
        if shapes not in self._by_shape:
            with self._compiling:
                if shapes not in self._by_shape:
                    start = time.perf_counter()
                    self._by_shape[shapes] = self._function.lower(state, other).compile()
                    self.compile_seconds += time.perf_counter() - start
        return self._by_shape[shapes]
