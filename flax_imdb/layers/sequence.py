"""The base class and helpers of layers for right-padded sequences."""

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
"""One integer per example, as an array of any integer dtype or a sequence."""


def normalize_lengths(
    seq_lengths: PerExample | None, batch: Any, time: Any
) -> Int[Array, "*batch"]:
    """Convert `seq_lengths` to int32 and clip it to between 0 and `time`.

    Args:
      seq_lengths: number of valid steps of each example, or None for `time` everywhere.
      batch: number of examples, or the shape of several batch axes. Sizes can be symbolic.
      time: number of steps.

    Raises:
      TypeError: `seq_lengths` are not integers.
      ValueError: `seq_lengths` have the wrong shape.
    """
    if seq_lengths is None:
        return jnp.full(batch, time, jnp.int32)
    return jnp.clip(_as_int32(seq_lengths, batch), 0, time)


def _as_int32(seq_lengths: PerExample, batch: Any = None) -> Int[Array, "*batch"]:
    numbers = per_example("seq_lengths", seq_lengths, batch)
    highest = jnp.iinfo(jnp.int32).max
    if jnp.iinfo(numbers.dtype).max > highest:  # The cast would wrap around.
        numbers = numbers.clip(0, highest)
    return jnp.asarray(numbers.astype(jnp.int32))


def per_example(name: str, numbers: PerExample, batch: Any = None) -> Array | np.ndarray:
    """Convert `numbers` to an array of integers [batch]. Error messages call them `name`.

    Raises:
      TypeError: `numbers` are not integers.
      ValueError: `numbers` have the wrong shape.
    """
    if not isinstance(numbers, jax.Array | np.ndarray):
        # An empty list would become a float array.
        empty = isinstance(numbers, Sequence) and not numbers
        numbers = jnp.asarray(numbers, jnp.int32 if empty else None)
    shape = numbers.shape
    wanted = batch if batch is None or isinstance(batch, tuple) else (batch,)
    if len(shape) != 1 if wanted is None else shape != wanted:
        hint = (
            f"; for a mask pass mask.sum(axis=-1) as {name}"
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
    """`example_ids` as an array, or the positions in the batch if there are none."""
    if example_ids is None:
        return jnp.arange(batch)
    return per_example("example_ids", example_ids, batch)


def padding_mask(seq_lengths: PerExample, time: Any) -> Bool[Array, "batch time"]:
    """True at the valid steps ``t < seq_lengths[b]``, False at padding. `time` can be symbolic."""
    return sequences.padding_mask(_as_int32(seq_lengths), time)


def global_pool(
    inputs: Num[Array, "batch time features"],
    seq_lengths: PerExample | None = None,
    pooling: str = "max",
) -> Num[Array, "batch pooled"]:
    """Pool over the valid steps of each example. The result is 0 for an empty example.

    Args:
      inputs: one vector per time step.
      seq_lengths: number of valid steps of each example. By default all steps are valid.
      pooling: ``"max"``, ``"mean"``, or ``"max_mean"``, which concatenates both.

    Returns:
      [batch, features], or twice as many features for ``"max_mean"``.

    Raises:
      ValueError: `pooling` is unknown.
    """
    batch, time, _ = inputs.shape
    lengths = normalize_lengths(seq_lengths, batch, time)
    if pooling == "max_mean":
        each = [global_pool(inputs, lengths, one) for one in ("max", "mean")]
        return jnp.concatenate(each, axis=-1)
    mask = sequences.padding_mask(lengths, time)[..., None]
    is_float = jnp.issubdtype(inputs.dtype, jnp.floating)
    if pooling == "mean":
        # Sums and lengths can overflow in the dtype of the inputs.
        dtype = jnp.promote_types(inputs.dtype, jnp.float32)
        total = jnp.sum(jnp.where(mask, inputs, 0), axis=1, dtype=dtype)
        mean = total / jnp.maximum(lengths, 1)[:, None].astype(dtype)
        return mean.astype(inputs.dtype) if is_float else mean
    if pooling == "max":
        lowest = (jnp.finfo if is_float else jnp.iinfo)(inputs.dtype).min
        highest = jnp.max(jnp.where(mask, inputs, lowest), axis=1, initial=lowest)
        return jnp.where(lengths[:, None] > 0, highest, 0)
    raise ValueError(f"pooling {pooling!r} is unknown: 'max', 'mean' or 'max_mean'")


class SequenceLayer(nn.Module):
    """Base class of layers for right-padded sequences.

    Subclasses define ``__call__``, and `output_lengths` if they change the number of time steps.
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
          inputs: one vector per time step. Values at padding are ignored.
          seq_lengths: number of valid steps of each example, from 0 to time, as a list or an array
            of any integer dtype. By default all steps are valid.
          deterministic: if False, apply dropout with masks from the ``"dropout"`` key. Defaults to
            the attribute, if the layer has one.
          example_ids: one integer per example. Its dropout masks depend only on this number and the
            key. Defaults to the position in the batch.
        """
        raise NotImplementedError

    def output_lengths(self, seq_lengths: PerExample) -> Int[Array, " batch"]:
        """The lengths of the outputs, given those of the inputs."""
        return _as_int32(seq_lengths)
