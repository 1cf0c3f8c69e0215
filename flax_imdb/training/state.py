"""The training state."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from flax.core import unfreeze
from flax.training import train_state
from jaxtyping import Array, Int, Key

from flax_imdb.models import Classifier


class TrainState(train_state.TrainState):
    """Flax's ``TrainState`` (step, params, optimizer state) with constants and a dropout key.

    Attributes:
      constants: the model's variables that are not trained.
      dropout_key: the run's dropout key, into which each step folds its number.
      frozen: names of the modules whose parameters are not trained, either. Gradients and optimizer
        state have none for them.
    """

    constants: Any
    dropout_key: Key[Array, ""]
    frozen: tuple[str, ...] = struct.field(pytree_node=False, default=())

    @property
    def trained(self) -> dict[str, Any]:
        """The parameters that are trained."""
        return {name: value for name, value in self.params.items() if name not in self.frozen}

    def apply(self, variables: Mapping[str, Any], *args: Any, **options: Any) -> Any:
        """Apply the model with these variables, such as ``{"params": params}``, and constants.

        Frozen parameters may be missing in `variables`: they are the state's.
        """
        frozen = {name: self.params[name] for name in self.frozen}
        params = {**frozen, **variables["params"]}
        return self.apply_fn(
            {"constants": self.constants, **variables, "params": params}, *args, **options
        )

    def apply_gradients(self, *, grads: Any, **options: Any) -> "TrainState":
        """The state after a step of the optimizer, given the gradients of `trained`."""
        updates, opt_state = self.tx.update(grads, self.opt_state, self.trained)
        trained = optax.apply_updates(self.trained, updates)
        return self.replace(
            step=self.step + 1, params={**self.params, **trained}, opt_state=opt_state, **options
        )


class AverageParamsState(NamedTuple):
    """The state of `average_params`.

    Attributes:
      steps: number of steps.
      average: the averaged parameters.
    """

    steps: Int[Array, ""]
    average: optax.Params


def average_params(power: float) -> optax.GradientTransformation:
    """Keep a running average of the parameters, in which step t has a weight of about t**power.

    It must be last in a chain, since it needs the final updates, and does not change them. Use
    `averaged` to get the averaged parameters.

    Source: polynomial-decay averaging (Shamir and Zhang 2013, section 4).
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
    """The state with the averaged parameters, if its optimizer keeps them; else unchanged."""
    average = optax.tree.get(state.opt_state, "average")
    return state if average is None else state.replace(params={**state.params, **average})


def to_evaluate(state: TrainState) -> TrainState:
    """What evaluation and prediction need of a state: it has no optimizer state."""
    return averaged(state).replace(opt_state=())


def restarted(state: TrainState, evaluated: TrainState) -> TrainState:
    """A state from which training could go on, with the parameters of one that is evaluated.

    Args:
      state: a state of the same model at step 0, for its optimizer state.
      evaluated: from `to_evaluate`.
    """
    opt_state = state.opt_state
    if optax.tree.get(opt_state, "average") is not None:
        # A copy: steps overwrite both.
        average = jax.tree.map(jnp.copy, evaluated.trained)
        opt_state = optax.tree.set(opt_state, average=average)
    return evaluated.replace(opt_state=opt_state)


def saved_arrays(state: TrainState) -> dict[str, Any]:
    """What is saved of a state, in NumPy arrays; the rest follows from the configuration.

    ``state.replace(**saved)`` restores it in another state of the same model.
    """
    saved = {"step": state.step, "params": state.params, "opt_state": state.opt_state}
    if state.constants:  # Earlier versions knew none.
        saved["constants"] = state.constants
    # A copy: NumPy would look into memory that the next step overwrites.
    return jax.tree.map(np.array, saved)


def state_creator(
    model: Classifier,
    *,
    learning_rate: optax.ScalarOrSchedule,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    averaging: float | None = None,
    frozen: tuple[str, ...] = (),
    features: int | None = None,
) -> Callable[[int], TrainState]:
    """A function that creates the state of a model at step 0 from a seed.

    `features` is the number of features of each step, if the model reads numeric sequences.

    It is compiled once, and its states run in the same compiled steps. For the other arguments see
    `create_state`.
    """
    if weight_decay == 0:
        optimizer = optax.adam(learning_rate, eps=1e-7)
    else:
        optimizer = optax.adamw(
            learning_rate,
            eps=1e-7,
            weight_decay=weight_decay,
            mask=lambda params: jax.tree.map(lambda leaf: jnp.ndim(leaf) > 1, params),
        )
    if clip_norm is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(clip_norm), optimizer)
    if averaging is not None:
        optimizer = optax.chain(optimizer, average_params(averaging))

    inputs = jnp.zeros((1, 8), jnp.int32) if features is None else jnp.zeros((1, 8, features))

    @jax.jit  # One program, instead of one for each operation.
    def create(key: Key[Array, ""]) -> TrainState:
        params_key, dropout_key = _keys(key)
        # Plain dictionaries, whatever FLAX_RETURN_FROZENDICT says.
        variables = unfreeze(model.init(params_key, inputs))
        state = TrainState(
            step=0,
            apply_fn=model.apply,
            params=variables["params"],
            tx=optimizer,
            opt_state=(),
            constants=variables.get("constants", {}),
            dropout_key=dropout_key,
            frozen=frozen,
        )
        return state.replace(opt_state=optimizer.init(state.trained))

    return lambda seed: create(_key(seed))


def empty_state(create: Callable[[int], TrainState], seed: int) -> TrainState:
    """A state to restore saved arrays in: of what is saved it has zeros.

    It takes a fraction of the time that `create` itself does.

    Args:
      create: creates a state (see `state_creator`); it is traced, and not run.
      seed: its seed.
    """
    shapes = jax.eval_shape(lambda: create(seed)).replace(dropout_key=None)
    zeros: TrainState = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return zeros.replace(dropout_key=_keys(_key(seed))[1])


def _key(seed: int) -> Key[Array, ""]:
    # Explicit, since JAX_DEFAULT_PRNG_IMPL must not change the random numbers.
    return jax.random.key(seed, impl="threefry2x32")


def _keys(key: Key[Array, ""]) -> tuple[Key[Array, ""], Key[Array, ""]]:
    """Those of the parameters and of dropout."""
    params_key, dropout_key = jax.random.split(key)
    return params_key, dropout_key


def create_state(
    model: Classifier,
    *,
    learning_rate: optax.ScalarOrSchedule,
    seed: int,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    averaging: float | None = None,
    frozen: tuple[str, ...] = (),
) -> TrainState:
    """Create the state of a model at step 0, with Adam and parameters initialized from `seed`.

    With `clip_norm`, gradients are clipped to that global norm first (Pascanu et al. 2013). With
    `weight_decay`, all parameters but biases decay (Loshchilov and Hutter 2019, algorithm 2). With
    `averaging`, the parameters are averaged (see `average_params`). Those of the modules named in
    `frozen` stay as they are. Adam has Keras's constants (epsilon 1e-7). optax adds epsilon after
    the bias correction, as in algorithm 1 of Kingma and Ba 2015; Keras adds it before.
    """
    create = state_creator(
        model,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        averaging=averaging,
        frozen=frozen,
    )
    return create(seed)
