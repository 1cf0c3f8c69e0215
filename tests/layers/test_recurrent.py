"""The layers in the place of `flax.linen.RNN`, and the cells of others in `RNN`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from small_lstm import FEATURES, LENGTHS, TIME, cell_params, inputs

from flax_imdb.layers import LSTM, RNN, Bidirectional, LSTMCell

VARIABLES = {"params": {"cell": cell_params()}}
OURS, FLAX = LSTM(FEATURES), nn.RNN(LSTMCell(FEATURES))


def assert_valid_steps_close(ours: jax.Array, flax: jax.Array) -> None:
    """Flax leaves at padding whatever was computed there."""
    valid = (jnp.arange(TIME) < LENGTHS[:, None])[..., None]
    np.testing.assert_allclose(ours, jnp.where(valid, flax, 0), atol=1e-6)


class TestTheCallOfFlaxRNN:
    """Each argument of the call, and each attribute, means what it means there."""

    @pytest.mark.parametrize("keep_order", [False, True])
    @pytest.mark.parametrize("reverse", [False, True])
    def test_order_of_the_outputs(self, reverse: bool, keep_order: bool) -> None:
        call = {"seq_lengths": LENGTHS, "reverse": reverse, "keep_order": keep_order}
        expected = FLAX.apply(VARIABLES, inputs(), **call)
        assert_valid_steps_close(OURS.apply(VARIABLES, inputs(), **call), expected)
        attributes = {"reverse": reverse, "keep_order": keep_order}
        configured = OURS.clone(**attributes).apply(VARIABLES, inputs(), seq_lengths=LENGTHS)
        assert_valid_steps_close(configured, expected)

    def test_the_call_overrides_the_attributes(self) -> None:
        layer = LSTM(FEATURES, reverse=True, return_carry=True, time_major=True)
        outputs = layer.apply(
            VARIABLES, inputs(), reverse=False, return_carry=False, time_major=False
        )
        np.testing.assert_array_equal(outputs, OURS.apply(VARIABLES, inputs()))

    def test_time_major(self) -> None:
        expected = OURS.apply(VARIABLES, inputs(), seq_lengths=LENGTHS)
        outputs = OURS.apply(
            VARIABLES, inputs().swapaxes(0, 1), seq_lengths=LENGTHS, time_major=True
        )
        np.testing.assert_array_equal(outputs.swapaxes(0, 1), expected)

    @pytest.mark.parametrize("time_major", [False, True])
    @pytest.mark.parametrize("batch", [(), (2, 2), (2, 1, 2)])
    def test_any_number_of_batch_axes(self, batch: tuple[int, ...], time_major: bool) -> None:
        x = inputs()[: int(np.prod(batch))].reshape(*batch, TIME, -1)
        x = jnp.moveaxis(x, -2, 0) if time_major else x
        call = {"return_carry": True, "time_major": time_major}
        ours, flax = (layer.apply(VARIABLES, x, **call) for layer in (OURS, FLAX))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), ours, flax)

    def test_lengths_and_carries_have_the_batch_axes_of_the_inputs(self) -> None:
        carry = (jnp.ones((4, FEATURES)), jnp.full((4, FEATURES), 2.0))
        call = {"seq_lengths": LENGTHS, "initial_carry": carry}
        layer = OURS.clone(return_carry=True)
        flat = layer.apply(VARIABLES, inputs(), **call)

        def fold(leaf: Any) -> Any:
            return leaf.reshape(2, 2, *leaf.shape[1:])

        folded = layer.apply(VARIABLES, fold(inputs()), **jax.tree.map(fold, call))
        jax.tree.map(np.testing.assert_array_equal, folded, jax.tree.map(fold, flat))

    @pytest.mark.parametrize("reverse", [False, True])
    def test_the_carry_is_that_of_the_last_valid_step(self, reverse: bool) -> None:
        call = {"seq_lengths": LENGTHS, "return_carry": True, "reverse": reverse}
        (ours, _), (flax, _) = (layer.apply(VARIABLES, inputs(), **call) for layer in (OURS, FLAX))
        some = np.asarray(LENGTHS) > 0  # Without steps flax returns the carry of its last one.
        for a, b in zip(ours, flax, strict=True):
            np.testing.assert_allclose(a[some], b[some], atol=1e-6)
            np.testing.assert_array_equal(a[~some], 0)

    def test_a_carry_that_is_drawn_comes_from_the_init_key(self) -> None:
        cell = nn.LSTMCell(FEATURES, carry_init=nn.initializers.normal())
        ours, flax = RNN(cell), nn.RNN(cell)
        variables = ours.init(jax.random.key(0), inputs())
        key = jax.random.key(3)
        np.testing.assert_allclose(
            ours.apply(variables, inputs(), init_key=key),
            flax.apply(variables, inputs(), init_key=key),
            atol=1e-6,
        )


class TestFlaxBidirectional:
    def test_gives_what_bidirectional_gives(self) -> None:
        theirs = nn.Bidirectional(LSTM(FEATURES), LSTM(FEATURES))
        ours = Bidirectional(LSTM(FEATURES))
        params = theirs.init(jax.random.key(0), inputs())["params"]
        renamed = {"forward": params["forward_rnn"], "backward": params["backward_rnn"]}
        call = {"seq_lengths": LENGTHS, "return_carry": True}
        expected = theirs.apply({"params": params}, inputs(), **call)
        outputs = ours.apply({"params": renamed}, inputs(), **call)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), outputs, expected)

    def test_merges_last_outputs(self) -> None:
        last = LSTM(FEATURES, return_sequences=False)
        outputs, _ = nn.Bidirectional(last, last.clone()).init_with_output(
            jax.random.key(0), inputs(), seq_lengths=LENGTHS
        )
        assert outputs.shape == (4, 2 * FEATURES)


class TestDeterministic:
    def test_the_attribute_decides_and_the_call_overrides_it(self) -> None:
        dropping = LSTM(FEATURES, dropout=0.5, deterministic=False)
        key = {"dropout": jax.random.key(1)}
        plain = OURS.apply(VARIABLES, inputs())
        dropped = dropping.apply(VARIABLES, inputs(), rngs=key)
        assert bool((dropped != plain).any())
        np.testing.assert_array_equal(
            dropping.apply(VARIABLES, inputs(), deterministic=True), plain
        )
        np.testing.assert_array_equal(
            LSTM(FEATURES, dropout=0.5).apply(VARIABLES, inputs(), deterministic=False, rngs=key),
            dropped,
        )


class TestRNN:
    @pytest.mark.parametrize("cell", [nn.OptimizedLSTMCell, nn.LSTMCell, nn.GRUCell, nn.SimpleCell])
    @pytest.mark.parametrize("reverse", [False, True])
    def test_cells_give_what_they_give_in_flax(self, cell: Any, reverse: bool) -> None:
        ours, flax = RNN(cell(FEATURES), reverse=reverse), nn.RNN(cell(FEATURES), reverse=reverse)
        variables = ours.init(jax.random.key(0), inputs())
        assert_valid_steps_close(
            *(layer.apply(variables, inputs(), seq_lengths=LENGTHS) for layer in (ours, flax))
        )

    @pytest.mark.parametrize("return_sequences", [False, True])
    @pytest.mark.parametrize("reverse", [False, True])
    def test_the_lstms_cell_gives_what_the_lstm_gives(
        self, reverse: bool, return_sequences: bool
    ) -> None:
        options = {"reverse": reverse, "return_sequences": return_sequences, "return_carry": True}
        ours, reference = (
            layer.apply(VARIABLES, inputs(), seq_lengths=LENGTHS)
            for layer in (LSTM(FEATURES, **options), RNN(LSTMCell(FEATURES), **options))
        )
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), ours, reference)

    def test_a_subclass_of_the_cell_computes_what_it_says(self) -> None:
        class Doubled(LSTMCell):
            def __call__(self, carry: Any, inputs: Any, *args: Any) -> Any:
                carry, outputs = super().__call__(carry, inputs, *args)
                return carry, 2 * outputs

        doubled = RNN(Doubled(FEATURES)).apply(VARIABLES, inputs())
        np.testing.assert_allclose(doubled, 2 * OURS.apply(VARIABLES, inputs()), atol=1e-6)
