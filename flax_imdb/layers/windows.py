"""Overlapping windows of long sequences."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num


class Window(NamedTuple):
    """How long sequences are cut: into windows that overlap.

    Attributes:
      length: number of steps of a window.
      stride: each window starts so many steps after the one before it: at least half of `length`,
        and at most all of it.
    """

    length: int
    stride: int


class Windows(NamedTuple):
    """The windows of right-padded sequences.

    The windows of a sequence start at its steps 0, `stride`, ..., until one reaches its end, which
    may be shorter than the others. A sequence that is no longer than a window is one window.

    Attributes:
      inputs: the vectors of each window's steps.
      lengths: number of valid steps of each window; 0 if the sequence has no such window.
      exists: whether it has; the first always exists.
    """

    inputs: Num[Array, "batch windows length features"]
    lengths: Int[Array, "batch windows"]
    exists: Bool[Array, "batch windows"]


def split_windows(
    inputs: Num[Array, "batch time features"], lengths: Int[Array, " batch"], window: Window
) -> Windows:
    """Cut right-padded sequences into windows.

    Args:
      inputs: one vector per time step.
      lengths: number of valid steps of each sequence, from 0 to time.
      window: how. Time may be a symbolic size of `jax.export`.

    Raises:
      ValueError: the stride is too short or too long.
    """
    length, stride = window
    if not length <= 2 * stride <= 2 * length:
        raise ValueError(
            f"windows of {length} steps cannot have a stride of {stride}: from {-(-length // 2)} "
            f"to {length}"
        )
    batch, time, features = inputs.shape
    number = 1 + -(-jax.core.max_dim(time - length, 0) // stride)
    # Cut into blocks of a stride. A window is in two that follow each other.
    padded = jnp.pad(inputs, ((0, 0), (0, (number + 1) * stride - time), (0, 0)))
    blocks = padded.reshape(batch, number + 1, stride, features)
    made = jnp.concatenate([blocks[:, :-1], blocks[:, 1:]], axis=2)[:, :, :length]
    start = stride * jnp.arange(number)
    # The one before it did not reach the end.
    exists = (start == 0) | (start - stride + length < lengths[:, None])
    own = jnp.where(exists, jnp.minimum(lengths[:, None] - start, length), 0)
    return Windows(made, own, exists)


def mean_of_windows(
    vectors: Float[Array, "batch windows features"], exists: Bool[Array, "batch windows"]
) -> Float[Array, "batch features"]:
    """The mean of the vectors of the windows that a sequence has, at least in float32."""
    dtype = jnp.promote_types(vectors.dtype, jnp.float32)
    total = jnp.sum(jnp.where(exists[..., None], vectors, 0), axis=1, dtype=dtype)
    return total / jnp.sum(exists, axis=1, dtype=dtype)[:, None]
