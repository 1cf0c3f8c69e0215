"""The fused implementation against the scan over the cell: values and every gradient."""

from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_problems import BOTH, assert_same, problem, run

from flax_imdb.layers import LSTM
from flax_imdb.ops import fused


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_values_and_gradients_are_those_of_the_scan(reverse: bool, return_sequences: bool) -> None:
    assert_same("fused", problem(), reverse=reverse, return_sequences=return_sequences)


@pytest.mark.parametrize("rates", [{"dropout": 0.3}, {"recurrent_dropout": 0.3}, BOTH], ids=str)
def test_dropout_gives_what_the_scan_gives(rates: dict[str, float]) -> None:
    assert_same("fused", problem(), reverse=True, **rates)


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
def test_odd_sizes_give_what_the_scan_gives(sizes: dict[str, int]) -> None:
    assert_same("fused", problem(**sizes), reverse=True)


@pytest.mark.parametrize("rates", [{}, BOTH], ids=str)
@pytest.mark.parametrize("longest", [9, 3, 0])
def test_chunks_of_steps_give_what_the_scan_gives(
    rates: dict[str, float], longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several make up the rows, the last is not full, and some begin after the longest row."""
    params, x, carry, lengths = problem()
    monkeypatch.setattr(fused, "_CHUNK", 2)
    assert_same("fused", (params, x, carry, jnp.minimum(lengths, longest)), reverse=True, **rates)


@settings(max_examples=5)
@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=3),
    chunk=st.integers(1, 7),
    reverse=st.booleans(),
)
def test_any_lengths_and_chunks_give_what_the_scan_gives(
    lengths: list[int], chunk: int, reverse: bool
) -> None:
    params, x, carry, _ = problem(batch=len(lengths), time=6)
    with mock.patch.object(fused, "_CHUNK", chunk):
        assert_same("fused", (params, x, carry, jnp.array(lengths)), reverse=reverse)


@pytest.mark.parametrize("rates", [{}, BOTH], ids=str)
def test_bfloat16_is_near_the_scan(rates: dict[str, float]) -> None:
    """Both round as they go, each in its own order."""
    assert_same(
        "fused", problem(dtype=jnp.bfloat16), tolerance=0.04, param_dtype=jnp.bfloat16, **rates
    )


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_lengths_of_a_small_integer_type_give_the_same(dtype: str) -> None:
    params, x, carry, _ = problem(time=130)
    lengths = jnp.array([127, 0, 126, 50])
    expected = run("fused", params, x, carry, lengths)
    actual = run("fused", params, x, carry, lengths.astype(dtype))
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_float64_gives_what_the_scan_gives() -> None:
    with jax.enable_x64(True):
        assert_same(
            "fused", problem(dtype=jnp.float64), 1e-13, dtype=jnp.float64, param_dtype=jnp.float64
        )


def outputs(x: Any) -> Any:
    params, _, carry, lengths = problem()
    return run("fused", params, x, carry, lengths)[1]


def test_vmap_gives_what_each_gives_alone() -> None:
    _, x, _, _ = problem()
    stack = jnp.stack([x, 2 * x])
    np.testing.assert_allclose(
        jax.vmap(outputs)(stack), jnp.stack([outputs(x), outputs(2 * x)]), atol=1e-6
    )
    gradient = jax.grad(lambda x: jnp.sum(outputs(x) ** 2))
    np.testing.assert_allclose(
        jax.vmap(gradient)(stack), jnp.stack([gradient(x), gradient(2 * x)]), atol=1e-5
    )


def test_vmap_over_lengths_gives_what_each_gives_alone() -> None:
    """Each row of the stack has a longest row of its own."""
    params, x, carry, lengths = problem()
    stack = jnp.stack([lengths, lengths // 3])

    def gradient(lengths: Any) -> Any:
        return jax.grad(lambda x: jnp.sum(run("fused", params, x, carry, lengths)[1] ** 2))(x)

    np.testing.assert_allclose(
        jax.vmap(gradient)(stack), jnp.stack([gradient(one) for one in stack]), atol=1e-6
    )


def test_checkpoint_changes_no_gradient() -> None:
    _, x, _, _ = problem()
    gradient, rematerialised = (
        jax.grad(lambda x, f=f: jnp.sum(f(x) ** 2))(x) for f in (outputs, jax.checkpoint(outputs))
    )
    np.testing.assert_allclose(rematerialised, gradient, atol=1e-6)


@pytest.mark.parametrize("differentiate", [False, True])
def test_an_export_for_any_sizes_gives_the_same(differentiate: bool) -> None:
    params, x, _, lengths = problem()

    def outputs(x: Any, lengths: Any) -> Any:
        return LSTM(len(params["recurrent_kernel"]), reverse=True).apply(
            {"params": {"cell": params}}, x, seq_lengths=lengths
        )

    def gradient(x: Any, lengths: Any) -> Any:
        return jax.grad(lambda x: jnp.sum(outputs(x, lengths) ** 2))(x)

    run = gradient if differentiate else outputs
    batch, time = jax.export.symbolic_shape("batch, time")
    exported = jax.export.export(jax.jit(run))(
        jax.ShapeDtypeStruct((batch, time, x.shape[2]), x.dtype),
        jax.ShapeDtypeStruct((batch,), lengths.dtype),
    )
    np.testing.assert_allclose(exported.call(x, lengths), run(x, lengths), atol=1e-6)


def test_pmap_gives_what_vmap_gives() -> None:
    _, x, _, _ = problem()
    stack = jnp.stack([x, 2 * x, -x, 0 * x])
    np.testing.assert_allclose(jax.pmap(outputs)(stack), jax.vmap(outputs)(stack), atol=1e-6)
