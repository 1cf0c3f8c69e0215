"""What every implementation of the recurrence is given, and returns."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from flax_imdb.ops.derivatives import linear_call

Carry = tuple[Float[Array, "batch features"], Float[Array, "batch features"]]


class Direction(NamedTuple):
    """An LSTM that reads the sequences in one direction, and what it starts from.

    Each implementation has a function ``lstm(inputs, lengths, directions, *, return_sequences)``,
    which runs all `directions` over the same right-padded sequences with Keras's equations (see
    `flax_imdb.layers.LSTMCell`). Its arguments are

    - inputs [batch, time, in_features], in the dtype of the matrix products, whose sums are kept in
      float32 at least. Must be finite at padding; 0 there keeps padding out of the gradients.
    - lengths int32 [batch], the number of valid steps of each row, 0 to time.
    - directions, a sequence of these.
    - return_sequences: return the outputs of all steps, else the one computed last.

    It returns a list that has for each direction the final carry, and the outputs in the dtype of
    the inputs, [batch, time, features] with 0 at padding or [batch, features].

    Attributes:
      carry: c and h before the first step, in the dtype that they are carried in.
      kernel: columns in gate order i, f, g, o. Its gradient has its dtype.
      recurrent_kernel: likewise.
      bias: likewise.
      input_mask: dropout mask of the inputs, one for all gates or one for each.
      state_mask: dropout mask of h, one for each gate.
      reverse: run from each row's last valid step to its first.
    """

    carry: Carry
    kernel: Float[Array, "in_features gates_features"]
    recurrent_kernel: Float[Array, "features gates_features"]
    bias: Float[Array, " gates_features"]
    input_mask: Float[Array, "batch gates in_features"] | None = None
    state_mask: Float[Array, "batch 4 features"] | None = None
    reverse: bool = False


Result = tuple[Carry, Float[Array, "batch *time features"]]


def padding_mask(lengths: Int[Array, " batch"], time: int) -> Bool[Array, "batch {time}"]:
    """True at the valid positions ``t < lengths[b]``, False at padding."""
    return jnp.arange(time)[None] < lengths[:, None]


def flip(
    sequences: Float[Array, "batch time width"], lengths: Int[Array, " batch"]
) -> Float[Array, "batch time width"]:
    """Reverse the valid steps of each row, and leave its padding where it is."""
    # Its own inverse, so its own transpose: a gather backward too, where autodiff would scatter.
    return linear_call(_flip, _flip, lengths, sequences, like=sequences)


def _flip(lengths: Array, sequences: Array) -> Array:
    t = jnp.arange(sequences.shape[1])[None]
    lengths = lengths[:, None]
    source = jnp.where(t < lengths, lengths - 1 - t, t)
    return jnp.take_along_axis(sequences, source[..., None], axis=1)
