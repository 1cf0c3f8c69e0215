"""What every layer over right-padded sequences shares."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from flax_imdb.ops.sequences import padding_mask


def lengths_or_full(
    lengths: Int[Array, " batch"] | None, batch: int, time: int
) -> Int[Array, " batch"]:
    """`lengths`, or those of `batch` rows without padding where there are none."""
    return jnp.full(batch, time) if lengths is None else lengths


def global_pool(
    inputs: Float[Array, "batch time features"],
    lengths: Int[Array, " batch"] | None = None,
    pooling: str = "max",
) -> Float[Array, "batch features"]:
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
    mask = padding_mask(lengths, time)[..., None]
    if pooling == "mean":
        total = jnp.sum(jnp.where(mask, inputs, 0), axis=1)
        return total / jnp.maximum(lengths, 1)[:, None].astype(inputs.dtype)
    if pooling == "max":
        highest = jnp.max(jnp.where(mask, inputs, -jnp.inf), axis=1)
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
        lengths: Int[Array, " batch"] | None = None,
        *,
        deterministic: bool = True,
        rows: Int[Array, " batch"] | None = None,
    ) -> Any:
        """Apply the layer.

        Args:
          inputs: one vector per time step. What stands at padding does not matter.
          lengths: number of valid time steps of each row, 0 to time. None: all of them.
          deterministic: False draws dropout masks, with the ``"dropout"`` key.
          rows: which example of the data each row holds; a row's dropout masks depend on the key
            and on this number alone. None: its position in the batch.
        """
        raise NotImplementedError

    def output_lengths(self, lengths: Int[Array, " batch"]) -> Int[Array, " batch"]:
        """Number of valid time steps of the outputs, given that of the inputs."""
        return lengths
