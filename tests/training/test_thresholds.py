"""Thresholds of several labels, against scikit-learn's F1 of every possible decision."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from flax_imdb.training import Evaluation, above, choose_thresholds, decide

PROBABILITIES = st.floats(0, 1, width=32).map(lambda p: round(p, 2))


def chosen(probabilities: list[float], labels: list[int]) -> float:
    (threshold,) = choose_thresholds(
        np.array(probabilities, np.float32)[:, None], np.array(labels)[:, None]
    )
    return threshold


@given(st.lists(st.tuples(PROBABILITIES, st.booleans()), min_size=1, max_size=12))
def test_no_other_threshold_has_a_better_f1(rows: list[tuple[float, bool]]) -> None:
    probabilities, labels = (np.array(column) for column in zip(*rows, strict=True))
    probabilities = probabilities.astype(np.float32)
    threshold = chosen(probabilities.tolist(), labels.astype(int).tolist())
    if not labels.any() or not probabilities.any():
        assert threshold == 0.5
        return
    tried = [0.0, *np.unique(probabilities)[:-1].tolist(), threshold]
    scores = [f1_score(labels, probabilities > each, zero_division=0.0) for each in tried]
    # A probability of 0 is above no threshold.
    assert scores[-1] == max(scores)


@pytest.mark.parametrize(
    ("probabilities", "labels", "threshold"),
    [
        ([0.9, 0.7, 0.2], [1, 1, 0], 0.45),
        ([0.1, 0.3, 0.2], [1, 1, 0], 0.05),
        ([0.8, 0.6], [1, 1], 0.3),
        ([0.6, 0.2], [0, 0], 0.5),
    ],
    ids=["halfway between", "half the lowest", "all", "none has the label"],
)
def test_it_is_halfway_between_two_probabilities(
    probabilities: list[float], labels: list[int], threshold: float
) -> None:
    assert chosen(probabilities, labels) == pytest.approx(threshold)


def test_of_several_that_are_best_the_nearest_to_a_half_is_taken_and_then_the_higher() -> None:
    labels = [1, 0, 0, 1]  # With one and with four of them predicted F1 is 2/3.
    assert chosen([1.0, 0.9, 0.8, 0.7], labels) == pytest.approx(0.35)
    assert chosen([0.5, 0.4, 0.3, 0.2], labels) == pytest.approx(0.45)
    assert chosen([0.875, 0.625, 0.6, 0.5], labels) == 0.75


def test_what_is_above_is_predicted_and_right_if_it_is_all_right() -> None:
    probabilities = np.array([[0.5, 0.2], [0.51, 0.3]], np.float32)
    evaluation = Evaluation(0.1, 0.0, np.zeros((2, 2), np.int32), probabilities)
    decided = decide(evaluation, np.array([[0, 0], [1, 0]]), [0.5, 0.25])
    assert decided.predicted.tolist() == [[0, 0], [1, 1]]
    assert (decided.loss, decided.accuracy) == (0.1, 0.5)


def test_a_threshold_is_compared_as_exactly_as_it_is_kept() -> None:
    p = np.float32(0.1)
    assert above(np.array([p]), [float(p)]).tolist() == [False]
    assert above(np.array([p]), [np.nextafter(float(p), 0)]).tolist() == [True]
