"""The fused implementation against the scan over the cell: values and every gradient."""

from functools import partial
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flax_imdb.layers import LSTM
from flax_imdb.ops import fused

BOTH = {"dropout": 0.3, "recurrent_dropout": 0.3}


def problem(
    batch: int = 4, time: int = 9, in_features: int = 3, features: int = 5, dtype: Any = jnp.float32
) -> tuple[Any, Any, Any, Any]:
    """Random parameters, inputs, initial carry, and lengths from 0 to `time`."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(rng.normal(0, 0.5, shape), dtype)

    params = {
        "kernel": normal(in_features, 4 * features),
        "recurrent_kernel": normal(features, 4 * features),
        "bias": normal(4 * features),
    }
    lengths = jnp.asarray(np.linspace(time, 0, batch).round(), jnp.int32)
    carry_dtype = jnp.promote_types(dtype, jnp.float32)
    carry = tuple(normal(batch, features).astype(carry_dtype) for _ in range(2))
    return params, normal(batch, time, in_features), carry, lengths


def run(implementation: str, params: Any, x: Any, carry: Any, lengths: Any, **layer: Any) -> Any:
    """Final carry and outputs of an LSTM."""
    features = params["bias"].shape[0] // 4
    lstm = LSTM(features, implementation=implementation, return_carry=True, **layer)
    return lstm.apply(
        {"params": {"cell": params}},
        x,
        lengths,
        initial_carry=carry,
        deterministic=False,
        rngs={"dropout": jax.random.key(1)},
    )


def values_and_gradients(implementation: str, problem: Any, **layer: Any) -> Any:
    """Of a loss that looks at everything that comes out, by everything that goes in."""
    params, x, carry, lengths = problem

    def loss(params: Any, x: Any, carry: Any, lengths: Any) -> Any:
        results = run(implementation, params, x, carry, lengths, **layer)
        leaves = jax.tree.leaves(results)
        keys = jax.random.split(jax.random.key(2), len(leaves))
        weights = [jax.random.normal(k, a.shape) for k, a in zip(keys, leaves, strict=True)]
        terms = (jnp.sum(w * a.astype(w.dtype)) for w, a in zip(weights, leaves, strict=True))
        return sum(terms), results

    gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))
    return gradients(params, x, carry, lengths)


def assert_same(problem: Any, tolerance: float = 2e-6, **layer: Any) -> None:
    ours = values_and_gradients("fused", problem, **layer)
    reference = values_and_gradients("scan", problem, **layer)

    def compare(a: jax.Array, b: jax.Array) -> None:
        assert a.dtype == b.dtype
        scale = tolerance * max(1.0, float(jnp.abs(b.astype(jnp.float32)).max()))
        np.testing.assert_allclose(
            a.astype(jnp.float32), b.astype(jnp.float32), rtol=tolerance, atol=scale
        )

    jax.tree.map(compare, ours, reference)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_values_and_gradients(reverse: bool, return_sequences: bool) -> None:
    assert_same(problem(), reverse=reverse, return_sequences=return_sequences)


@pytest.mark.parametrize("rates", [{"dropout": 0.3}, {"recurrent_dropout": 0.3}, BOTH], ids=str)
def test_dropout(rates: dict[str, float]) -> None:
    assert_same(problem(), reverse=True, **rates)


@pytest.mark.parametrize(
    "sizes",
    [
        {"time": 1},
        {"batch": 1},
        {"in_features": 1, "features": 1},
        {"batch": 7, "time": 33, "in_features": 13, "features": 17},
        {"batch": 41},
    ],
    ids=str,
)
def test_odd_sizes(sizes: dict[str, int]) -> None:
    assert_same(problem(**sizes), reverse=True)


@pytest.mark.parametrize("rates", [{}, BOTH], ids=str)
@pytest.mark.parametrize("longest", [9, 3, 0])
def test_chunks_of_steps(
    rates: dict[str, float], longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several make up the rows, the last is not full, and some begin after the longest row."""
    params, x, carry, lengths = problem()
    monkeypatch.setattr(fused, "_CHUNK", 2)
    assert_same((params, x, carry, jnp.minimum(lengths, longest)), reverse=True, **rates)


@settings(max_examples=5, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=3),
    chunk=st.integers(1, 7),
    reverse=st.booleans(),
)
def test_any_lengths_and_chunks(lengths: list[int], chunk: int, reverse: bool) -> None:
    params, x, carry, _ = problem(batch=len(lengths), time=6)
    with mock.patch.object(fused, "_CHUNK", chunk):
        assert_same((params, x, carry, jnp.array(lengths)), reverse=reverse)


@pytest.mark.parametrize("rates", [{}, BOTH], ids=str)
def test_bfloat16(rates: dict[str, float]) -> None:
    """Both round as they go, each in its own order."""
    assert_same(problem(dtype=jnp.bfloat16), tolerance=0.04, param_dtype=jnp.bfloat16, **rates)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_lengths_of_a_small_integer_type(dtype: str) -> None:
    params, x, carry, _ = problem(time=130)
    lengths = jnp.array([127, 0, 126, 50])
    expected = run("fused", params, x, carry, lengths)
    actual = run("fused", params, x, carry, lengths.astype(dtype))
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_float64() -> None:
    with jax.enable_x64(True):
        assert_same(problem(dtype=jnp.float64), 1e-13, dtype=jnp.float64, param_dtype=jnp.float64)


def outputs(x: Any) -> Any:
    params, _, carry, lengths = problem()
    return run("fused", params, x, carry, lengths)[1]


def test_under_vmap() -> None:
    _, x, _, _ = problem()
    stack = jnp.stack([x, 2 * x])
    np.testing.assert_allclose(
        jax.vmap(outputs)(stack), jnp.stack([outputs(x), outputs(2 * x)]), atol=1e-6
    )
    gradient = jax.grad(lambda x: jnp.sum(outputs(x) ** 2))
    np.testing.assert_allclose(
        jax.vmap(gradient)(stack), jnp.stack([gradient(x), gradient(2 * x)]), atol=1e-5
    )


def test_under_vmap_over_lengths() -> None:
    """Each row of the stack has a longest row of its own."""
    params, x, carry, lengths = problem()
    stack = jnp.stack([lengths, lengths // 3])

    def gradient(lengths: Any) -> Any:
        return jax.grad(lambda x: jnp.sum(run("fused", params, x, carry, lengths)[1] ** 2))(x)

    np.testing.assert_allclose(
        jax.vmap(gradient)(stack), jnp.stack([gradient(one) for one in stack]), atol=1e-6
    )


def test_under_checkpoint() -> None:
    _, x, _, _ = problem()
    gradient, rematerialised = (
        jax.grad(lambda x, f=f: jnp.sum(f(x) ** 2))(x) for f in (outputs, jax.checkpoint(outputs))
    )
    np.testing.assert_allclose(rematerialised, gradient, atol=1e-6)


def test_under_pmap() -> None:
    _, x, _, _ = problem()
    stack = jnp.stack([x, 2 * x, -x, 0 * x])
    np.testing.assert_allclose(jax.pmap(outputs)(stack), jax.vmap(outputs)(stack), atol=1e-6)


def test_a_cell_that_it_does_not_compute() -> None:
    from flax import linen as nn

    from flax_imdb.layers import LSTMCell

    x = problem()[1]
    for cell in (nn.GRUCell, partial(LSTMCell, activation_fn=nn.relu)):
        with pytest.raises(ValueError, match="this cell needs 'scan', which 'auto' takes"):
            LSTM(5, cell=cell, implementation="fused").init(jax.random.key(0), x)
        LSTM(5, cell=cell).init(jax.random.key(0), x)
