"""The layers where JAX is told to forbid what is likely to be a mistake."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from flax_imdb import models
from flax_imdb.layers import LSTM, Bidirectional, global_pool

# Of these every layer, in both directions, with every kind of dropout.
MODULES = [
    *(models.build(models.ModelConfig(arch, 2, 2), 9) for arch in ("conv_lstm_dropout", "bilstm")),
    Bidirectional(LSTM(2)),
]
LENGTHS = [3, 0, 1]


@functools.cache
def initial_variables() -> list[Any]:
    def init(key: Any) -> list[Any]:
        return [
            module.init(key, given, **lengths_of(module))
            for module, given in with_inputs(MODULES, inputs())
        ]

    return jax.jit(init)(jax.random.key(0))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "settings",
    [
        {
            "jax_numpy_rank_promotion": "raise",
            "jax_numpy_dtype_promotion": "strict",
            "jax_debug_nans": True,
            "jax_debug_infs": True,
            "jax_check_tracer_leaks": True,
            "jax_legacy_prng_key": "error",
        },
        {"jax_enable_x64": True},
        {"jax_disable_jit": True},
    ],
    ids=["strict", "x64", "disable_jit"],
)
def test_values_and_gradients_are_finite_in_every_mode(settings: dict[str, Any]) -> None:
    # Without jit each operation is compiled alone, which takes long.
    modules = MODULES[:1] if "jax_disable_jit" in settings else MODULES
    variables = initial_variables()
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    try:
        value, gradients = value_and_gradients(modules, variables)
    finally:
        for name, value_before in before.items():
            jax.config.update(name, value_before)
    leaves = jax.tree.leaves((value, gradients))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in leaves)


def value_and_gradients(modules: Any, variables: Any) -> Any:
    """Of one sum of squares of all that the layers give, in training."""
    x, rngs = inputs(), {"dropout": jax.random.key(1)}

    def loss(variables: Any, x: Any) -> Any:
        results = [
            module.apply(of_module, given, **lengths_of(module), deterministic=False, rngs=rngs)
            for (module, given), of_module in zip(with_inputs(modules, x), variables, strict=False)
        ]
        results += [global_pool(x, LENGTHS, pooling) for pooling in ("max", "mean")]
        return sum(jnp.sum(leaf**2) for leaf in results)

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(variables, x)


def inputs() -> jax.Array:
    return jax.random.normal(jax.random.key(2), (3, 3, 2))


def lengths_of(module: Any) -> dict[str, Any]:
    """The classifier has a call of its own."""
    return {"lengths" if isinstance(module, models.Classifier) else "seq_lengths": LENGTHS}


def with_inputs(modules: Any, x: Any) -> list[tuple[Any, Any]]:
    tokens = jnp.ones((3, 3), jnp.int32)
    return [(m, tokens if isinstance(m, models.Classifier) else x) for m in modules]
