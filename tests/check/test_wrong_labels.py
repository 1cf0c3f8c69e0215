"""Confident learning, against the definitions of Northcutt et al. 2021, written as loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flax_imdb.check.wrong_labels import find_wrong_labels


def problem(
    seed: int, texts: int, classes: int, sharp: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Labels, each class with a text at least, and probabilities that often agree."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(texts) % classes)
    logits = rng.normal(size=(texts, classes))
    meant = np.where(rng.random(texts) < 0.8, labels, rng.integers(classes, size=texts))
    logits[np.arange(texts), meant] += sharp
    probabilities = np.exp(logits)
    return labels, (probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32)


def by_definition(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, set[int]]:
    """Their equations 1 to 3.

    Returns:
      The calibrated confident joint, times the number of texts; and the texts off its diagonal.
    """
    texts, classes = probabilities.shape
    thresholds = []
    for j in range(classes):
        own = [float(probabilities[x, j]) for x in range(texts) if labels[x] == j]
        thresholds.append(sum(own) / len(own))
    counts = np.zeros((classes, classes))
    off_diagonal = set()
    for x in range(texts):
        above = [j for j in range(classes) if probabilities[x, j] >= thresholds[j] - 1e-6]
        if not above:
            continue
        best = max(above, key=lambda j: probabilities[x, j])
        counts[labels[x], best] += 1
        if best != labels[x]:
            off_diagonal.add(x)
    joint = np.zeros((classes, classes))
    for i in range(classes):
        size = sum(1 for label in labels if label == i)
        total = counts[i].sum()
        for j in range(classes):
            joint[i, j] = counts[i, j] / total * size if total else size * (i == j)
    return joint, off_diagonal


class TestOneLabel:
    @given(st.integers(0, 1000), st.integers(2, 5), st.integers(2, 40), st.floats(0, 4))
    def test_the_joint_is_that_of_the_definition(
        self, seed: int, classes: int, rows: int, sharp: float
    ) -> None:
        labels, probabilities = problem(seed, classes * rows, classes, sharp)
        found = find_wrong_labels(labels, probabilities)
        joint, off_diagonal = by_definition(labels, probabilities)
        np.testing.assert_allclose(found.joint, joint, rtol=1e-6, atol=1e-9)
        assert found.joint.sum() == pytest.approx(len(labels))
        assert found.estimated == pytest.approx(joint.sum() - np.trace(joint))
        likelier = np.flatnonzero(probabilities.argmax(axis=1) != labels)
        assert {*np.flatnonzero(found.is_probable)} == off_diagonal & {*likelier}

    @given(st.integers(0, 1000), st.integers(2, 5))
    def test_the_doubt_is_the_distance_to_a_likelier_label(self, seed: int, classes: int) -> None:
        labels, probabilities = problem(seed, 50, classes)
        found = find_wrong_labels(labels, probabilities)
        for x in range(50):
            best = max(range(classes), key=lambda j: probabilities[x, j])
            assert found.proposed[x] == best
            gap = float(probabilities[x, best]) - float(probabilities[x, labels[x]])
            assert found.doubt[x] == pytest.approx(gap, abs=1e-6)

    def test_an_example_by_hand(self) -> None:
        """Thresholds 0.6 and 0.75: the third text counts for class 1, and so is wrong."""
        likely = np.array([0.9, 0.8, 0.1, 0.2, 0.3])
        probabilities = np.stack([likely, 1 - likely], axis=1)
        found = find_wrong_labels(np.array([0, 0, 0, 1, 1]), probabilities)
        np.testing.assert_allclose(found.joint, [[2, 1], [0, 2]])
        assert found.is_probable.tolist() == [False, False, True, False, False]
        assert found.estimated == pytest.approx(1)

    def test_sure_and_right_probabilities_doubt_nothing(self) -> None:
        labels = np.arange(30) % 3
        found = find_wrong_labels(labels, np.eye(3)[labels])
        assert found.estimated == 0
        assert not found.is_probable.any()
        assert np.all(found.doubt <= 0)

    def test_wrong_labels_come_first(self) -> None:
        rng = np.random.default_rng(0)
        right = np.arange(300) % 3
        labels = right.copy()
        wrong = rng.choice(300, 15, replace=False)
        labels[wrong] = (labels[wrong] + 1) % 3
        probabilities = 0.7 * np.eye(3)[right] + 0.1
        found = find_wrong_labels(labels, probabilities)
        assert {*np.argsort(-found.doubt)[:15]} == {*wrong}
        assert {*np.flatnonzero(found.is_probable)} == {*wrong}
        np.testing.assert_array_equal(found.proposed, right)


class TestSeveralLabels:
    def test_each_label_is_looked_at_by_itself(self) -> None:
        rng = np.random.default_rng(0)
        right = (rng.random((200, 3)) < 0.3).astype(np.float32)
        labels = right.copy()
        labels[5, 0] = 1 - labels[5, 0]
        labels[9, [1, 2]] = 1 - labels[9, [1, 2]]
        found = find_wrong_labels(labels, 0.1 + 0.8 * right)
        assert np.flatnonzero(found.is_probable).tolist() == [5, 9]
        np.testing.assert_array_equal(found.proposed, right)
        assert found.joint.shape == (3, 2, 2)
        assert found.estimated == pytest.approx(3)
        for column in range(3):
            two = np.stack([0.9 - 0.8 * right[:, column], 0.1 + 0.8 * right[:, column]], axis=1)
            alone = find_wrong_labels(labels[:, column].astype(int), two)
            np.testing.assert_allclose(found.joint[column], alone.joint)
        np.testing.assert_allclose(found.doubt[[5, 9]], 0.8, rtol=1e-6)
