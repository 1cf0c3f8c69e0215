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

RowNumbers = ArrayLike | Sequence[Any]
"""A whole number for each row [batch], in an array of any integer dtype or a sequence."""


def lengths_or_full(lengths: RowNumbers | None, batch: Any, time: Any) -> Int[Array, " batch"]:
    """`lengths` as int32 between 0 and `time`, or those of `batch` full rows where there are none.

    Sizes are ints, or symbolic in an export.

    Raises:
      TypeError: they are not integers.
      ValueError: they are not one for each row.
    """
    if lengths is None:
        return jnp.full(batch, time, jnp.int32)
    return jnp.clip(_as_int32(lengths, batch), 0, time)


def _as_int32(lengths: RowNumbers, batch: Any = None) -> Int[Array, " batch"]:
    numbers = row_numbers("lengths", lengths, batch)
    highest = jnp.iinfo(jnp.int32).max
    if jnp.iinfo(numbers.dtype).max > highest:  # The cast would wrap what int32 does not hold.
        numbers = numbers.clip(0, highest)
    return jnp.asarray(numbers.astype(jnp.int32))


def row_numbers(name: str, numbers: RowNumbers, batch: Any = None) -> Array | np.ndarray:
    """`numbers` as an array of integers [batch]; `name` is what errors call them.

    Raises:
      TypeError: they are not integers.
      ValueError: they are not one for each row.
    """
    if not isinstance(numbers, jax.Array | np.ndarray):
        # An empty list says nothing of its dtype.
        empty = isinstance(numbers, Sequence) and not numbers
        numbers = jnp.asarray(numbers, jnp.int32 if empty else None)
    shape = numbers.shape
    if len(shape) != 1 or (batch is not None and shape[0] != batch):
        wanted = "[batch]" if batch is None else f"({batch},)"
        hint = (
            f"; of a mask pass mask.sum(axis=1) as {name}"
            if len(shape) == 2 and shape[1] != 1
            else ""
        )
        raise ValueError(f"{name} has shape {shape}: {wanted} is needed, one number per row{hint}")
    if not jnp.issubdtype(numbers.dtype, jnp.integer):
        raise TypeError(f"{name} has dtype {numbers.dtype}: integers are needed, one per row")
    return numbers


def rows_or_positions(rows: RowNumbers | None, batch: Any) -> Array | np.ndarray:
    """The example that each row holds, or the row's position where that is not said."""
    return jnp.arange(batch) if rows is None else row_numbers("rows", rows, batch)


def padding_mask(lengths: RowNumbers, time: int) -> Bool[Array, "batch {time}"]:
    """True at the valid positions ``t < lengths[b]``, False at padding."""
    return sequences.padding_mask(_as_int32(lengths), time)


def global_pool(
    inputs: Num[Array, "batch time features"],
    lengths: RowNumbers | None = None,
    pooling: str = "max",
) -> Num[Array, "batch features"]:
    """Pool over the valid positions of each row; 0 for a row of length 0.

    Args:
      inputs: one vector per time step.
      lengths: number of valid time steps of each row. None: all of them.
      pooling: ``"max"`` or ``"mean"``.

    Raises:
      ValueError: an unknown `pooling`.
    """
    batch, time, _ = inputs.shape
    lengths = lengths_or_full(lengths, batch, time)
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
        lengths: RowNumbers | None = None,
        *,
        deterministic: bool = True,
        rows: RowNumbers | None = None,
    ) -> Any:
        """Apply the layer.

        Args:
          inputs: one vector per time step. What stands at padding does not matter.
          lengths: number of valid time steps of each row, 0 to time, in any integer dtype; a list
            will do. None: all of them.
          deterministic: False draws dropout masks, with the ``"dropout"`` key.
          rows: which example of the data each row holds; a row's dropout masks depend on the key
            and on this number alone. None: its position in the batch.
        """
        raise NotImplementedError

    def output_lengths(self, lengths: RowNumbers) -> Int[Array, " batch"]:
        """Number of valid time steps of the outputs, given that of the inputs."""
        return _as_int32(lengths)
