"""LSTMs to compute with every implementation, and the comparison with the scan over the cell."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flax_imdb.layers import LSTM

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


def assert_same(implementation: str, problem: Any, tolerance: float = 2e-6, **layer: Any) -> None:
    """It gives the values and gradients of the scan, and their dtypes."""
    ours = values_and_gradients(implementation, problem, **layer)
    reference = values_and_gradients("scan", problem, **layer)

    def compare(a: jax.Array, b: jax.Array) -> None:
        assert a.dtype == b.dtype
        scale = tolerance * max(1.0, float(jnp.abs(b.astype(jnp.float32)).max()))
        np.testing.assert_allclose(
            a.astype(jnp.float32), b.astype(jnp.float32), rtol=tolerance, atol=scale
        )

    jax.tree.map(compare, ours, reference)
