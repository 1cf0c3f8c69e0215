"""Derivatives of the fused implementation in every mode, against those of the scan."""

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lstm_problems import BOTH, problem, run
from numerics import assert_close

from flax_imdb.layers import LSTM, Bidirectional

DIFFERENTIATED = {
    "forward": LSTM(2, **BOTH),
    "last output in reverse": LSTM(2, reverse=True, return_sequences=False),
    "both directions": Bidirectional(LSTM(2)),
    "rematerialised": LSTM(2, remat_steps=2),
}

MODES = {
    "jvp": lambda f, x: jax.jvp(f, (x,), (x,))[1],
    "jacfwd": lambda f, x: jax.jacfwd(f)(x),
    "linearize": lambda f, x: jax.linearize(f, x)[1](x),
    "hessian": lambda f, x: jax.hessian(f)(x),
    "forward over forward": lambda f, x: jax.jacfwd(jax.jacfwd(f))(x),
    "reverse over forward": lambda f, x: jax.jacrev(jax.jacfwd(f))(x),
    "reverse over reverse": lambda f, x: jax.jacrev(jax.jacrev(f))(x),
    "vmap of jvp": lambda f, x: jax.vmap(lambda y: jax.jvp(f, (y,), (x,))[1])(jnp.stack([x, -x])),
}


@pytest.mark.parametrize(
    ("layer", "mode"),
    [
        *(("forward", mode) for mode in MODES),
        *itertools.product(list(DIFFERENTIATED)[1:], ["jvp", "hessian", "reverse over reverse"]),
    ],
)
def test_differentiates_in_every_mode_as_the_scan(layer: str, mode: str) -> None:
    with jax.enable_x64(True):
        ours, scan = (
            _derivative(DIFFERENTIATED[layer], implementation, mode)
            for implementation in ("auto", "scan")
        )
        np.testing.assert_allclose(ours, scan, rtol=1e-9, atol=1e-11)
        assert jnp.abs(ours).max() > 0


def _derivative(layer: Any, implementation: str, mode: str) -> jax.Array:
    of = (layer.layer if isinstance(layer, Bidirectional) else layer).clone(
        implementation=implementation, param_dtype=jnp.float64
    )
    layer = layer.clone(layer=of) if isinstance(layer, Bidirectional) else of
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 2)))
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    variables = layer.init(keys, x)

    def loss(x: Any) -> jax.Array:
        call = {"deterministic": False, "rngs": keys}
        return jnp.sum(jnp.sin(layer.apply(variables, x, seq_lengths=[3, 1], **call)))

    return jax.jit(lambda x: MODES[mode](loss, x))(x)


def test_a_gradient_runs_no_loop_for_other_modes() -> None:
    """One loop forward, and one backward with the loop over a chunk in it."""
    params, x, carry, lengths = problem()
    gradient = jax.grad(lambda x: jnp.sum(run("fused", params, x, carry, lengths)[1] ** 2))
    assert jax.jit(gradient).lower(x).as_text().count("stablehlo.while") == 3


def test_second_derivatives_by_the_parameters_are_those_of_the_scan() -> None:
    params, x, carry, lengths = problem(time=3)

    @partial(jax.jit, static_argnums=0)
    def hessian_times_params(implementation: str, params: Any) -> Any:
        def loss(params: Any) -> Any:
            return jnp.sum(run(implementation, params, x, carry, lengths)[1] ** 2)

        return jax.jvp(jax.grad(loss), (params,), (params,))[1]

    assert_close(*(hessian_times_params(name, params) for name in ("fused", "scan")), 1e-4)
