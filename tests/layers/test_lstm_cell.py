"""The cell: its masks and first parameters, and how it runs in flax's RNN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from small_lstm import FEATURES, cell_params, inputs

from flax_imdb.layers import LSTM, LSTMCell
from flax_imdb.ops import LSTMMasks


class TestMasks:
    @pytest.mark.parametrize("rate", [0.2, 0.5])
    def test_keep_the_mean_and_differ_between_rows_and_gates(self, rate: float) -> None:
        cell = LSTMCell(FEATURES, dropout=rate, recurrent_dropout=rate)
        masks: LSTMMasks = cell.apply(
            {}, jnp.ones((2000, 6)), rngs={"dropout": jax.random.key(0)}, method="draw_masks"
        )
        for mask, width in ((masks.inputs, 6), (masks.state, FEATURES)):
            assert mask is not None
            assert mask.shape == (2000, 4, width)
            scale = jnp.float32(1) / jnp.float32(1 - rate)
            assert set(np.unique(mask)) == {0, np.float32(scale)}
            np.testing.assert_allclose(mask.mean(axis=0), 1, atol=5 * scale / 2000**0.5)
            assert bool((mask[0] != mask[1]).any())
            assert bool((mask[:, 0] != mask[:, 1]).any())

    @pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
    def test_of_a_rate_that_is_no_share_are_refused(self, rate: float) -> None:
        layer = LSTM(FEATURES, dropout=rate)
        with pytest.raises(ValueError, match=r"dropout is .*: a rate in \[0, 1\) is needed"):
            layer.init(
                {"params": jax.random.key(0), "dropout": jax.random.key(1)},
                inputs(),
                deterministic=False,
            )


class TestInFlaxRNN:
    def test_the_cell_gives_what_it_gives_in_the_lstm(self) -> None:
        x, params = inputs(), cell_params()
        theirs = nn.RNN(LSTMCell(FEATURES)).apply({"params": {"cell": params}}, x)
        ours = LSTM(FEATURES).apply({"params": {"cell": params}}, x)
        np.testing.assert_allclose(ours, theirs, atol=1e-6)

    def test_what_the_cell_drops_follows_from_the_key(self) -> None:
        """With the same key at every step, the same units are dropped at every step."""
        rnn = nn.RNN(
            LSTMCell(FEATURES, recurrent_dropout=0.5, deterministic=False),
            split_rngs={"params": False, "dropout": False},
        )
        variables = {"params": {"cell": cell_params()}}
        outputs = [
            rnn.apply(variables, inputs(), rngs={"dropout": jax.random.key(seed)})
            for seed in (0, 0, 1)
        ]
        np.testing.assert_array_equal(outputs[0], outputs[1])
        assert bool((outputs[0] != outputs[2]).any())


def test_forget_bias_is_one_and_the_recurrent_kernel_orthogonal() -> None:
    params = LSTM(FEATURES).init(jax.random.key(0), inputs())["params"]["cell"]
    np.testing.assert_array_equal(params["bias"].reshape(4, -1)[:, 0], [0, 1, 0, 0])
    kernel = params["recurrent_kernel"]
    np.testing.assert_allclose(kernel @ kernel.T, np.eye(FEATURES), atol=1e-5)
