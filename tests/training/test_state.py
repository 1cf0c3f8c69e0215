"""The state: clipping of its gradients, and the average of its parameters."""

import functools
import math
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numerics import assert_close
from step_problems import VOCAB_SIZE, batches, new_state

from flax_imdb import models
from flax_imdb.training import (
    Objective,
    TrainState,
    averaged,
    create_state,
    empty_state,
    restarted,
    saved_arrays,
    state_creator,
    to_evaluate,
    train_step,
)


def test_parameters_are_plain_dictionaries_whatever_flax_is_set_to() -> None:
    """A compiled step takes the kind of dictionaries that it was compiled for, and no other."""
    config = models.ModelConfig(embedding_features=4, features=6)
    model = models.build(config, VOCAB_SIZE)
    with flax.config.temp_flip_flag("return_frozendict", True):
        state = create_state(model, learning_rate=1e-2, seed=0)
    assert type(state.params) is dict
    assert type(state.params["embedding"]) is dict


def test_clipping_is_by_the_norm_of_all_gradients() -> None:
    model = models.build(models.ModelConfig(embedding_features=4, features=6), VOCAB_SIZE)
    (batch,) = batches(1)

    def first_moment(clip_norm: float | None) -> tuple[float, float]:
        state = create_state(model, learning_rate=1e-2, seed=0, clip_norm=clip_norm)
        state, metrics = jax.jit(train_step)(state, batch)
        moments = jax.tree.leaves(optax.tree.get(state.opt_state, "mu"))
        squares = [np.sum(np.square(moment, dtype=np.float64)) for moment in moments]
        return float(np.sqrt(sum(squares))) / 0.1, float(metrics["gradient_norm"])

    norm, reported = first_moment(None)
    np.testing.assert_allclose(reported, norm, rtol=1e-5)
    for clip_norm, expected in ((norm / 3, norm / 3), (norm * 3, norm)):
        clipped, unclipped = first_moment(clip_norm)
        np.testing.assert_allclose(clipped, expected, rtol=1e-5)
        np.testing.assert_allclose(unclipped, norm, rtol=1e-5)


def test_weights_decay_apart_from_the_gradient() -> None:
    """Each loses the learning rate times the decay of itself; biases do not."""
    config = models.ModelConfig(embedding_features=4, features=6)
    model = models.build(config, VOCAB_SIZE)
    (batch,) = batches(1)
    first = create_state(model, learning_rate=1e-2, seed=0)
    plain, _ = jax.jit(train_step)(first, batch)
    decayed, _ = jax.jit(train_step)(
        create_state(model, learning_rate=1e-2, seed=0, weight_decay=0.5), batch
    )
    expected = jax.tree.map(
        lambda new, old: new - (1e-2 * 0.5 * old if old.ndim > 1 else 0),
        plain.params,
        first.params,
    )
    assert_close(decayed.params, expected, 1e-6)


@pytest.mark.parametrize("power", [0, 3])
def test_the_average_of_the_parameters_weighs_a_step_by_a_power_of_its_number(
    power: float,
) -> None:
    model = models.build(models.ModelConfig(embedding_features=4, features=6), VOCAB_SIZE)
    state = create_state(model, learning_rate=1e-2, seed=0, averaging=power)
    step = jax.jit(train_step)
    after = []
    for batch in batches(6):
        state, _ = step(state, batch)
        after.append(jax.device_get(state.params))
    # Rising factorials t (t + 1) ... (t + power - 1): about t**power.
    weights = [math.prod(range(t, t + power)) for t in range(1, 7)]
    expected = jax.tree.map(lambda *params: np.average(params, axis=0, weights=weights), *after)
    assert_close(averaged(state).params, expected, 1e-6)


def test_an_empty_state_is_a_state_of_zeros_but_for_what_is_not_saved() -> None:
    config = models.ModelConfig(embedding_features=4, features=6, wide_ngrams=2, wide_buckets=8)
    create = state_creator(models.build(config, VOCAB_SIZE), learning_rate=1e-2, averaging=3)
    state, empty = create(5), empty_state(create, 5)
    saved, zeros = saved_arrays(state), saved_arrays(empty)
    jax.tree.map(np.testing.assert_array_equal, zeros, jax.tree.map(np.zeros_like, saved))
    assert jax.random.key_data(empty.dropout_key).tolist() == (
        jax.random.key_data(state.dropout_key).tolist()
    )
    restored = empty.replace(**saved)
    assert jax.tree.structure(restored) == jax.tree.structure(state)


def test_without_averaging_the_last_parameters_are_evaluated() -> None:
    state = new_state("lstm")
    assert averaged(state) is state


@pytest.mark.parametrize("averaging", [None, 3.0])
def test_a_restarted_state_has_the_evaluated_parameters_and_can_be_trained(
    averaging: float | None,
) -> None:
    model = models.build(models.ModelConfig(embedding_features=4, features=6), VOCAB_SIZE)
    (batch,) = batches(1)
    first = create_state(model, learning_rate=1e-2, seed=0, averaging=averaging)
    trained, _ = jax.jit(train_step)(first, batch)
    state = restarted(first, to_evaluate(trained))
    jax.tree.map(np.testing.assert_array_equal, averaged(state).params, to_evaluate(trained).params)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(optax.tree.get(state.opt_state, "mu")))
    again, _ = jax.jit(train_step)(state, batch)
    assert int(again.step) == 2


def trained(steps: int, frozen: bool, how: Any = None, **options: Any) -> tuple[TrainState, Any]:
    """A state after so many steps, its embedding frozen or not, and the last step's metrics."""
    model = models.build(models.ModelConfig(embedding_features=4, features=6), VOCAB_SIZE)
    settings = {"weight_decay": 0.5, "clip_norm": 0.01, "averaging": 3.0, **options}
    names = ("embedding",) if frozen else ()
    state = create_state(model, learning_rate=1e-2, seed=0, frozen=names, **settings)
    step, metrics = jax.jit(functools.partial(train_step, **(how or {}))), None
    for batch in batches(steps):
        state, metrics = step(state, batch)
    return state, metrics


class TestFrozen:
    """Parameters that are not trained."""

    @pytest.mark.parametrize(
        "how", [{}, {"microbatches": 2}, {"objective": Objective(0.1, adversarial_norm=0.3)}]
    )
    def test_they_stay_as_they_were_to_the_bit(self, how: dict[str, Any]) -> None:
        (first, _), (state, _) = trained(0, frozen=True), trained(3, frozen=True, how=how)
        for each in (state, averaged(state)):
            assert each.params.keys() == first.params.keys()
            np.testing.assert_array_equal(
                each.params["embedding"]["embedding"], first.params["embedding"]["embedding"]
            )
            assert not np.any(each.params["head"]["kernel"] == first.params["head"]["kernel"])

    def test_the_optimizer_keeps_nothing_for_them(self) -> None:
        state, _ = trained(1, frozen=True)
        shapes = {np.shape(leaf) for leaf in jax.tree.leaves(state.opt_state)}
        assert state.params["embedding"]["embedding"].shape not in shapes
        assert state.params["head"]["kernel"].shape in shapes

    def test_their_gradient_counts_in_no_norm(self) -> None:
        """Neither in the reported one nor in that which is clipped."""
        state, _ = trained(0, frozen=False)
        batch = jax.tree.map(jnp.asarray, batches(1)[0])

        def loss(params: Any) -> Any:
            logits = state.apply({"params": params}, batch["tokens"], batch["lengths"])
            return jnp.mean(optax.sigmoid_binary_cross_entropy(logits[:, 0], batch["labels"]))

        grads = jax.grad(loss)(state.params)
        del grads["embedding"]
        norm = float(optax.tree.norm(grads))
        state, metrics = trained(1, frozen=True, clip_norm=norm / 3)
        np.testing.assert_allclose(metrics["gradient_norm"], norm, rtol=1e-5)
        moment = optax.tree.norm(optax.tree.get(state.opt_state, "mu"))
        np.testing.assert_allclose(moment, 0.1 * norm / 3, rtol=1e-5)

    def test_the_others_are_trained_as_they_would_be(self) -> None:
        """For a step: from the second on their gradients differ."""
        settings = {"clip_norm": None, "averaging": None}
        (state, _), (whole, _) = (trained(1, frozen, **settings) for frozen in (True, False))
        for name in ("encoder_0", "head"):
            assert_close(state.params[name], whole.params[name], 1e-6)
        assert np.any(
            state.params["embedding"]["embedding"] != whole.params["embedding"]["embedding"]
        )

    def test_a_restarted_state_can_be_trained_and_its_buffers_given_away(self) -> None:
        (first, _), (evaluated, _) = trained(0, frozen=True), trained(3, frozen=True)
        state = restarted(first, to_evaluate(evaluated))
        again, _ = jax.jit(train_step, donate_argnums=0)(state, batches(1)[0])
        assert int(again.step) == 4
