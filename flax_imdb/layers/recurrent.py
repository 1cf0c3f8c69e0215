"""Layers that run a cell over time, with the call of `flax.linen.RNN`."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from flax_imdb.layers.sequence import PerExample, SequenceLayer, normalize_lengths, per_example
from flax_imdb.ops.sequences import flip, in_chunks, padding_mask, select_step


class Batch(NamedTuple):
    """Right-padded sequences with one batch axis.

    Attributes:
      inputs: one vector per time step.
      seq_lengths: number of valid steps of each example.
      example_ids: a number for each example, or None.
    """

    inputs: Float[Array, "batch time in_features"]
    seq_lengths: Int[Array, " batch"]
    example_ids: PerExample | None


class RecurrentLayer(SequenceLayer, kw_only=True):
    """Base of the layers that run over time.

    They stand wherever `flax.linen.RNN` does, in `flax.linen.Bidirectional` too, and differ from it
    at padding: there the outputs are 0, and a sequence without steps keeps its first carry.

    Attributes:
      return_sequences: return the output of every step [batch, time, features], or the one computed
        last [batch, features].
      return_carry: return ``(carry, outputs)``, with the carry after each sequence's last step.
      reverse: run from each sequence's last valid step to its first.
      keep_order: in reverse, return the outputs in the order of the inputs. Else they are in the
        order they were computed in.
      time_major: inputs and outputs are [time, batch, features].
      remat_steps: keep only every `remat_steps`-th state for the backward pass, which computes the
        others again (``jax.checkpoint``; Chen et al. 2016): less memory for long sequences, more
        time. None keeps all.
      deterministic: never drop anything.
    """

    return_sequences: bool = True
    return_carry: bool = False
    reverse: bool = False
    keep_order: bool = False
    time_major: bool = False
    remat_steps: int | None = None
    deterministic: bool = True

    def __call__(
        self,
        inputs: Float[Array, "*batch time in_features"],
        *,
        initial_carry: Any = None,
        init_key: Any = None,
        seq_lengths: PerExample | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        deterministic: bool | None = None,
        example_ids: PerExample | None = None,
    ) -> Any:
        """Run over the sequences. What is None is as the attribute of that name says.

        Args:
          inputs: one vector per time step. What stands at padding has no effect.
          initial_carry: the carry before the first step. None: the cell's, zeros for an LSTM.
          init_key: for a cell whose first carry is random.
          seq_lengths: number of valid steps of each example, 0 to time. None: all of them.
          return_carry: whether to return the final carry, too.
          time_major: whether the time axis is the first one.
          reverse: whether to run from the last valid step to the first.
          keep_order: whether outputs in reverse have the order of the inputs.
          deterministic: False draws dropout masks with the ``"dropout"`` key.
          example_ids: a number for each example, on which its dropout masks depend (see
            `SequenceLayer`).

        Returns:
          Outputs [batch, time, features], 0 at padding, or [batch, features] without
          `return_sequences` (0 for an example without steps); with `return_carry` the final carry
          before them.

        Raises:
          TypeError: `seq_lengths` or `example_ids` are not integers.
          ValueError: they are not one for each example, or an attribute makes no sense.
        """
        ((carry, outputs),) = run(
            (self,),
            inputs,
            initial_carries=(initial_carry,),
            init_keys=(init_key,),
            seq_lengths=seq_lengths,
            time_major=self.time_major if time_major is None else time_major,
            reverse=(self.reverse if reverse is None else reverse,),
            keep_order=self.keep_order if keep_order is None else keep_order,
            deterministic=deterministic,
            example_ids=example_ids,
        )
        return_carry = self.return_carry if return_carry is None else return_carry
        return (carry, outputs) if return_carry else outputs

    @staticmethod
    def compute(
        layers: Sequence[Any],
        batch: Batch,
        carries: Sequence[Any],
        keys: Sequence[Any],
        reverse: Sequence[bool],
        deterministic: bool,
    ) -> list[tuple[Any, Any]]:
        """The final carry and the outputs, in the order of the inputs, of each of some layers.

        They differ in their parameters and their direction alone.
        """
        raise NotImplementedError


def run(
    layers: Sequence[RecurrentLayer],
    inputs: Float[Array, "*batch time in_features"],
    *,
    initial_carries: Sequence[Any],
    init_keys: Sequence[Any],
    seq_lengths: PerExample | None,
    time_major: bool,
    reverse: Sequence[bool],
    keep_order: bool,
    deterministic: bool | None,
    example_ids: PerExample | None,
) -> list[tuple[Any, Any]]:
    """The final carry and the outputs of each of some layers that read the same sequences."""
    first = layers[0]
    if first.remat_steps is not None and first.remat_steps < 1:
        raise ValueError(f"remat_steps is {first.remat_steps}: 1 or more is needed")
    if time_major:
        inputs = jnp.moveaxis(inputs, 0, -2)
    *batch_shape, time, in_features = inputs.shape
    shape = tuple(batch_shape)
    lengths = normalize_lengths(seq_lengths, shape, time)
    if example_ids is not None:
        example_ids = per_example("example_ids", example_ids, shape).reshape(-1)
    if len(shape) != 1:
        inputs, lengths = inputs.reshape(-1, time, in_features), lengths.reshape(-1)
        initial_carries = jax.tree.map(
            lambda leaf: leaf.reshape(-1, *leaf.shape[len(shape) :]), initial_carries
        )
    results = first.compute(
        layers,
        Batch(inputs, lengths, example_ids),
        initial_carries,
        init_keys,
        reverse,
        first.deterministic if deterministic is None else deterministic,
    )

    def arrange(carry: Any, outputs: Any, reverse: bool) -> tuple[Any, Any]:
        if reverse and first.return_sequences and not keep_order:
            outputs = flip(outputs, lengths)
        if len(shape) != 1:
            carry, outputs = jax.tree.map(
                lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), (carry, outputs)
            )
        if time_major and first.return_sequences:
            outputs = jnp.moveaxis(outputs, -2, 0)
        return carry, outputs

    return [arrange(*result, back) for result, back in zip(results, reverse, strict=True)]


class RNN(RecurrentLayer):
    """Runs any of flax's cells over right-padded sequences; for an :class:`LSTM` the reference.

    Attributes:
      cell: the cell, such as ``flax.linen.GRUCell(64)``.
    """

    cell: nn.RNNCellBase

    def __post_init__(self) -> None:
        if (axes := self.cell.num_feature_axes) != 1:
            raise ValueError(f"{type(self.cell).__name__} has {axes} feature axes: 1 is needed")
        super().__post_init__()

    @staticmethod
    def compute(
        layers: Sequence["RNN"],
        batch: Batch,
        carries: Sequence[Any],
        keys: Sequence[Any],
        reverse: Sequence[bool],
        deterministic: bool,
    ) -> list[tuple[Any, Any]]:
        """See `RecurrentLayer`; each layer by itself."""
        of_layers = zip(layers, carries, keys, reverse, strict=True)
        return [
            layer._run(batch, carry, key, back, deterministic)
            for layer, carry, key, back in of_layers
        ]

    def _run(
        self, batch: Batch, carry: Any, key: Any, reverse: bool, deterministic: bool
    ) -> tuple[Any, Any]:
        inputs, seq_lengths, _ = batch
        count, time, in_features = inputs.shape
        # Even an infinity at padding must not reach a gradient, where it would meet a zero.
        inputs = jnp.where(padding_mask(seq_lengths, time)[..., None], inputs, 0)
        nothing = jnp.zeros((count, in_features), inputs.dtype)
        if carry is None:
            key = jax.random.key(0) if key is None else key
            carry = self.cell.initialize_carry(key, nothing.shape)
        # For the parameters, and for what an output is.
        _, like = self.cell(carry, nothing)
        if count == 0 or time == 0:
            shape = (count, time) if self.return_sequences else (count,)
            return carry, jnp.zeros(shape + like.shape[1:], like.dtype)
        lifted = partial(
            nn.scan,
            variable_broadcast="params",
            split_rngs={"params": False, "dropout": False},
            reverse=reverse,
        )

        def run_steps(
            cell: nn.RNNCellBase, carry: Any, inputs: Any, seq_lengths: Any
        ) -> tuple[Any, Any]:
            def step(cell: nn.RNNCellBase, carry: Any, at_step: Any) -> tuple[Any, Any]:
                step_inputs, valid = at_step
                new_carry, outputs = cell(carry, step_inputs)
                carry = jax.tree.map(lambda new, old: jnp.where(valid, new, old), new_carry, carry)
                return carry, jnp.where(valid, outputs, 0)

            valid = padding_mask(seq_lengths, inputs.shape[1])[..., None]
            carry, outputs = lifted(step, in_axes=1, out_axes=1)(cell, carry, (inputs, valid))
            if self.return_sequences:
                return carry, outputs
            return carry, select_step(outputs, seq_lengths, reverse)

        if self.remat_steps is None:
            return run_steps(self.cell, carry, inputs, seq_lengths)

        def scan(body: Callable[..., Any], state: Any, chunks: Any) -> Any:
            def step(cell: nn.RNNCellBase, state: Any, chunk: Any) -> Any:
                return body(partial(run_steps, cell), state, chunk)

            return lifted(nn.remat(step, prevent_cse=False))(self.cell, state, chunks)

        last = jnp.zeros_like(like)
        return in_chunks(
            scan, carry, inputs, seq_lengths, last, self.remat_steps, self.return_sequences
        )
