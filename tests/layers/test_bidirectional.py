"""An LSTM in both directions."""

from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from flax import linen as nn

from flax_imdb.layers import LSTM, RNN, Bidirectional

LENGTHS = jnp.array([7, 1, 0, 4])


def inputs() -> jax.Array:
    return jax.random.normal(jax.random.key(0), (4, 7, 3))


class TestBidirectional:
    @pytest.mark.parametrize(
        ("merge", "keras_merge"),
        [("concat", "concat"), ("sum", "sum"), ("average", "ave"), ("product", "mul")],
    )
    @pytest.mark.parametrize("return_sequences", [True, False])
    def test_merges_as_keras_does(
        self, merge: Any, keras_merge: str, return_sequences: bool
    ) -> None:
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
        (carries, outputs), variables = layer.init_with_output(
            jax.random.key(0), inputs(), seq_lengths=LENGTHS
        )
        params = variables["params"]
        assert bool(
            (params["forward"]["cell"]["kernel"] != params["backward"]["cell"]["kernel"]).any()
        )
        (_, forward_h), (_, backward_h) = carries
        for row, length in enumerate(LENGTHS):
            if length:
                np.testing.assert_array_equal(outputs[row, length - 1, :5], forward_h[row])
                np.testing.assert_array_equal(outputs[row, 0, 5:], backward_h[row])

    def test_directions_of_any_cell_have_parameters_of_their_own(self) -> None:
        """And give what flax's give with these."""
        layer = Bidirectional(RNN(nn.GRUCell(5)))
        outputs, variables = layer.init_with_output(jax.random.key(0), inputs())
        params = variables["params"]
        peer = nn.Bidirectional(nn.RNN(nn.GRUCell(5)), nn.RNN(nn.GRUCell(5)))
        renamed = {"forward_rnn": params["forward"], "backward_rnn": params["backward"]}
        np.testing.assert_allclose(outputs, peer.apply({"params": renamed}, inputs()), atol=1e-6)

    def test_carries_time_major_and_batch_axes_are_as_in_flax(self) -> None:
        ours = Bidirectional(LSTM(5))
        peer = nn.Bidirectional(LSTM(5), LSTM(5))
        x = inputs()[:, None].swapaxes(0, 2)  # [time, 1, batch, features]
        carry = jax.random.normal(jax.random.key(1), (2, 2, 1, 4, 5))
        call = {
            "initial_carry": tuple(map(tuple, carry)),
            "time_major": True,
            "return_carry": True,
        }
        params = ours.init(jax.random.key(0), x)["params"]
        renamed = {"forward_rnn": params["forward"], "backward_rnn": params["backward"]}
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
            ours.apply({"params": params}, x, **call),
            peer.apply({"params": renamed}, x, **call),
        )

    def test_each_direction_draws_its_first_carry_from_a_key_of_its_own(self) -> None:
        cell = nn.SimpleCell(5, carry_init=nn.initializers.normal())
        ours, peer = Bidirectional(RNN(cell)), nn.Bidirectional(nn.RNN(cell), nn.RNN(cell.clone()))
        key = jax.random.key(3)
        expected, variables = peer.init_with_output(jax.random.key(0), inputs(), init_key=key)
        params = variables["params"]
        renamed = {"forward": params["forward_rnn"], "backward": params["backward_rnn"]}
        outputs = ours.apply({"params": renamed}, inputs(), init_key=key)
        np.testing.assert_allclose(outputs, expected, atol=1e-6)

    def test_directions_drop_differently(self) -> None:
        layer = Bidirectional(LSTM(50, recurrent_dropout=0.5))
        variables = layer.init(jax.random.key(0), inputs())
        params = variables["params"]["forward"]
        same = {"params": {"forward": params, "backward": params}}
        palindrome = jnp.concatenate([inputs(), inputs()[:, ::-1]], axis=1)
        call = {"deterministic": False, "rngs": {"dropout": jax.random.key(1)}}
        outputs = layer.apply(same, palindrome, **call)
        assert bool((outputs[:, -1, :50] != outputs[:, 0, 50:]).any())

    def test_an_unknown_merge_is_refused(self) -> None:
        with pytest.raises(ValueError, match="merge 'max' is unknown: one of concat, sum, average"):
            Bidirectional(LSTM(5), merge="max").init(jax.random.key(0), inputs())
