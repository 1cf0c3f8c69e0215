"""Recurrent layers with the interface of `flax.linen.RNN`."""

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
      example_ids: one integer per example, or None.
    """

    inputs: Float[Array, "batch time in_features"]
    seq_lengths: Int[Array, " batch"]
    example_ids: PerExample | None


class RecurrentLayer(SequenceLayer, kw_only=True):
    """Base class of recurrent layers.

    Drop-in replacements for `flax.linen.RNN`, including in `flax.linen.Bidirectional`. They differ
    only at padding: outputs are 0 there, and an empty sequence returns its initial carry.

    Attributes:
      return_sequences: return the outputs of all steps [batch, time, features] instead of only the
        one computed last [batch, features].
      return_carry: return ``(carry, outputs)``, with the carry after each sequence's last step.
      reverse: run from the last valid step of each sequence to the first.
      keep_order: with `reverse`, return the outputs in the order of the inputs instead of the order
        of computation.
      time_major: inputs and outputs are [time, batch, features].
      remat_steps: store only every `remat_steps`-th state for the backward pass and recompute the
        others (``jax.checkpoint``; Chen et al. 2016), which trades time for memory. None stores all
        states.
      deterministic: if True, disable dropout.
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
        """Run over the sequences.

        `return_carry`, `time_major`, `reverse`, `keep_order` and `deterministic` override the
        attributes of the same name.

        Args:
          inputs: one vector per time step. Values at padding are ignored.
          initial_carry: the carry before the first step. By default the cell initializes it; for
            an LSTM it is zeros.
          init_key: the key for cells with a random initial carry.
          seq_lengths: number of valid steps of each example, from 0 to time. By default all steps
            are valid.
          return_carry: also return the final carry.
          time_major: whether time is the leading axis.
          reverse: whether to run from the last valid step to the first.
          keep_order: whether reverse outputs are in the order of the inputs.
          deterministic: if False, apply dropout with masks from the ``"dropout"`` key.
          example_ids: one integer per example, which determines its dropout masks (see
            `SequenceLayer`).

        Returns:
          The outputs [batch, time, features], 0 at padding, or [batch, features] without
          `return_sequences`, 0 for an empty example. With `return_carry`, ``(carry, outputs)``.

        Raises:
          TypeError: `seq_lengths` or `example_ids` are not integers.
          ValueError: `seq_lengths` or `example_ids` have the wrong shape, or an attribute is
            invalid.
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
        """Compute the final carry and the outputs, in the order of the inputs, of each layer.

        The layers differ only in their parameters and direction.
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
    """Compute the final carry and the outputs of each layer on the same sequences."""
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
    """Runs a Flax cell over right-padded sequences.

    ``RNN(LSTMCell(features))`` is the reference for :class:`LSTM`.

    Attributes:
      cell: the cell, for example ``flax.linen.GRUCell(64)``.

    Raises:
      ValueError: the cell has more than one feature axis.
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
        """See `RecurrentLayer.compute`. The layers are computed one by one."""
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
        # A NaN or infinity at padding would make gradients NaN, even when multiplied by zero.
        inputs = jnp.where(padding_mask(seq_lengths, time)[..., None], inputs, 0)
        nothing = jnp.zeros((count, in_features), inputs.dtype)
        if carry is None:
            key = jax.random.key(0) if key is None else key
            carry = self.cell.initialize_carry(key, nothing.shape)
        # Creates the parameters, and gives the shape and dtype of an output.
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
