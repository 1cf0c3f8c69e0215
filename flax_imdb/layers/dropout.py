"""Dropout whose masks depend on the example, not on its place in a batch or on the padding."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Key

from flax_imdb.layers.sequence import RowNumbers, SequenceLayer, row_numbers, rows_or_positions


def dropout_mask(
    key: Key[Array, ""],
    rows: RowNumbers,
    shape: tuple[int, ...],
    rate: float,
    dtype: Dtype = jnp.float32,
) -> Float[Array, "batch ..."]:
    """A mask [batch, *shape]: 0 with probability `rate`, else ``1 / (1 - rate)``.

    Row ``b`` is drawn with ``fold_in(key, rows[b])``. JAX's draws do not depend on how long the
    leading axis of `shape` is (a shorter draw is a prefix of a longer one), so a leading time axis
    may be padded to any length, and rows may be spread over any number of devices, without
    changing a mask.
    """
    keep = 1.0 - rate

    rows = row_numbers("rows", rows)

    def draw(row: ArrayLike) -> Bool[Array, "..."]:
        return jax.random.bernoulli(jax.random.fold_in(key, row), keep, shape)

    return jax.vmap(draw)(rows).astype(dtype) / jnp.asarray(keep, dtype)


class Dropout(SequenceLayer):
    """Sets a share of the elements to 0 in training (Srivastava et al. 2014).

    Unlike ``flax.linen.Dropout`` it draws each row with a key of its own (see `dropout_mask`), so
    padding, the order of the batch and the number of devices do not change what is dropped.

    Attributes:
      rate: probability of dropping an element, in [0, 1); the others are scaled by 1 / (1 - rate).
    """

    rate: float

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "batch ..."],
        lengths: RowNumbers | None = None,
        *,
        deterministic: bool = True,
        rows: RowNumbers | None = None,
    ) -> Float[Array, "batch ..."]:
        """Drop elements of `inputs` [batch, ...] unless `deterministic`."""
        check_rate("rate", self.rate)
        if lengths is not None:
            row_numbers("lengths", lengths, inputs.shape[0])
        if deterministic or self.rate == 0:
            return inputs
        rows = rows_or_positions(rows, inputs.shape[0])
        key = self.make_rng("dropout")
        return inputs * dropout_mask(key, rows, inputs.shape[1:], self.rate, inputs.dtype)


def check_rate(name: str, rate: float) -> None:
    """Raise ValueError unless `rate` is a share that leaves something over."""
    if not 0 <= rate < 1:
        raise ValueError(f"{name} is {rate}: a share in [0, 1) is needed")
