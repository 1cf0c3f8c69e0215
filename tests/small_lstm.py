"""A small LSTM: its sizes, inputs and parameters."""

import jax
import jax.numpy as jnp
import numpy as np

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
