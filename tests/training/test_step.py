"""The training step as a pure function, on one device; test_parallel.py has it on several."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numerics import assert_close
from step_problems import VOCAB_SIZE, batches, new_state

from flax_imdb import models
from flax_imdb.training import create_state, eval_step, train_step


class TestTrainStep:
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
        for name, value in {"tokens": 9, "lengths": 12, "labels": 1, "example_ids": 3}.items():
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

    def test_several_classes_are_learnt(self) -> None:
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
