"""Loss and accuracy as weighted sums."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flax_imdb.training import compute_metrics


def logits(classes: int) -> jax.Array:
    return jax.random.normal(jax.random.key(0), (4, 1 if classes == 2 else classes))


@pytest.mark.parametrize("classes", [2, 3])
def test_sums_are_weighted(classes: int) -> None:
    labels, weights = np.array([0, 1, classes - 1, 0]), np.array([1.0, 0.0, 2.0, 0.5])
    metrics = compute_metrics(logits(classes), labels, weights)
    scores = logits(classes)
    if classes == 2:
        scores = jnp.concatenate([jnp.zeros((4, 1)), scores], axis=1)
    losses = optax.softmax_cross_entropy_with_integer_labels(scores, labels)
    np.testing.assert_allclose(metrics["loss"], np.sum(losses * weights), rtol=1e-6)
    np.testing.assert_allclose(
        metrics["correct"], np.sum((np.argmax(scores, axis=1) == labels) * weights)
    )
    assert metrics["examples"] == 3.5


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("below", [True, False])
class TestLabelsOutOfRange:
    """They would give a finite loss: of one logit any number, of several that of another class."""

    def test_are_refused(self, classes: int, below: bool) -> None:
        wrong = -1 if below else classes
        message = f"label {wrong} is none of the {classes} classes, 0 to {classes - 1}"
        for array in (np.array, jnp.array):
            with pytest.raises(ValueError, match=message):
                compute_metrics(logits(classes), array([0, 1, wrong, 0]), np.ones(4))

    def test_are_not_finite_where_they_are_traced(self, classes: int, below: bool) -> None:
        wrong = -1 if below else classes

        def loss(labels: jax.Array) -> jax.Array:
            return compute_metrics(logits(classes), labels, np.ones(4))["loss"]

        assert jnp.isnan(jax.jit(loss)(jnp.array([0, 1, wrong, 0])))
        assert jnp.isfinite(jax.jit(loss)(jnp.array([0, 1, classes - 1, 0])))
