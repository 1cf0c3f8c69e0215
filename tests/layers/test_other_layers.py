"""Bidirectional, convolution, pooling and dropout."""

from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from flax import linen as nn

from flax_imdb.layers import LSTM, Bidirectional, Conv, Dropout, MaxPool, dropout_mask, global_pool

LENGTHS = jnp.array([7, 1, 0, 4])


def inputs() -> jax.Array:
    return jax.random.normal(jax.random.key(0), (4, 7, 3))


class TestBidirectional:
    @pytest.mark.parametrize(
        ("merge", "keras_merge"),
        [("concat", "concat"), ("sum", "sum"), ("average", "ave"), ("product", "mul")],
    )
    @pytest.mark.parametrize("return_sequences", [True, False])
    def test_merges_as_keras(self, merge: Any, keras_merge: str, return_sequences: bool) -> None:
        layer = Bidirectional(LSTM(5, return_sequences=return_sequences), merge=merge)
        outputs, variables = layer.init_with_output(jax.random.key(0), inputs())
        peer = keras.layers.Bidirectional(
            keras.layers.LSTM(5, return_sequences=return_sequences), merge_mode=keras_merge
        )
        peer.build(inputs().shape)
        peer.set_weights(
            [
                variables["params"][direction]["cell"][name]
                for direction in ("forward", "backward")
                for name in ("kernel", "recurrent_kernel", "bias")
            ]
        )
        np.testing.assert_allclose(outputs, peer(inputs()), atol=1e-6)

    def test_directions_have_parameters_and_carries_of_their_own(self) -> None:
        layer = Bidirectional(LSTM(5, return_carry=True))
        (carries, outputs), variables = layer.init_with_output(jax.random.key(0), inputs(), LENGTHS)
        params = variables["params"]
        assert bool(
            (params["forward"]["cell"]["kernel"] != params["backward"]["cell"]["kernel"]).any()
        )
        (_, forward_h), (_, backward_h) = carries
        for row, length in enumerate(LENGTHS):
            if length:
                np.testing.assert_array_equal(outputs[row, length - 1, :5], forward_h[row])
                np.testing.assert_array_equal(outputs[row, 0, 5:], backward_h[row])

    def test_directions_drop_differently(self) -> None:
        layer = Bidirectional(LSTM(50, recurrent_dropout=0.5))
        variables = layer.init(jax.random.key(0), inputs())
        params = variables["params"]["forward"]
        same = {"params": {"forward": params, "backward": params}}
        palindrome = jnp.concatenate([inputs(), inputs()[:, ::-1]], axis=1)
        call = {"deterministic": False, "rngs": {"dropout": jax.random.key(1)}}
        outputs = layer.apply(same, palindrome, **call)
        assert bool((outputs[:, -1, :50] != outputs[:, 0, 50:]).any())

    def test_unknown_merge(self) -> None:
        with pytest.raises(ValueError, match="merge 'max' is unknown: one of concat, sum, average"):
            Bidirectional(LSTM(5), merge="max").init(jax.random.key(0), inputs())


class TestConvolution:
    def test_conv_and_pool_as_keras_on_each_row_alone(self) -> None:
        conv, pool = Conv(6, 3), MaxPool(2)
        outputs, variables = conv.init_with_output(jax.random.key(0), inputs(), LENGTHS)
        pooled = pool.apply({}, outputs, LENGTHS)
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


class TestGlobalPool:
    def test_over_valid_steps_alone(self) -> None:
        x = inputs()
        for pooling in ("max", "mean"):
            pooled = global_pool(x, LENGTHS, pooling)
            for row, length in enumerate(LENGTHS):
                valid = x[row, :length]
                expected = getattr(jnp, pooling)(valid, axis=0) if length else np.zeros(3)
                np.testing.assert_allclose(pooled[row], expected, atol=1e-6)

    def test_unknown(self) -> None:
        with pytest.raises(ValueError, match="pooling 'min' is unknown: 'max' or 'mean'"):
            global_pool(inputs(), LENGTHS, "min")


class TestDropout:
    def test_a_longer_draw_begins_with_the_shorter(self) -> None:
        """Which is what makes a mask independent of padding."""
        key, rows = jax.random.key(5), jnp.array([3, 11])
        short, long = (dropout_mask(key, rows, (time, 8), 0.3) for time in (5, 40))
        np.testing.assert_array_equal(short, long[:, :5])

    def test_a_row_is_drawn_by_its_number(self) -> None:
        key = jax.random.key(5)
        together = dropout_mask(key, jnp.array([3, 11, 4]), (20,), 0.5)
        np.testing.assert_array_equal(
            dropout_mask(key, jnp.array([11]), (20,), 0.5)[0], together[1]
        )
        assert bool((together[0] != together[1]).any())

    def test_as_flax_but_for_the_draw(self) -> None:
        """Zeros, and the rest scaled up; nothing in evaluation."""
        x = jnp.ones((400, 50))
        ours, flax = (
            layer.apply({}, x, deterministic=False, rngs={"dropout": jax.random.key(0)})
            for layer in (Dropout(0.25), nn.Dropout(0.25))
        )
        np.testing.assert_array_equal(np.unique(ours), np.unique(flax))
        np.testing.assert_allclose(ours.mean(), 1, atol=0.02)
        np.testing.assert_array_equal(Dropout(0.25).apply({}, x), x)
