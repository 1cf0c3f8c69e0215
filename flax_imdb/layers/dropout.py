"""Dropout with masks that do not depend on batching or padding."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Key

from flax_imdb.layers.sequence import PerExample, SequenceLayer, ids_or_positions, per_example


def dropout_mask(
    key: Key[Array, ""],
    example_ids: PerExample,
    shape: tuple[int, ...],
    rate: float,
    dtype: Dtype = jnp.float32,
) -> Float[Array, "batch ..."]:
    """A mask [batch, *shape] that is 0 with probability `rate`, else ``1 / (1 - rate)``.

    The key of example ``b`` is ``fold_in(key, example_ids[b])``. In JAX a draw with a shorter
    leading axis is a prefix of a longer one. Masks with a leading time axis therefore do not depend
    on the padded length, nor on how a batch is split over devices.
    """
    keep = 1.0 - rate

    def draw(example_id: ArrayLike) -> Bool[Array, "..."]:
        return jax.random.bernoulli(jax.random.fold_in(key, example_id), keep, shape)

    return jax.vmap(draw)(per_example("example_ids", example_ids)).astype(dtype) / jnp.asarray(
        keep, dtype
    )


class Dropout(SequenceLayer):
    """Randomly sets elements to 0 in training (Srivastava et al. 2014).

    Unlike ``flax.linen.Dropout``, each example has its own key (see `dropout_mask`), so padding,
    the order of the batch and the number of devices do not change which elements are dropped.

    Attributes:
      rate: probability of dropping an element, in [0, 1). Other elements are scaled by
        1 / (1 - rate).
      broadcast_dims: axes along which elements are dropped together, as in `flax.linen.Dropout`,
        but not the batch axis.
      deterministic: if True, return the inputs unchanged.
    """

    rate: float
    broadcast_dims: Sequence[int] = ()
    deterministic: bool = True

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "batch ..."],
        *,
        seq_lengths: PerExample | None = None,
        deterministic: bool | None = None,
        example_ids: PerExample | None = None,
    ) -> Float[Array, "batch ..."]:
        """Drop elements of `inputs` [batch, ...] unless `deterministic`."""
        check_rate("rate", self.rate)
        if seq_lengths is not None:
            per_example("seq_lengths", seq_lengths, inputs.shape[0])
        if deterministic is None:
            deterministic = self.deterministic
        if deterministic or self.rate == 0:
            return inputs
        ids = ids_or_positions(example_ids, inputs.shape[0])
        shape = list(inputs.shape)
        for axis in self.broadcast_dims:
            shape[axis] = 1
        key = self.make_rng("dropout")
        return inputs * dropout_mask(key, ids, tuple(shape[1:]), self.rate, inputs.dtype)


def check_rate(name: str, rate: float) -> None:
    """Raise ValueError unless `rate` is in [0, 1)."""
    if not 0 <= rate < 1:
        raise ValueError(f"{name} is {rate}: a rate in [0, 1) is needed")
