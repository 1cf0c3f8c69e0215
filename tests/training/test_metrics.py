"""Loss and accuracy as weighted sums."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flax_imdb.errors import InputError
from flax_imdb.scores import score
from flax_imdb.training import Evaluation, check_monitor, compute_metrics, cross_entropy
from flax_imdb.training.metrics import (
    class_probabilities,
    monitored,
    of_each_class,
    predict_labels,
)


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

    @pytest.mark.parametrize("labels", [1, 3])
    def test_it_is_what_the_scores_of_several_labels_say(self, labels: int) -> None:
        rng = np.random.default_rng(labels)
        has, predicted = rng.integers(0, 2, (2, 50, labels)).astype(np.int32)
        evaluation = Evaluation(0.7, 0.5, predicted, rng.random((50, labels)).astype(np.float32))
        scores = score(evaluation, has.astype(np.float32), tuple(map(str, range(labels))))
        f1 = monitored(evaluation, has.astype(np.float32), labels, "macro_f1")
        assert f1 == pytest.approx(scores.macro_f1, abs=1e-12)

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


class TestSeveralLabels:
    LABELS = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]], np.float32)

    def test_the_loss_is_the_mean_over_the_labels_and_right_is_what_is_all_right(self) -> None:
        scores, weights = np.asarray(logits(3), float), np.array([1.0, 0.0, 2.0, 0.5])
        scores[2] = (3, 2, 1)
        metrics = compute_metrics(jnp.asarray(scores), self.LABELS, weights)
        p = 1 / (1 + np.exp(-scores))
        losses = -np.mean(self.LABELS * np.log(p) + (1 - self.LABELS) * np.log(1 - p), axis=1)
        np.testing.assert_allclose(metrics["loss"], np.sum(losses * weights), rtol=1e-5)
        right = np.all((scores > 0) == self.LABELS, axis=1)
        assert right[2]
        np.testing.assert_allclose(metrics["correct"], np.sum(right * weights))
        assert (metrics["examples"], metrics["rows"]) == (3.5, 3)

    def test_one_label_is_as_two_classes(self) -> None:
        """So the same learning rate suits any number of labels."""
        scores, labels = logits(2), np.array([0, 1, 1, 0])
        ours = compute_metrics(scores, labels[:, None].astype(np.float32), np.ones(4))
        theirs = compute_metrics(scores, labels, np.ones(4))
        assert {name: float(ours[name]) for name in ours} == {
            name: pytest.approx(float(theirs[name])) for name in theirs
        }
        for smoothing in (0.0, 0.2):
            np.testing.assert_allclose(
                cross_entropy(scores, labels[:, None].astype(np.float32), smoothing),
                cross_entropy(scores, labels, smoothing),
                rtol=1e-6,
            )

    def test_each_has_a_probability_of_its_own(self) -> None:
        scores = jnp.array([[0.0, 2.0], [-1.0, 3.0]])
        expected = 1 / (1 + np.exp(-np.asarray(scores)))
        found = class_probabilities(scores, multi_label=True)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert predict_labels(scores, multi_label=True).tolist() == [[0, 1], [0, 1]]
        assert of_each_class(found[:, :1], multi_label=True).shape == (2, 1)

    def test_other_numbers_are_refused(self) -> None:
        wrong = np.where(self.LABELS == 1, 2, 0).astype(np.float32)
        with pytest.raises(ValueError, match=r"label 2\.0 is none of the 2 classes, 0 to 1"):
            compute_metrics(logits(3), wrong, np.ones(4))
        traced = jax.jit(lambda labels: compute_metrics(logits(3), labels, np.ones(4))["loss"])
        assert jnp.isnan(traced(jnp.asarray(wrong)))
