"""Loss and accuracy as weighted sums."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flax_imdb.errors import InputError
from flax_imdb.scores import score
from flax_imdb.training import Evaluation, check_monitor, compute_metrics
from flax_imdb.training.metrics import monitored


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


class TestMonitored:
    @pytest.mark.parametrize("classes", [2, 4])
    def test_it_is_what_the_scores_say(self, classes: int) -> None:
        rng = np.random.default_rng(classes)
        labels = rng.integers(0, classes, 50).astype(np.int32)
        probability = rng.random(50).astype(np.float32)
        predicted = rng.integers(0, classes, 50).astype(np.int32)
        evaluation = Evaluation(0.7, float(np.mean(predicted == labels)), predicted, probability)
        scores = score(evaluation, labels, tuple(map(str, range(classes))))
        assert monitored(evaluation, labels, classes, "loss") == scores.test_loss
        assert monitored(evaluation, labels, classes, "accuracy") == scores.test_accuracy
        f1 = monitored(evaluation, labels, classes, "macro_f1")
        assert f1 == pytest.approx(scores.macro_f1, abs=1e-12)
        if classes == 2:
            assert monitored(evaluation, labels, 2, "roc_auc") == scores.roc_auc

    def test_a_class_without_an_example_counts_for_macro_f1(self) -> None:
        ones = np.ones(3, np.int32)
        evaluation = Evaluation(0.1, 1.0, ones, np.ones(3, np.float32))
        assert monitored(evaluation, ones, 4, "macro_f1") == 0.25

    def test_the_area_under_the_curve_is_that_of_two_classes(self) -> None:
        check_monitor("roc_auc", np.array([0, 1]), 2)
        check_monitor("macro_f1", np.array([0, 0]), 3)
        with pytest.raises(
            InputError, match="`monitor` roc_auc is for two classes, and there are 3"
        ):
            check_monitor("roc_auc", np.array([0, 1]), 3)
        with pytest.raises(InputError, match="needs both classes among the 2 validation texts"):
            check_monitor("roc_auc", np.array([1, 1]), 2)
