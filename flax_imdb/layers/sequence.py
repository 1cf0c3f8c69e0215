"""What every layer over right-padded sequences shares."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Num

from flax_imdb.ops import sequences

PerExample = ArrayLike | Sequence[Any]
"""An integer for each example of a batch, in an array of any integer dtype or a sequence."""


def normalize_lengths(
    seq_lengths: PerExample | None, batch: Any, time: Any
) -> Int[Array, "*batch"]:
    """`seq_lengths` as int32 between 0 and `time`; None is the whole length for each example.

    Args:
      seq_lengths: number of valid steps of each example.
      batch: number of examples, or the shape of several batch axes. Sizes are ints, or symbolic in
        an export.
      time: number of steps.

    Raises:
      TypeError: they are not integers.
      ValueError: they are not one for each example.
    """
    if seq_lengths is None:
        return jnp.full(batch, time, jnp.int32)
    return jnp.clip(_as_int32(seq_lengths, batch), 0, time)


def _as_int32(seq_lengths: PerExample, batch: Any = None) -> Int[Array, "*batch"]:
    numbers = per_example("seq_lengths", seq_lengths, batch)
    highest = jnp.iinfo(jnp.int32).max
    if jnp.iinfo(numbers.dtype).max > highest:  # The cast would wrap what int32 does not hold.
        numbers = numbers.clip(0, highest)
    return jnp.asarray(numbers.astype(jnp.int32))


def per_example(name: str, numbers: PerExample, batch: Any = None) -> Array | np.ndarray:
    """`numbers` as an array of integers of shape [batch]; `name` is what errors call them.

    Raises:
      TypeError: they are not integers.
      ValueError: they are not one for each example.
    """
    if not isinstance(numbers, jax.Array | np.ndarray):
        # An empty list says nothing of its dtype.
        empty = isinstance(numbers, Sequence) and not numbers
        numbers = jnp.asarray(numbers, jnp.int32 if empty else None)
    shape = numbers.shape
    wanted = batch if batch is None or isinstance(batch, tuple) else (batch,)
    if len(shape) != 1 if wanted is None else shape != wanted:
        hint = (
            f"; of a mask pass mask.sum(axis=-1) as {name}"
            if len(shape) == len(wanted or (0,)) + 1 and shape[-1] != 1
            else ""
        )
        raise ValueError(
            f"{name} has shape {shape}: {'[batch]' if wanted is None else wanted} is needed, "
            f"one number per example{hint}"
        )
    if not jnp.issubdtype(numbers.dtype, jnp.integer):
        raise TypeError(f"{name} has dtype {numbers.dtype}: integers are needed, one per example")
    return numbers


def ids_or_positions(example_ids: PerExample | None, batch: Any) -> Array | np.ndarray:
    """The ids of a batch's examples, or their positions where there are none."""
    if example_ids is None:
        return jnp.arange(batch)
    return per_example("example_ids", example_ids, batch)


def padding_mask(seq_lengths: PerExample, time: int) -> Bool[Array, "batch {time}"]:
    """True at the valid steps ``t < seq_lengths[b]``, False at padding."""
    return sequences.padding_mask(_as_int32(seq_lengths), time)


def global_pool(
    inputs: Num[Array, "batch time features"],
    seq_lengths: PerExample | None = None,
    pooling: str = "max",
) -> Num[Array, "batch features"]:
    """Pool over the valid steps of each example; 0 for one of length 0.

    Args:
      inputs: one vector per time step.
      seq_lengths: number of valid steps of each example. None: all of them.
      pooling: ``"max"`` or ``"mean"``.

    Raises:
      ValueError: an unknown `pooling`.
    """
    batch, time, _ = inputs.shape
    lengths = normalize_lengths(seq_lengths, batch, time)
    mask = sequences.padding_mask(lengths, time)[..., None]
    is_float = jnp.issubdtype(inputs.dtype, jnp.floating)
    if pooling == "mean":
        # In a dtype that holds a sum and any length.
        dtype = jnp.promote_types(inputs.dtype, jnp.float32)
        total = jnp.sum(jnp.where(mask, inputs, 0), axis=1, dtype=dtype)
        mean = total / jnp.maximum(lengths, 1)[:, None].astype(dtype)
        return mean.astype(inputs.dtype) if is_float else mean
    if pooling == "max":
        lowest = (jnp.finfo if is_float else jnp.iinfo)(inputs.dtype).min
        highest = jnp.max(jnp.where(mask, inputs, lowest), axis=1, initial=lowest)
        return jnp.where(lengths[:, None] > 0, highest, 0)
    raise ValueError(f"pooling {pooling!r} is unknown: 'max' or 'mean'")


class SequenceLayer(nn.Module):
    """Base of the layers over right-padded sequences: the call that a classifier makes.

    A subclass defines ``__call__`` with these arguments, and `output_lengths` where it changes the
    number of time steps.
    """

    def __call__(
        self,
        inputs: Float[Array, "batch time features"],
        *,
        seq_lengths: PerExample | None = None,
        deterministic: bool | None = None,
        example_ids: PerExample | None = None,
    ) -> Any:
        """Apply the layer.

        Args:
          inputs: one vector per time step. What stands at padding has no effect.
          seq_lengths: number of valid steps of each example, 0 to time, in any integer dtype; a
            list will do. None: all of them.
          deterministic: False draws dropout masks with the ``"dropout"`` key. None: what the
            attribute says, where the layer has one.
          example_ids: a number for each example; its dropout masks depend on the key and on this
            number alone. None: its position in the batch.
        """
        raise NotImplementedError

    def output_lengths(self, seq_lengths: PerExample) -> Int[Array, " batch"]:
        """Number of valid steps of the outputs, given that of the inputs."""
        return _as_int32(seq_lengths)
