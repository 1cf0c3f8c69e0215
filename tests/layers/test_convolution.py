"""Convolution and pooling over time."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
from flax import linen as nn

from flax_imdb.layers import Conv, MaxPool

LENGTHS = jnp.array([7, 1, 0, 4])


def inputs() -> jax.Array:
    return jax.random.normal(jax.random.key(0), (4, 7, 3))


class TestConvolution:
    def test_conv_and_pool_give_what_keras_gives_each_row_alone(self) -> None:
        conv, pool = Conv(6, 3, activation=nn.relu), MaxPool(2)
        outputs, variables = conv.init_with_output(jax.random.key(0), inputs(), seq_lengths=LENGTHS)
        pooled = pool.apply({}, outputs, seq_lengths=LENGTHS)
        pooled_lengths = pool.output_lengths(LENGTHS)
        peer = keras.layers.Conv1D(6, 3, padding="same", activation="relu")
        peer.build((None, None, 3))
        params = variables["params"]["conv"]
        peer.set_weights([params["kernel"], params["bias"]])
        keras_pool = keras.layers.MaxPooling1D(2, padding="same")
        for row, length in enumerate(LENGTHS):
            if length:
                alone = peer(inputs()[row : row + 1, :length])
                np.testing.assert_allclose(outputs[row, :length], alone[0], atol=1e-6)
                expected = keras_pool(alone)[0]
                assert pooled_lengths[row] == len(expected)
                np.testing.assert_allclose(pooled[row, : len(expected)], expected, atol=1e-6)
                np.testing.assert_array_equal(pooled[row, len(expected) :], 0)

    def test_pooled_lengths_are_rounded_up_and_never_0(self) -> None:
        lengths = jnp.arange(7)
        np.testing.assert_array_equal(MaxPool(2).output_lengths(lengths), [1, 1, 1, 2, 2, 3, 3])
        np.testing.assert_array_equal(MaxPool(3).output_lengths(lengths), [1, 1, 1, 1, 2, 2, 2])

    def test_a_window_of_negatives_keeps_its_maximum(self) -> None:
        """The missing part of a last window must not count as 0."""
        x = -jnp.ones((1, 3, 2))
        np.testing.assert_array_equal(MaxPool(2).apply({}, x), -jnp.ones((1, 2, 2)))

    def test_infinite_inputs_stay_infinite_when_pooled(self) -> None:
        x = jnp.array([[-jnp.inf, -jnp.inf, 1.0]])[..., None]
        np.testing.assert_array_equal(
            MaxPool(2).apply({}, x, seq_lengths=[1])[0, :, 0], [-jnp.inf, 0]
        )
