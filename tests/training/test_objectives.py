"""What training minimizes: label smoothing and adversarial training, against their formulas."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from numerics import assert_close
from step_problems import VOCAB_SIZE, batches

from flax_imdb import models
from flax_imdb.data import Batch
from flax_imdb.layers import Window, hash_ngrams
from flax_imdb.models import Heads, ModelConfig, Wide
from flax_imdb.models.architectures import Pooling
from flax_imdb.models.wide import NGRAM_HASHES
from flax_imdb.training import Objective, TrainState, create_state, cross_entropy, train_step
from flax_imdb.training.objectives import perturbation

KEY = jax.random.key(3)


class Linear(nn.Module):
    """A classifier so simple that its adversary can be worked out by hand."""

    @nn.compact
    def __call__(self, tokens: Any, lengths: Any, **drawn: Any) -> Any:
        x = self.perturb("embedded", nn.Embed(VOCAB_SIZE, 3, name="embedding")(tokens))
        valid = jnp.arange(tokens.shape[1]) < jnp.asarray(lengths)[:, None]
        return nn.Dense(1, name="head")(jnp.where(valid[..., None], x, 0).sum(axis=1))

    def heads(self, *args: Any, **drawn: Any) -> Any:
        logits = self(*args, **drawn)
        return Heads(logits, (logits,))


def gradients(objective: Objective, apply_fn: Any, params: Any, batch: Batch) -> Any:
    return jax.jit(partial(objective.gradients, apply_fn))(params, batch, KEY)


def adversarial(norm: float) -> Objective:
    return Objective(adversarial_norm=norm)


class TestLabelSmoothing:
    @pytest.mark.parametrize("classes", [1, 3])
    def test_is_the_cross_entropy_with_mixed_targets(self, classes: int) -> None:
        rng = np.random.default_rng(0)
        logits = rng.normal(size=(6, classes)).astype(np.float32)
        labels = rng.integers(0, max(classes, 2), 6)
        both = np.concatenate([np.zeros_like(logits), logits], 1) if classes == 1 else logits
        log_probabilities = both - np.log(np.exp(both).sum(axis=1, keepdims=True))
        targets = 0.8 * np.eye(both.shape[1])[labels] + 0.2 / both.shape[1]
        np.testing.assert_allclose(
            cross_entropy(jnp.asarray(logits), labels, 0.2),
            -(targets * log_probabilities).sum(axis=1),
            rtol=1e-5,
        )

    def test_changes_the_gradient_and_not_the_metrics(self) -> None:
        state, batch = new_state(), batches(1, real=5)[0]
        (_, plain), (grads, smooth) = (
            gradients(objective, state.apply_fn, state.params, batch)
            for objective in (Objective(), Objective(label_smoothing=0.2))
        )
        assert_close(smooth, plain, 1e-6)

        @jax.jit
        def loss(params: Any) -> Any:
            tokens, lengths = jnp.asarray(batch["tokens"]), jnp.asarray(batch["lengths"])
            logits = state.apply_fn({"params": params}, tokens, lengths)
            return jnp.sum(cross_entropy(logits, batch["labels"], 0.2) * batch["weights"])

        assert_close(grads, jax.grad(loss)(state.params), 1e-5)


class TestHeads:
    """Of a classifier with a second head, for n-grams: each learns as if it were alone."""

    @pytest.mark.parametrize("objective", [Objective(), Objective(label_smoothing=0.2)])
    def test_each_has_the_gradient_of_its_own_loss(self, objective: Objective) -> None:
        (batch,) = batches(1, real=5)
        state = new_state(wide_ngrams=2, wide_buckets=50, wide_weight=0.7)
        deep_alone = new_state()
        hashes = np.asarray(hash_ngrams(jnp.asarray(batch["tokens"]), 1, NGRAM_HASHES)).ravel()
        owners = np.full(50, -1, np.int32)
        owners[hashes % 50] = hashes
        constants = {"owners": jnp.asarray(owners), "log_ratios": jax.random.normal(KEY, (50, 1))}
        state = state.replace(constants={"wide": constants})
        params = {**state.params, **deep_alone.params}
        params["wide"] = {
            name: jax.random.normal(jax.random.key(1), leaf.shape)
            for name, leaf in params["wide"].items()
        }
        grads, metrics = gradients(objective, state.apply, params, batch)
        expected, _ = gradients(objective, deep_alone.apply_fn, deep_alone.params, batch)
        assert_close({name: grads[name] for name in expected}, expected, 1e-5)

        tokens, lengths = jnp.asarray(batch["tokens"]), jnp.asarray(batch["lengths"])

        @jax.jit
        def loss_of_wide(wide: Any) -> Any:
            variables = {"params": wide, "constants": constants}
            logits = Wide(1, 2, 50).apply(variables, tokens, lengths)
            losses = cross_entropy(logits, batch["labels"], objective.label_smoothing)
            return jnp.sum(losses * batch["weights"])

        assert_close(grads["wide"], jax.grad(loss_of_wide)(params["wide"]), 1e-5)
        assert jnp.abs(grads["wide"]["weights"]).max() > 0
        logits = state.apply({"params": params}, tokens, lengths)
        loss = jnp.sum(cross_entropy(logits, batch["labels"]) * batch["weights"])
        np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)  # Of the heads' mean.


class TestAdversarial:
    def test_the_perturbation_has_the_norm_and_the_direction_of_the_slope(self) -> None:
        slope = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
        slope[2] = 0
        slope[3] *= 1e-30  # Whose squares are 0 in float32.
        flat = np.asarray(perturbation(jnp.asarray(slope), 0.7)).reshape(4, -1)
        np.testing.assert_allclose(np.linalg.norm(flat, axis=1), [0.7, 0.7, 0, 0.7], rtol=1e-5)
        for row in (0, 1, 3):
            direction = slope[row].ravel() / np.abs(slope[row]).max()
            np.testing.assert_allclose(
                flat[row], 0.7 * direction / np.linalg.norm(direction), rtol=1e-4
            )

    def test_a_linear_classifiers_adversary_is_worked_out_by_hand(self) -> None:
        """The worst step is along the head's kernel, away from the label, alike at all steps."""
        model, (batch,) = Linear(), batches(1)
        params = model.init(KEY, batch["tokens"], batch["lengths"])["params"]
        grads, _ = gradients(adversarial(0.4), model.apply, params, batch)
        kernel = np.asarray(params["head"]["kernel"], np.float64)[:, 0]
        embedded = np.asarray(params["embedding"]["embedding"], np.float64)[batch["tokens"]]
        valid = np.arange(12) < batch["lengths"][:, None]
        summed = (embedded * valid[..., None]).sum(axis=1)
        sign = 1 - 2 * batch["labels"]
        away = sign[:, None] * kernel / np.linalg.norm(kernel) * np.sqrt(batch["lengths"])[:, None]
        expected = 0.0
        for inputs in (summed, summed + 0.4 * away):
            logits = inputs @ kernel + float(params["head"]["bias"][0])
            expected += ((1 / (1 + np.exp(-logits)) - batch["labels"])[:, None] * inputs).sum(0)
        np.testing.assert_allclose(grads["head"]["kernel"][:, 0], expected, rtol=1e-4)

    def test_no_other_perturbation_of_its_norm_is_worse(self) -> None:
        """To first order, so for a small norm; by differences of the loss."""
        state, (batch,) = new_state(pooling="mean"), batches(1)  # A maximum has kinks.

        @jax.jit
        def losses(perturbations: Any) -> Any:
            variables = {"params": state.params, "perturbations": {"embedded": perturbations}}
            tokens, lengths = jnp.asarray(batch["tokens"]), jnp.asarray(batch["lengths"])
            logits = state.apply_fn(variables, tokens, lengths)
            return cross_entropy(logits, batch["labels"])

        none = jnp.zeros((8, 12, 4))
        slopes = jax.grad(lambda x: losses(x).sum())(none)
        worst = losses(perturbation(slopes, 1e-2)) - losses(none)
        norms = np.linalg.norm(slopes.reshape(8, -1), axis=1)
        np.testing.assert_allclose(worst, 1e-2 * norms, rtol=0.05)
        for seed in range(5):
            other = perturbation(jax.random.normal(jax.random.key(seed), none.shape), 1e-2)
            assert bool((losses(other) - losses(none) < worst).all())

    @pytest.mark.parametrize("window", [None, Window(5, 3)])
    def test_filling_and_padding_change_nothing(self, window: Window | None) -> None:
        state, batch = new_state(window=window), batches(1, real=5)[0]
        small: Any = {name: array[:5] for name, array in batch.items()}  # type: ignore[attr-defined]
        small["tokens"] = np.pad(small["tokens"], ((0, 0), (0, 6)), constant_values=9)
        results = [
            gradients(adversarial(0.4), state.apply_fn, state.params, shown)
            for shown in (batch, small)
        ]
        assert_close(results[1], results[0], 1e-5)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(results))

    def test_parts_of_a_batch_add_up(self) -> None:
        (batch,) = batches(1)
        whole, parts = (
            jax.jit(partial(train_step, microbatches=number, objective=adversarial(0.4)))(
                new_state(), batch
            )
            for number in (1, 4)
        )
        assert_close((parts[0].params, parts[1]), (whole[0].params, whole[1]), 1e-4)


def new_state(
    pooling: Pooling = "max_mean", window: Window | None = None, **settings: Any
) -> TrainState:
    config = ModelConfig(embedding_features=4, features=6, pooling=pooling, ngrams=2, **settings)
    model = models.build(config, VOCAB_SIZE, window=window)
    return create_state(model, learning_rate=1e-2, seed=0)
