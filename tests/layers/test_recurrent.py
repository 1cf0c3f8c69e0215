"""The layers in the place of `flax.linen.RNN`, and the cells of others in `RNN`."""

from functools import partial
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


def assert_close(ours: Any, flax: Any, tolerance: float = 1e-6) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=tolerance), ours, flax)


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
        assert_close(ours, flax)

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

    @pytest.mark.parametrize("reverse", [False, True])
    def test_an_initial_carry_is_continued(self, reverse: bool) -> None:
        carry = tuple(jax.random.normal(jax.random.key(2), (2, len(LENGTHS), FEATURES)))
        call = {"initial_carry": carry, "reverse": reverse, "return_carry": True}
        ours, flax = (layer.apply(VARIABLES, inputs(), **call) for layer in (OURS, FLAX))
        assert_close(ours, flax)

    def test_parameters_start_with_the_same_values(self) -> None:
        ours, flax = (layer.init(jax.random.key(0), inputs()) for layer in (OURS, FLAX))
        jax.tree.map(np.testing.assert_array_equal, ours, flax)


def params_of_flax_cell(params: Any) -> dict[str, Any]:
    """The parameters of `nn.LSTMCell`, which has a matrix for each gate, in our layout."""
    return {
        "kernel": jnp.concatenate([params[f"i{gate}"]["kernel"] for gate in "ifgo"], axis=1),
        "recurrent_kernel": jnp.concatenate(
            [params[f"h{gate}"]["kernel"] for gate in "ifgo"], axis=1
        ),
        "bias": jnp.concatenate([params[f"h{gate}"]["bias"] for gate in "ifgo"]),
    }


class TestFlaxLSTM:
    """`LSTM` computes what `nn.RNN` does with flax's own LSTM cells and the same parameters."""

    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("cell", [nn.LSTMCell, nn.OptimizedLSTMCell])
    def test_outputs_and_carry_are_those_of_flax(self, cell: Any, reverse: bool) -> None:
        flax = nn.RNN(cell(FEATURES), reverse=reverse, return_carry=True)
        x, lengths = inputs()[:2], LENGTHS[:2]
        variables = flax.init(jax.random.key(0), x)
        variables = jax.tree.map(lambda leaf: leaf + 0.1, variables)  # Biases start at 0.
        carry, outputs = flax.apply(variables, x, seq_lengths=lengths)
        ours = LSTM(FEATURES, reverse=reverse, return_carry=True).apply(
            {"params": {"cell": params_of_flax_cell(variables["params"]["cell"])}},
            x,
            seq_lengths=lengths,
        )
        valid = (jnp.arange(TIME) < lengths[:, None])[..., None]
        assert_close(ours, (carry, jnp.where(valid, outputs, 0)))

    def test_gradients_are_those_of_flax(self) -> None:
        flax = nn.RNN(nn.OptimizedLSTMCell(FEATURES))
        params = flax.init(jax.random.key(0), inputs())["params"]["cell"]

        def gradients(layer: Any, to_cell: Any) -> Any:
            def loss(params: Any, x: Any) -> jax.Array:
                return jnp.sum(layer.apply({"params": {"cell": to_cell(params)}}, x) ** 2)

            return jax.jit(jax.grad(loss, argnums=(0, 1)))(params, inputs())

        ours, expected = (
            gradients(OURS, params_of_flax_cell),
            gradients(flax, lambda params: params),
        )
        assert_close(ours, expected, 1e-5)


class TestTransforms:
    """The layer inside flax's lifted transforms."""

    @pytest.mark.parametrize("transform", [nn.jit, nn.remat])
    def test_jit_and_remat_change_no_output(self, transform: Any) -> None:
        lifted = transform(LSTM)(FEATURES)
        call = {"seq_lengths": LENGTHS}
        assert_close(
            lifted.apply(VARIABLES, inputs(), **call), OURS.apply(VARIABLES, inputs(), **call)
        )

    @pytest.mark.parametrize("shared", [False, True])
    def test_vmap_runs_as_many_layers(self, shared: bool) -> None:
        """With the same parameters, or each with its own."""
        axis = None if shared else 0
        layers = nn.vmap(LSTM, variable_axes={"params": axis}, split_rngs={"params": not shared})(
            FEATURES
        )
        stack = jnp.stack([inputs(), 2 * inputs()])
        outputs, variables = layers.init_with_output(jax.random.key(0), stack)
        for n in range(2):
            of_layer = jax.tree.map(lambda leaf, n=n: leaf if shared else leaf[n], variables)
            assert_close(outputs[n], OURS.apply(of_layer, stack[n]))

    def test_scan_stacks_layers(self) -> None:
        class Stack(nn.Module):
            @nn.compact
            def __call__(self, x: Any) -> Any:
                def body(layer: Any, x: Any, _: Any) -> Any:
                    return layer(x, seq_lengths=LENGTHS), None

                layers = nn.scan(
                    body, variable_axes={"params": 0}, split_rngs={"params": True}, length=2
                )
                return layers(LSTM(FEATURES, name="lstm"), x, None)[0]

        x = jax.random.normal(jax.random.key(1), (len(LENGTHS), TIME, FEATURES))
        outputs, variables = Stack().init_with_output(jax.random.key(0), x)
        for n in range(2):
            of_layer = jax.tree.map(lambda leaf, n=n: leaf[n], variables["params"]["lstm"])
            x = OURS.apply({"params": of_layer}, x, seq_lengths=LENGTHS)
        assert_close(outputs, x)


class TestFlaxBidirectional:
    def test_layers_that_are_one_share_their_parameters(self) -> None:
        cell = nn.GRUCell(FEATURES)
        ours, flax = (nn.Bidirectional(layer(cell), layer(cell)) for layer in (RNN, nn.RNN))
        expected, variables = flax.init_with_output(jax.random.key(0), inputs())
        assert list(variables["params"]) == ["forward_rnn"]
        assert_close(ours.apply(variables, inputs()), expected)

    def test_gives_what_bidirectional_gives(self) -> None:
        theirs = nn.Bidirectional(LSTM(FEATURES), LSTM(FEATURES))
        ours = Bidirectional(LSTM(FEATURES))
        params = theirs.init(jax.random.key(0), inputs())["params"]
        renamed = {"forward": params["forward_rnn"], "backward": params["backward_rnn"]}
        call = {"seq_lengths": LENGTHS, "return_carry": True}
        expected = theirs.apply({"params": params}, inputs(), **call)
        outputs = ours.apply({"params": renamed}, inputs(), **call)
        assert_close(outputs, expected)

    def test_merges_by_any_function(self) -> None:
        theirs = nn.Bidirectional(LSTM(FEATURES), LSTM(FEATURES), merge_fn=jnp.add)
        expected, variables = theirs.init_with_output(jax.random.key(0), inputs())
        params = variables["params"]
        renamed = {"forward": params["forward_rnn"], "backward": params["backward_rnn"]}
        ours = Bidirectional(LSTM(FEATURES), merge="sum")
        assert_close(ours.apply({"params": renamed}, inputs()), expected)

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
        assert_close(ours, reference)

    @pytest.mark.parametrize("transform", ["nn.scan", "lax.scan"])
    def test_gives_what_a_scan_over_the_cell_gives(self, transform: str) -> None:
        cell = LSTMCell(FEATURES)
        x, params = inputs(), cell_params()
        carry = cell.initialize_carry(None, x[:, 0].shape)
        if transform == "nn.scan":
            scan = nn.scan(
                LSTMCell,
                in_axes=1,
                out_axes=1,
                variable_broadcast="params",
                split_rngs={"params": False},
            )
            carry, outputs = scan(FEATURES).apply({"params": params}, carry, x)
        else:
            step = partial(cell.apply, {"params": params})
            carry, outputs = jax.lax.scan(step, carry, x.swapaxes(0, 1))
            outputs = outputs.swapaxes(0, 1)
        assert_close(RNN(cell, return_carry=True).apply(VARIABLES, x), (carry, outputs))

    def test_layers_may_share_a_cell(self) -> None:
        class Twice(nn.Module):
            layer: Any

            def setup(self) -> None:
                self.cell = nn.SimpleCell(FEATURES)
                self.first, self.second = self.layer(self.cell), self.layer(self.cell)

            def __call__(self, x: Any) -> Any:
                return self.second(self.first(x))

        x = jax.random.normal(jax.random.key(1), (2, TIME, FEATURES))
        expected, variables = Twice(nn.RNN).init_with_output(jax.random.key(0), x)
        assert list(variables["params"]) == ["cell"]
        assert_close(Twice(RNN).apply(variables, x), expected)

    def test_a_cell_with_spatial_axes_is_refused(self) -> None:
        with pytest.raises(ValueError, match="ConvLSTMCell has 3 feature axes: 1 is needed"):
            RNN(nn.ConvLSTMCell(FEATURES, kernel_size=(3, 3)))

    def test_a_subclass_of_the_cell_computes_what_it_says(self) -> None:
        class Doubled(LSTMCell):
            def __call__(self, carry: Any, inputs: Any, *args: Any) -> Any:
                carry, outputs = super().__call__(carry, inputs, *args)
                return carry, 2 * outputs

        doubled = RNN(Doubled(FEATURES)).apply(VARIABLES, inputs())
        np.testing.assert_allclose(doubled, 2 * OURS.apply(VARIABLES, inputs()), atol=1e-6)
