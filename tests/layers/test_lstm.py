"""The cell and the LSTM against a plain NumPy loop and against Keras's layers."""

from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax.test_util import check_grads

from flax_imdb import models
from flax_imdb.layers import LSTM, Bidirectional, Conv, Dropout, LSTMCell, LSTMMasks, MaxPool

BATCH, TIME, IN_FEATURES, FEATURES = 4, 9, 3, 5
LENGTHS = jnp.array([9, 1, 0, 6])


def inputs() -> jax.Array:
    return jax.random.normal(jax.random.key(0), (BATCH, TIME, IN_FEATURES))


def cell_params() -> dict[str, jax.Array]:
    rng = np.random.default_rng(1)
    shapes = {
        "kernel": (IN_FEATURES, 4 * FEATURES),
        "recurrent_kernel": (FEATURES, 4 * FEATURES),
        "bias": (4 * FEATURES,),
    }
    return {
        name: jnp.asarray(rng.normal(0, 0.5, shape), jnp.float32) for name, shape in shapes.items()
    }


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
    def test_all_outputs_and_final_carry(self, reverse: bool, implementation: str) -> None:
        """Each row as if it stood alone and unpadded; zeros beyond its end."""
        layer = LSTM(FEATURES, implementation=implementation, reverse=reverse, return_carry=True)
        x, params = inputs(), cell_params()
        carry, outputs = layer.apply({"params": {"cell": params}}, x, LENGTHS)
        for row, length in enumerate(LENGTHS):
            c, h, expected = numpy_lstm(x[row, :length], params, reverse=reverse)
            np.testing.assert_allclose(outputs[row, :length], expected, atol=1e-6)
            np.testing.assert_array_equal(outputs[row, length:], 0)
            np.testing.assert_allclose(carry[0][row], c, atol=1e-6)
            np.testing.assert_allclose(carry[1][row], h, atol=1e-6)

    def test_last_output(self, reverse: bool, implementation: str) -> None:
        """The output computed last is the h of the final carry."""
        layer = LSTM(
            FEATURES, implementation=implementation, reverse=reverse, return_sequences=False
        )
        x, params = inputs(), cell_params()
        last = layer.apply({"params": {"cell": params}}, x, LENGTHS)
        for row, length in enumerate(LENGTHS):
            _, h, _ = numpy_lstm(x[row, :length], params, reverse=reverse)
            np.testing.assert_allclose(last[row], h, atol=1e-6)

    def test_initial_carry_continues_a_sequence(self, reverse: bool, implementation: str) -> None:
        layer = LSTM(FEATURES, implementation=implementation, reverse=reverse, return_carry=True)
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
                return jnp.sum(layer.apply({"params": {"cell": params}}, x, LENGTHS) ** 2)

            check_grads(loss, (params, x), order=1, modes=["rev"])


class TestDropout:
    """Masks are drawn once for a sequence, and per gate where Keras does so."""

    @pytest.mark.parametrize(("dropout", "recurrent_dropout"), [(0.3, 0.0), (0.0, 0.4), (0.3, 0.4)])
    def test_against_keras_with_the_same_masks(
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

    @pytest.mark.parametrize("rate", [0.2, 0.5])
    def test_masks_keep_the_mean_and_differ_between_rows_and_gates(self, rate: float) -> None:
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
    def test_a_rate_that_is_no_share(self, rate: float) -> None:
        layer = LSTM(FEATURES, dropout=rate)
        with pytest.raises(ValueError, match=r"dropout is .*: a share in \[0, 1\) is needed"):
            layer.init(
                {"params": jax.random.key(0), "dropout": jax.random.key(1)},
                inputs(),
                deterministic=False,
            )


class TestInFlax:
    """The cell in flax's RNN, and flax's cells in this LSTM."""

    def test_the_cell_in_flax_rnn(self) -> None:
        x, params = inputs(), cell_params()
        theirs = nn.RNN(LSTMCell(FEATURES)).apply({"params": {"cell": params}}, x)
        ours = LSTM(FEATURES).apply({"params": {"cell": params}}, x)
        np.testing.assert_allclose(ours, theirs, atol=1e-6)

    def test_the_cell_drops_in_flax_rnn(self) -> None:
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

    @pytest.mark.parametrize("cell", [nn.OptimizedLSTMCell, nn.LSTMCell, nn.GRUCell, nn.SimpleCell])
    @pytest.mark.parametrize("reverse", [False, True])
    def test_flax_cells(self, cell: Any, reverse: bool) -> None:
        layer = LSTM(FEATURES, cell=cell, reverse=reverse)
        x, lengths = inputs(), LENGTHS
        variables = layer.init(jax.random.key(0), x)
        ours = layer.apply(variables, x, lengths)
        peer = nn.RNN(cell(FEATURES), reverse=reverse, keep_order=True)
        theirs = peer.apply(variables, x, seq_lengths=lengths)
        for row, length in enumerate(LENGTHS):
            np.testing.assert_allclose(ours[row, :length], theirs[row, :length], atol=1e-6)


@pytest.mark.parametrize(
    "module",
    [
        LSTM(FEATURES),
        LSTM(FEATURES, cell=nn.GRUCell),
        Bidirectional(LSTM(FEATURES)),
        Conv(FEATURES, 3),
        MaxPool(2),
        Dropout(0.5),
        LSTMCell(FEATURES),
        models.Classifier(9, 2, encoder=(LSTM(FEATURES, return_sequences=False),)),
    ],
    ids=lambda module: type(module).__name__,
)
def test_in_nnx_a_module_gives_what_it_gives_in_linen(module: Any) -> None:
    args: tuple[Any, ...] = (inputs(),)
    if isinstance(module, LSTMCell):
        args = (module.initialize_carry(jax.random.key(0), (BATCH, IN_FEATURES)), inputs()[:, 0])
    elif isinstance(module, models.Classifier):
        args = (jnp.ones((BATCH, TIME), int), LENGTHS)
    bridged = nnx.bridge.ToNNX(module, rngs=nnx.Rngs(0)).lazy_init(*args)
    params = nnx.to_pure_dict(nnx.state(bridged, nnx.Param))
    shapes = jax.eval_shape(module.init, jax.random.key(0), *args).get("params", {})
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes)
    jax.tree.map(
        np.testing.assert_array_equal, bridged(*args), module.apply({"params": params}, *args)
    )


class TestNumbersOutside:
    """What stands at padding, dtypes, and names."""

    @pytest.mark.parametrize("garbage", [np.nan, np.inf])
    def test_not_even_nan_at_padding_reaches_a_gradient(self, garbage: float) -> None:
        x, lengths = inputs(), LENGTHS
        beyond = jnp.arange(TIME) >= LENGTHS[:, None]
        spoilt = jnp.where(beyond[..., None], garbage, x)

        def loss(params: Any, x: Any) -> jax.Array:
            return jnp.sum(LSTM(FEATURES).apply({"params": {"cell": params}}, x, lengths) ** 2)

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

    def test_param_dtype(self) -> None:
        variables = LSTM(FEATURES, param_dtype=jnp.bfloat16).init(jax.random.key(0), inputs())
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.bfloat16)}

    def test_forget_bias_is_one_and_the_recurrent_kernel_orthogonal(self) -> None:
        params = LSTM(FEATURES).init(jax.random.key(0), inputs())["params"]["cell"]
        np.testing.assert_array_equal(params["bias"].reshape(4, -1)[:, 0], [0, 1, 0, 0])
        kernel = params["recurrent_kernel"]
        np.testing.assert_allclose(kernel @ kernel.T, np.eye(FEATURES), atol=1e-5)

    def test_unknown_implementation(self) -> None:
        with pytest.raises(
            ValueError, match="implementation 'magic' is unknown: one of auto, scan, fused"
        ):
            LSTM(FEATURES, implementation="magic").init(jax.random.key(0), inputs())

    def test_a_subclass_of_the_cell_computes_what_it_says(self) -> None:
        class Doubled(LSTMCell):
            def __call__(self, carry: Any, inputs: Any, masks: Any = None) -> Any:
                carry, outputs = super().__call__(carry, inputs, masks)
                return carry, 2 * outputs

        variables = {"params": {"cell": cell_params()}}
        doubled = LSTM(FEATURES, cell=Doubled).apply(variables, inputs())
        np.testing.assert_allclose(
            doubled, 2 * LSTM(FEATURES).apply(variables, inputs()), atol=1e-6
        )

    @pytest.mark.parametrize("transform", [jax.jit, jax.checkpoint, jax.vmap])
    def test_under_transformations(self, transform: Any) -> None:
        variables = {"params": {"cell": cell_params()}}

        def run(x: Any) -> jax.Array:
            return LSTM(FEATURES).apply(variables, x)

        batched = transform is jax.vmap
        x = inputs()[None] if batched else inputs()
        expected = run(inputs())[None] if batched else run(inputs())
        np.testing.assert_allclose(transform(run)(x), expected, atol=1e-6)
