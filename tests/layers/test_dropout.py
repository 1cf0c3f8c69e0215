"""Dropout, and the masks that it draws."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from flax_imdb.layers import Dropout, dropout_mask


class TestDropout:
    def test_a_longer_draw_begins_with_the_shorter(self) -> None:
        """Which is what makes a mask independent of padding."""
        key, ids = jax.random.key(5), jnp.array([3, 11])
        short, long = (dropout_mask(key, ids, (time, 8), 0.3) for time in (5, 40))
        np.testing.assert_array_equal(short, long[:, :5])

    def test_an_example_is_drawn_by_its_id(self) -> None:
        key = jax.random.key(5)
        together = dropout_mask(key, jnp.array([3, 11, 4]), (20,), 0.5)
        np.testing.assert_array_equal(
            dropout_mask(key, jnp.array([11]), (20,), 0.5)[0], together[1]
        )
        assert bool((together[0] != together[1]).any())

    def test_drops_as_flax_does_but_for_the_draw(self) -> None:
        """Zeros, and the rest scaled up; nothing in evaluation."""
        x = jnp.ones((400, 50))
        ours, flax = (
            layer.apply({}, x, deterministic=False, rngs={"dropout": jax.random.key(0)})
            for layer in (Dropout(0.25), nn.Dropout(0.25))
        )
        np.testing.assert_array_equal(np.unique(ours), np.unique(flax))
        np.testing.assert_allclose(ours.mean(), 1, atol=0.02)
        np.testing.assert_array_equal(Dropout(0.25).apply({}, x), x)

    def test_axes_may_be_dropped_together(self) -> None:
        """As word dropout does: all features of a step, or none."""
        x = jnp.ones((50, 40, 3))
        layer = Dropout(0.25, broadcast_dims=(-1,))
        dropped = layer.apply({}, x, deterministic=False, rngs={"dropout": jax.random.key(0)})
        np.testing.assert_array_equal(dropped, np.broadcast_to(dropped[..., :1], x.shape))
        np.testing.assert_allclose((dropped == 0).mean(), 0.25, atol=0.02)
