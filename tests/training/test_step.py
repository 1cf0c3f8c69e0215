"""The training step as a pure function, on one device; test_parallel.py has it on several."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numerics import assert_close

from flax_imdb import models
from flax_imdb.data import Batch, Batching, Examples
from flax_imdb.training import TrainState, averaged, create_state, eval_step, train_step

VOCAB_SIZE = 30


def new_state(arch: str, seed: int = 0) -> TrainState:
    config = models.ModelConfig(arch=arch, embedding_features=4, features=6)
    return create_state(models.build(config, VOCAB_SIZE), learning_rate=1e-2, seed=seed)


def batches(count: int, batch_size: int = 8, real: int = 8) -> list[Batch]:
    """Random reviews in batches of 8 rows, of which `real` are more than filling."""
    rng = np.random.default_rng(0)
    reviews = [
        rng.integers(3, VOCAB_SIZE, rng.integers(1, 13)).astype(np.int32)
        for _ in range(count * real)
    ]
    examples = Examples.build(reviews, rng.integers(0, 2, len(reviews)))
    batching = Batching(real, 12, multiple_of=batch_size)
    plan = batching.plan_epoch(examples, seed=0, epoch=1)
    return [batching.make(examples, planned._replace(time=12)) for planned in plan]


class TestOneDevice:
    def test_an_update_is_adams_on_the_mean_loss(self) -> None:
        state = new_state("lstm")
        (batch,) = batches(1, real=5)

        def mean_loss(params: Any) -> jax.Array:
            tokens, lengths = jnp.asarray(batch["tokens"]), jnp.asarray(batch["lengths"])
            logits = state.apply_fn({"params": params}, tokens, lengths)
            losses = optax.sigmoid_binary_cross_entropy(logits[:5, 0], batch["labels"][:5])
            return jnp.mean(losses)

        loss, gradients = jax.jit(jax.value_and_grad(mean_loss))(state.params)
        adam = optax.adam(1e-2, eps=1e-7)
        updates, _ = adam.update(gradients, adam.init(state.params))
        new, metrics = jax.jit(train_step)(state, batch)
        assert_close(new.params, optax.apply_updates(state.params, updates), 1e-4)
        assert new.step == 1
        assert metrics["examples"] == 5
        np.testing.assert_allclose(metrics["loss"] / 5, loss, rtol=1e-6)

    def test_filling_changes_nothing(self) -> None:
        """Not what stands in it, nor how much there is of it."""
        (batch,) = batches(1, batch_size=8, real=5)
        spoilt: Any = dict(batch)
        for name, value in {"tokens": 9, "lengths": 12, "labels": 1, "rows": 3}.items():
            spoilt[name] = batch[name].copy()  # type: ignore[literal-required]
            spoilt[name][5:] = value
        small: Any = {name: array[:5] for name, array in batch.items()}  # type: ignore[attr-defined]
        step = jax.jit(train_step)
        expected = step(new_state("bilstm"), batch)
        for other in (spoilt, small):
            state, metrics = step(new_state("bilstm"), other)
            assert_close((state.params, metrics), (expected[0].params, expected[1]), 2e-5)

    def test_a_batch_of_filling_alone_moves_nothing(self) -> None:
        (batch,) = batches(1)
        empty: Any = {**batch, "weights": np.zeros_like(batch["weights"])}
        state, metrics = jax.jit(train_step)(new_state("lstm"), empty)
        assert metrics["examples"] == 0
        assert_close(state.params, new_state("lstm").params)

    def test_what_is_not_finite_moves_nothing(self) -> None:
        """Neither the parameters nor Adam; the step is counted, so that later ones are the same."""
        step = jax.jit(train_step)
        (batch,) = batches(1)
        before, _ = step(new_state("lstm"), batch)
        for weight in (np.inf, np.nan, 3e38):
            sick: Any = {**batch, "weights": np.full_like(batch["weights"], weight)}
            after, metrics = step(before, sick)
            assert not np.isfinite([metrics["loss"], metrics["gradient_norm"]]).all()
            assert after.step == 2
            jax.tree.map(
                np.testing.assert_array_equal,
                (after.params, after.opt_state),
                (before.params, before.opt_state),
            )

    def test_clipping_is_by_the_norm_of_all_gradients(self) -> None:
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

    @pytest.mark.parametrize("power", [0, 3])
    def test_the_average_of_the_parameters_weighs_a_step_by_a_power_of_its_number(
        self, power: float
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

    def test_without_averaging_the_last_parameters_are_evaluated(self) -> None:
        state = new_state("lstm")
        assert averaged(state) is state

    def test_several_classes(self) -> None:
        model = models.build(models.ModelConfig(features=6), VOCAB_SIZE, num_classes=3)
        state = create_state(model, learning_rate=1e-2, seed=0)
        (batch,) = batches(1)
        batch["labels"] = np.arange(8, dtype=np.int32) % 3
        losses = []
        step = jax.jit(train_step)
        for _ in range(60):
            state, metrics = step(state, batch)
            losses.append(float(metrics["loss"]) / 8)
        np.testing.assert_allclose(losses[0], np.log(3), atol=0.1)
        assert losses[-1] < 0.5
        assert jax.jit(eval_step)(state, batch)["correct"] == 8

    def test_the_same_seed_gives_the_same_bits(self) -> None:
        step = jax.jit(train_step)

        def parameters(seed: int) -> Any:
            state = new_state("bilstm", seed)
            for batch in batches(3):
                state, _ = step(state, batch)
            return state.params

        first, second, other = parameters(1), parameters(1), parameters(2)
        jax.tree.map(np.testing.assert_array_equal, first, second)
        assert any(
            bool((a != b).any())
            for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(other), strict=True)
        )

    def test_every_step_drops_anew(self) -> None:
        (batch,) = batches(1)
        state = new_state("lstm_dropout").replace(tx=optax.set_to_zero())
        state = state.replace(opt_state=state.tx.init(state.params))
        first, metrics = jax.jit(train_step)(state, batch)
        _, again = jax.jit(train_step)(state, batch)
        _, next_metrics = jax.jit(train_step)(first, batch)
        assert metrics["loss"] == again["loss"]
        assert metrics["loss"] != next_metrics["loss"]
