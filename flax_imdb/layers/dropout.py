"""Dropout whose masks depend on the example, not on its place in a batch or on the padding."""

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
    """A mask [batch, *shape]: 0 with probability `rate`, else ``1 / (1 - rate)``.

    Example ``b`` is drawn with ``fold_in(key, example_ids[b])``. JAX's draws do not depend on how
    long the leading axis of `shape` is (a shorter draw is a prefix of a longer one), so a leading
    time axis may be padded to any length, and a batch spread over any number of devices, without
    changing a mask.
    """
    keep = 1.0 - rate

    def draw(example_id: ArrayLike) -> Bool[Array, "..."]:
        return jax.random.bernoulli(jax.random.fold_in(key, example_id), keep, shape)

    return jax.vmap(draw)(per_example("example_ids", example_ids)).astype(dtype) / jnp.asarray(
        keep, dtype
    )


class Dropout(SequenceLayer):
    """Sets a share of the elements to 0 in training (Srivastava et al. 2014).

    Unlike ``flax.linen.Dropout`` it draws each example with a key of its own (see `dropout_mask`):
    padding, the order of the batch and the number of devices do not change what is dropped.

    Attributes:
      rate: probability of dropping an element, in [0, 1); the others are scaled by 1 / (1 - rate).
      deterministic: never drop anything.
    """

    rate: float
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
        key = self.make_rng("dropout")
        return inputs * dropout_mask(key, ids, inputs.shape[1:], self.rate, inputs.dtype)


def check_rate(name: str, rate: float) -> None:
    """Raise ValueError unless `rate` is a share that leaves something over."""
    if not 0 <= rate < 1:
        raise ValueError(f"{name} is {rate}: a share in [0, 1) is needed")
