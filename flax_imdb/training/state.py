"""Everything that a training step reads and renews."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax.training import train_state
from jaxtyping import Array, Int, Key

from flax_imdb.models import Classifier


class TrainState(train_state.TrainState):
    """Flax's ``TrainState`` (step, params, optimizer state) with the key of the run's dropout.

    Attributes:
      dropout_key: every step folds its number into it; it never changes.
    """

    dropout_key: Key[Array, ""]


class AverageParamsState(NamedTuple):
    """The state of `average_params`.

    Attributes:
      steps: number of steps.
      average: of the parameters after each of them.
    """

    steps: Int[Array, ""]
    average: optax.Params


def average_params(power: float) -> optax.GradientTransformation:
    """Keep a running average of the parameters, in which step t has a weight of about t**power.

    The last of a chain: it needs the final updates, and does not change them. `averaged` gives a
    state these parameters. Source: polynomial-decay averaging (Shamir and Zhang 2013, section 4).
    """

    def init(params: optax.Params) -> AverageParamsState:
        return AverageParamsState(jnp.zeros([], jnp.int32), params)

    def update(
        updates: optax.Updates, state: AverageParamsState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, AverageParamsState]:
        steps = optax.safe_increment(state.steps)
        updated = optax.apply_updates(params, updates)
        weight = (power + 1) / (power + steps)
        return updates, AverageParamsState(
            steps, optax.incremental_update(updated, state.average, weight)
        )

    return optax.GradientTransformation(init, update)


def averaged(state: TrainState) -> TrainState:
    """The state with the average of its parameters, where its optimizer keeps one."""
    average = optax.tree.get(state.opt_state, "average")
    return state if average is None else state.replace(params=average)


def create_state(
    model: Classifier,
    *,
    learning_rate: float,
    seed: int,
    clip_norm: float | None = None,
    averaging: float | None = None,
) -> TrainState:
    """A model at step 0 with Adam, its parameters drawn from `seed`.

    With `clip_norm` a longer gradient is scaled to that norm first (Pascanu et al. 2013), and with
    `averaging` the parameters are averaged (see `average_params`).
    Adam's constants are those of Keras's (epsilon 1e-7); optax adds epsilon after the bias
    correction, as Kingma and Ba 2015 do in their algorithm 1, and Keras before it.
    """
    optimizer = optax.adam(learning_rate, eps=1e-7)
    if clip_norm is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(clip_norm), optimizer)
    if averaging is not None:
        optimizer = optax.chain(optimizer, average_params(averaging))

    @jax.jit  # All of it: op by op, each is compiled by itself.
    def create(key: Key[Array, ""]) -> TrainState:
        params_key, dropout_key = jax.random.split(key)
        return TrainState.create(
            apply_fn=model.apply,
            params=model.init(params_key, jnp.zeros((1, 8), jnp.int32))["params"],
            tx=optimizer,
            dropout_key=dropout_key,
        )

    # Named, since JAX_DEFAULT_PRNG_IMPL must not change what is drawn.
    state: TrainState = create(jax.random.key(seed, impl="threefry2x32"))
    return state
