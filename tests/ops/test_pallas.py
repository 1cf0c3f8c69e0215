"""The GPU kernel, interpreted where there is no GPU, against the scan over the cell."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_problems import BOTH, assert_same, problem, run

from flax_imdb.layers import LSTM, Bidirectional
from flax_imdb.ops import pallas


@pytest.mark.parametrize(
    "layer",
    [
        {},
        {"reverse": True, "return_sequences": False},
        {"dropout": 0.3},
        {"reverse": True, **BOTH},
        {"remat_steps": 4, "reverse": True},
    ],
    ids=str,
)
def test_values_and_gradients(layer: dict[str, Any]) -> None:
    assert_same("pallas", problem(), **layer)


def test_several_instances() -> None:
    """One has rows without steps alone, and the last is not full."""
    params, x, carry, _ = problem(batch=2 * pallas._ROWS + 3)
    lengths = jnp.array([5] * pallas._ROWS + [0] * pallas._ROWS + [9, 1, 3])
    assert_same("pallas", (params, x, carry, lengths), reverse=True)


def test_a_width_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """40 features are 16 + 32 where 64 do not fit."""
    assert pallas._parts(100, jnp.float32) == [16, 32, 64]
    assert pallas._parts(100, jnp.bfloat16) == [128]
    monkeypatch.setattr(pallas, "_SHARED_MEMORY", pallas._SCRATCH + 4 * 4 * 48**2)
    assert pallas._parts(40, jnp.float32) == [16, 32]
    assert_same("pallas", problem(features=40), 4e-6, **BOTH)


def test_bfloat16() -> None:
    """Both round as they go, each in its own order."""
    assert_same("pallas", problem(dtype=jnp.bfloat16), 0.04, param_dtype=jnp.bfloat16, **BOTH)


@settings(max_examples=3, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=3, max_size=3), st.booleans())
def test_any_lengths(lengths: list[int], reverse: bool) -> None:
    params, x, carry, _ = problem(batch=3, time=6)
    expected, actual = (
        run(implementation, params, x, carry, jnp.array(lengths), reverse=reverse)
        for implementation in ("scan", "pallas")
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), actual, expected)


def test_both_directions_are_one_launch() -> None:
    _, x, _, lengths = problem()
    layers = {
        implementation: Bidirectional(LSTM(5, implementation=implementation, **BOTH))
        for implementation in ("scan", "pallas")
    }
    params = layers["scan"].init(jax.random.key(0), x)

    def loss(params: Any, layer: Bidirectional) -> Any:
        outputs = layer.apply(
            params, x, lengths, deterministic=False, rngs={"dropout": jax.random.key(1)}
        )
        return jnp.sum(outputs**2 * jnp.arange(1, outputs.size + 1).reshape(outputs.shape))

    expected, actual = (
        jax.jit(jax.value_and_grad(loss), static_argnums=1)(params, layer)
        for layer in layers.values()
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), actual, expected
    )
    # One of the forward and one of the backward pass; each is there for a GPU and interpreted.
    program = str(jax.make_jaxpr(jax.grad(loss), static_argnums=1)(params, layers["pallas"]))
    assert program.count("pallas_call[") == 2 * 2


def test_under_vmap() -> None:
    params, x, carry, lengths = problem()

    def outputs(x: Any) -> Any:
        return run("pallas", params, x, carry, lengths)[1]

    stack = jnp.stack([x, 2 * x])
    np.testing.assert_allclose(
        jax.vmap(outputs)(stack), jnp.stack([outputs(x), outputs(2 * x)]), atol=1e-6
    )


@pytest.mark.parametrize(
    ("features", "dtype", "why"),
    [
        (113, jnp.float32, "has room for 112 features in float32, not for 113"),
        (512, jnp.bfloat16, "has room for 160 features in bfloat16, not for 512"),
        (5, jnp.float16, "computes in float32 and bfloat16, not in float16"),
    ],
    ids=str,
)
def test_what_it_cannot_compute(features: int, dtype: Any, why: str) -> None:
    x = jnp.zeros((2, 3, 4))
    with pytest.raises(ValueError, match=f"implementation 'pallas' .*{why}: 'auto' takes another"):
        LSTM(features, implementation="pallas", dtype=dtype).init(jax.random.key(0), x)
    jax.eval_shape(lambda: LSTM(features, dtype=dtype).init(jax.random.key(0), x))
