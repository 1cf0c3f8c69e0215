"""The LSTM against a plain NumPy loop, Keras's layer and flax's cells."""

from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from flax import linen as nn
from jax.test_util import check_grads
from numerics import assert_close
from small_lstm import FEATURES, LENGTHS, TIME, cell_params, inputs

from flax_imdb.layers import LSTM, RNN, Bidirectional, SequenceLayer


def numpy_lstm(
    x: jax.Array, params: dict[str, jax.Array], *, reverse: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One row [time, in_features], step by step: c, h and the outputs [time, features]."""

    def sigmoid(z: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-z))

    c = h = np.zeros(FEATURES)
    outputs = np.zeros((len(x), FEATURES))
    steps = range(len(x))
    for t in reversed(steps) if reverse else steps:
        z = x[t] @ params["kernel"] + h @ params["recurrent_kernel"] + params["bias"]
        i, f, g, o = np.split(z, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs[t] = h
    return c, h, outputs


@pytest.mark.parametrize("implementation", ["scan", "fused"])
@pytest.mark.parametrize("reverse", [False, True])
class TestAgainstNumPy:
    def test_all_outputs_and_the_final_carry_are_those_of_the_loop(
        self, reverse: bool, implementation: str
    ) -> None:
        """Each row as if it stood alone and unpadded; zeros beyond its end."""
        layer = LSTM(
            FEATURES,
            implementation=implementation,
            reverse=reverse,
            keep_order=True,
            return_carry=True,
        )
        x, params = inputs(), cell_params()
        carry, outputs = layer.apply({"params": {"cell": params}}, x, seq_lengths=LENGTHS)
        for row, length in enumerate(LENGTHS):
            c, h, expected = numpy_lstm(x[row, :length], params, reverse=reverse)
            np.testing.assert_allclose(outputs[row, :length], expected, atol=1e-6)
            np.testing.assert_array_equal(outputs[row, length:], 0)
            np.testing.assert_allclose(carry[0][row], c, atol=1e-6)
            np.testing.assert_allclose(carry[1][row], h, atol=1e-6)

    def test_the_last_output_is_that_of_the_loop(self, reverse: bool, implementation: str) -> None:
        """The output computed last is the h of the final carry."""
        layer = LSTM(
            FEATURES, implementation=implementation, reverse=reverse, return_sequences=False
        )
        x, params = inputs(), cell_params()
        last = layer.apply({"params": {"cell": params}}, x, seq_lengths=LENGTHS)
        for row, length in enumerate(LENGTHS):
            _, h, _ = numpy_lstm(x[row, :length], params, reverse=reverse)
            np.testing.assert_allclose(last[row], h, atol=1e-6)

    def test_initial_carry_continues_a_sequence(self, reverse: bool, implementation: str) -> None:
        layer = LSTM(
            FEATURES,
            implementation=implementation,
            reverse=reverse,
            keep_order=True,
            return_carry=True,
        )
        x, variables = inputs(), {"params": {"cell": cell_params()}}
        carry, outputs = layer.apply(variables, x)
        first, second = (x[:, 4:], x[:, :4]) if reverse else (x[:, :4], x[:, 4:])
        half_carry, _ = layer.apply(variables, first)
        full_carry, second_outputs = layer.apply(variables, second, initial_carry=half_carry)
        np.testing.assert_allclose(full_carry, carry, atol=1e-6)
        expected = outputs[:, :4] if reverse else outputs[:, 4:]
        np.testing.assert_allclose(second_outputs, expected, atol=1e-6)

    def test_gradient_is_that_of_finite_differences(
        self, reverse: bool, implementation: str
    ) -> None:
        with jax.enable_x64(True):
            layer = LSTM(
                FEATURES,
                implementation=implementation,
                reverse=reverse,
                dtype=jnp.float64,
                param_dtype=jnp.float64,
            )
            params, x = jax.tree.map(
                lambda leaf: jnp.asarray(leaf, jnp.float64), (cell_params(), inputs())
            )

            def loss(params: Any, x: Any) -> jax.Array:
                params, x = jax.tree.map(jnp.asarray, (params, x))
                return jnp.sum(
                    layer.apply({"params": {"cell": params}}, x, seq_lengths=LENGTHS) ** 2
                )

            check_grads(loss, (params, x), order=1, modes=["rev"])


class TestDropout:
    """Masks are drawn once for a sequence, and per gate where Keras does so."""

    @pytest.mark.parametrize(("dropout", "recurrent_dropout"), [(0.3, 0.0), (0.0, 0.4), (0.3, 0.4)])
    def test_outputs_are_those_of_keras_with_the_same_masks(
        self, dropout: float, recurrent_dropout: float
    ) -> None:
        rates = {"dropout": dropout, "recurrent_dropout": recurrent_dropout}
        x, params = inputs(), cell_params()
        masks = []

        def record(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            result = call(*args, **kwargs)
            if context.method_name == "draw_masks":
                masks.append(result)
            return result

        with nn.intercept_methods(record):
            outputs = LSTM(FEATURES, **rates).apply(
                {"params": {"cell": params}},
                x,
                deterministic=False,
                rngs={"dropout": jax.random.key(3)},
            )
        (mask,) = masks
        assert (mask.inputs is None) == (dropout == 0)
        assert (mask.state is None) == (recurrent_dropout == 0)

        peer = keras.layers.LSTM(FEATURES, return_sequences=True, **rates)
        peer.build(x.shape)
        peer.set_weights([params["kernel"], params["recurrent_kernel"], params["bias"]])
        if mask.inputs is not None:
            gates = list(jnp.unstack(mask.inputs, axis=1))
            peer.cell.get_dropout_mask = lambda _: gates if len(gates) == 4 else gates[0]
        if mask.state is not None:
            state = list(jnp.unstack(mask.state, axis=1))
            peer.cell.get_recurrent_dropout_mask = lambda _: state
        np.testing.assert_allclose(outputs, peer(x, training=True), atol=1e-6)


class TestNumbers:
    """What stands at padding, and dtypes."""

    @pytest.mark.parametrize("garbage", [np.nan, np.inf])
    def test_not_even_nan_at_padding_reaches_a_gradient(self, garbage: float) -> None:
        x, lengths = inputs(), LENGTHS
        beyond = jnp.arange(TIME) >= LENGTHS[:, None]
        spoilt = jnp.where(beyond[..., None], garbage, x)

        def loss(params: Any, x: Any) -> jax.Array:
            return jnp.sum(
                LSTM(FEATURES).apply({"params": {"cell": params}}, x, seq_lengths=lengths) ** 2
            )

        expected = jax.grad(loss, argnums=(0, 1))(cell_params(), x)
        jax.tree.map(
            np.testing.assert_array_equal,
            jax.grad(loss, argnums=(0, 1))(cell_params(), spoilt),
            expected,
        )

    def test_bfloat16_computes_near_float32_and_carries_float32(self) -> None:
        variables = {"params": {"cell": cell_params()}}
        exact = LSTM(FEATURES).apply(variables, inputs())
        layer = LSTM(FEATURES, dtype=jnp.bfloat16, return_carry=True)
        carry, outputs = layer.apply(variables, inputs())
        assert outputs.dtype == jnp.bfloat16
        assert {leaf.dtype for leaf in carry} == {jnp.dtype(jnp.float32)}
        np.testing.assert_allclose(outputs.astype(jnp.float32), exact, atol=0.05)

    def test_parameters_have_the_param_dtype(self) -> None:
        variables = LSTM(FEATURES, param_dtype=jnp.bfloat16).init(jax.random.key(0), inputs())
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.bfloat16)}

    @pytest.mark.parametrize("transform", [jax.jit, jax.checkpoint, jax.vmap])
    def test_jit_checkpoint_and_vmap_change_no_output(self, transform: Any) -> None:
        variables = {"params": {"cell": cell_params()}}

        def run(x: Any) -> jax.Array:
            return LSTM(FEATURES).apply(variables, x)

        batched = transform is jax.vmap
        x = inputs()[None] if batched else inputs()
        expected = run(inputs())[None] if batched else run(inputs())
        np.testing.assert_allclose(transform(run)(x), expected, atol=1e-6)


def values_and_gradients(layer: SequenceLayer, time: int = 23, in_features: int = 4) -> Any:
    """Of a loss that looks at all that comes out, by the parameters and the inputs."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(5, time, in_features)), jnp.float32)
    lengths = jnp.array([time, 0, 1, time // 2, time - 1])
    variables = layer.init(jax.random.key(0), x, seq_lengths=lengths)

    def loss(variables: Any, x: Any) -> Any:
        results = layer.apply(
            variables,
            x,
            seq_lengths=lengths,
            deterministic=False,
            rngs={"dropout": jax.random.key(1)},
        )
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(results)), results

    return variables, jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(variables, x)


class TestRemat:
    """Rematerialisation over time: less memory, the same numbers."""

    @pytest.mark.parametrize("implementation", ["scan", "fused"])
    @pytest.mark.parametrize(("reverse", "return_sequences"), [(False, True), (True, False)])
    def test_changes_no_number(
        self, implementation: str, reverse: bool, return_sequences: bool
    ) -> None:
        """Neither the parameters' first values nor a result or a gradient, with dropout."""
        layer = LSTM(
            6,
            dropout=0.2,
            recurrent_dropout=0.2,
            reverse=reverse,
            return_sequences=return_sequences,
            return_carry=True,
            implementation=implementation,
        )
        assert_close(values_and_gradients(layer.clone(remat_steps=5)), values_and_gradients(layer))

    @pytest.mark.parametrize(("time", "steps"), [(1, 1), (7, 3), (5, 8)])
    def test_changes_no_number_at_any_length(self, time: int, steps: int) -> None:
        layer = LSTM(3)
        assert_close(
            values_and_gradients(layer.clone(remat_steps=steps), time),
            values_and_gradients(layer, time),
        )

    def test_changes_no_number_in_both_directions_and_with_other_cells(self) -> None:
        layer = RNN(nn.GRUCell(6), return_sequences=False)
        plain, remat = (Bidirectional(one) for one in (layer, layer.clone(remat_steps=4)))
        assert_close(values_and_gradients(remat), values_and_gradients(plain))

    @pytest.mark.parametrize("implementation", ["scan", "fused"])
    def test_takes_less_memory(self, implementation: str) -> None:
        def temporary_bytes(remat_steps: int | None) -> int:
            layer = LSTM(
                64, return_sequences=False, implementation=implementation, remat_steps=remat_steps
            )
            x = jnp.zeros((8, 1024, 4))
            variables = layer.init(jax.random.key(0), x)
            gradient = jax.jit(jax.grad(lambda variables, x: layer.apply(variables, x).sum()))
            return int(gradient.lower(variables, x).compile().memory_analysis().temp_size_in_bytes)

        assert temporary_bytes(32) < temporary_bytes(None) / 8

    @pytest.mark.parametrize("steps", [0, -3])
    def test_fewer_steps_than_one_are_refused(self, steps: int) -> None:
        with pytest.raises(ValueError, match=f"remat_steps is {steps}: 1 or more is needed"):
            LSTM(3, remat_steps=steps).init(jax.random.key(0), jnp.zeros((1, 4, 2)))


def test_no_steps_leave_the_carry_as_it_was() -> None:
    carry = (jnp.ones((2, 3)), jnp.full((2, 3), 2.0))
    layer = LSTM(3, return_carry=True)
    variables = layer.init(jax.random.key(0), inputs())
    after, _ = layer.apply(variables, inputs()[:2, :0], initial_carry=carry)
    jax.tree.map(np.testing.assert_array_equal, after, carry)
