"""Comparison of an implementation of the LSTM with the scan over the cell."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from parity import BOTH, problem, run, values_and_gradients

__all__ = ["BOTH", "assert_same", "problem", "run"]


def assert_same(implementation: str, problem: Any, tolerance: float = 2e-6, **layer: Any) -> None:
    """Assert that values, gradients and dtypes equal those of the scan."""
    ours = values_and_gradients(implementation, problem, **layer)
    reference = values_and_gradients("scan", problem, **layer)

    def compare(a: jax.Array, b: jax.Array) -> None:
        assert a.dtype == b.dtype
        scale = tolerance * max(1.0, float(jnp.abs(b.astype(jnp.float32)).max()))
        np.testing.assert_allclose(
            a.astype(jnp.float32), b.astype(jnp.float32), rtol=tolerance, atol=scale
        )

    jax.tree.map(compare, ours, reference)
