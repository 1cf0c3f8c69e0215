"""Rematerialisation over time: less memory, the same numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from numerics import assert_close

from flax_imdb.layers import LSTM, Bidirectional, SequenceLayer


def values_and_gradients(layer: SequenceLayer, time: int = 23, in_features: int = 4) -> Any:
    """Of a loss that looks at all that comes out, by the parameters and the inputs."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(5, time, in_features)), jnp.float32)
    lengths = jnp.array([time, 0, 1, time // 2, time - 1])
    variables = layer.init(jax.random.key(0), x, lengths)

    def loss(variables: Any, x: Any) -> Any:
        results = layer.apply(
            variables, x, lengths, deterministic=False, rngs={"dropout": jax.random.key(1)}
        )
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(results)), results

    return variables, jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(variables, x)


@pytest.mark.parametrize("implementation", ["scan", "fused"])
@pytest.mark.parametrize(("reverse", "return_sequences"), [(False, True), (True, False)])
def test_changes_no_number(implementation: str, reverse: bool, return_sequences: bool) -> None:
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
def test_of_any_length(time: int, steps: int) -> None:
    layer = LSTM(3)
    assert_close(
        values_and_gradients(layer.clone(remat_steps=steps), time),
        values_and_gradients(layer, time),
    )


def test_in_both_directions_and_with_other_cells() -> None:
    layer = LSTM(6, cell=nn.GRUCell, return_sequences=False)
    plain, remat = (Bidirectional(one) for one in (layer, layer.clone(remat_steps=4)))
    assert_close(values_and_gradients(remat), values_and_gradients(plain))


@pytest.mark.parametrize("implementation", ["scan", "fused"])
def test_takes_less_memory(implementation: str) -> None:
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
def test_a_number_of_steps_that_makes_no_sense(steps: int) -> None:
    with pytest.raises(ValueError, match=f"remat_steps is {steps}: 1 or more is needed"):
        LSTM(3, remat_steps=steps).init(jax.random.key(0), jnp.zeros((1, 4, 2)))
