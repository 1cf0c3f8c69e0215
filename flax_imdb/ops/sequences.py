"""Functions on right-padded sequences."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from flax_imdb.ops.derivatives import linear_call


def padding_mask(seq_lengths: Int[Array, " batch"], time: int) -> Bool[Array, "batch {time}"]:
    """True at the valid steps ``t < seq_lengths[b]``, False at padding."""
    return jnp.arange(time)[None] < seq_lengths[:, None]


def flip(
    sequences: Float[Array, "batch time width"], seq_lengths: Int[Array, " batch"]
) -> Float[Array, "batch time width"]:
    """Reverse the valid steps of each sequence and leave the padding in place."""
    # A flip is its own transpose. Autodiff would use a slow scatter instead of a gather.
    return linear_call(_flip, _flip, seq_lengths, sequences, like=sequences)


def _flip(seq_lengths: Array, sequences: Array) -> Array:
    t = jnp.arange(sequences.shape[1])[None]
    seq_lengths = seq_lengths[:, None]
    source = jnp.where(t < seq_lengths, seq_lengths - 1 - t, t)
    return jnp.take_along_axis(sequences, source[..., None], axis=1)


def select_step(
    outputs: Float[Array, "batch time features"], seq_lengths: Int[Array, " batch"], reverse: bool
) -> Float[Array, "batch features"]:
    """The output computed last: at the last valid step, or at the first one if `reverse`."""
    last = jnp.zeros_like(seq_lengths) if reverse else jnp.maximum(seq_lengths - 1, 0)
    return jnp.take_along_axis(outputs, last[:, None, None], axis=1)[:, 0]


def in_chunks(
    scan: Callable[..., Any],
    carry: Any,
    inputs: Float[Array, "batch time in_features"],
    seq_lengths: Int[Array, " batch"],
    last: Float[Array, "batch features"],
    steps: int,
    return_sequences: bool,
) -> tuple[Any, Float[Array, "batch *time features"]]:
    """Run a recurrence in chunks of `steps` time steps, passing the carry from chunk to chunk.

    Args:
      scan: ``scan(body, state, chunks)``, like `jax.lax.scan`. It calls ``body(run, state, chunk)``
        under `jax.checkpoint`, where ``run(carry, inputs, seq_lengths)`` returns the carry and the
        outputs of a chunk.
      carry: the carry before the first chunk.
      inputs: the inputs of all steps.
      seq_lengths: number of valid steps of each sequence.
      last: zeros with the shape and dtype of one output, used for empty sequences.
      steps: number of steps in a chunk.
      return_sequences: whether `run` returns the outputs of all steps or only the last one.
    """
    batch, time, in_features = inputs.shape
    steps = min(steps, time)
    chunks = -(-time // steps)
    inputs = jnp.pad(inputs, ((0, 0), (0, chunks * steps - time), (0, 0)))
    inputs = inputs.reshape(batch, chunks, steps, in_features).swapaxes(0, 1)

    def body(run: Callable[..., Any], state: Any, chunk: Any) -> Any:
        carry, last = state
        chunk_inputs, start = chunk
        chunk_lengths = jnp.clip(seq_lengths - start, 0, steps)
        carry, outputs = run(carry, chunk_inputs, chunk_lengths)
        if return_sequences:
            return (carry, last), outputs
        return (carry, jnp.where((chunk_lengths > 0)[:, None], outputs, last)), None

    (carry, last), outputs = scan(body, (carry, last), (inputs, steps * jnp.arange(chunks)))
    if not return_sequences:
        return carry, last
    return carry, outputs.swapaxes(0, 1).reshape(batch, chunks * steps, -1)[:, :time]
