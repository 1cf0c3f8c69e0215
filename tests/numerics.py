"""Comparison of trees of arrays."""

from typing import Any

import jax
import numpy as np


def assert_close(ours: Any, theirs: Any, tolerance: float = 1e-5) -> None:
    """Assert that all leaves are equal within a relative plus absolute `tolerance`."""
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), ours, theirs
    )
