"""Thresholds of several labels: the probabilities above which a text has them."""

from collections.abc import Collection

import numpy as np

from flax_imdb.training.metrics import Evaluation

USUAL = 0.5
"""The threshold of a label that validation rows say nothing about."""


def choose_thresholds(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, ...]:
    """The threshold of each label with the best F1 on some examples.

    Thresholds halfway between two neighbouring probabilities are tried, and half the lowest one. Of
    several that are best, the one nearest to `USUAL` is taken, and of two as near the higher.
    A label that no example has keeps `USUAL`, and so does one whose probabilities are all 0.

    Args:
      probabilities: of each label, float32 [examples, labels].
      labels: 1 for each label that an example has and 0 for others, [examples, labels].
    """
    return tuple(map(_best, probabilities.T.astype(float), labels.T > 0))


def decide(evaluation: Evaluation, labels: np.ndarray, thresholds: Collection[float]) -> Evaluation:
    """The evaluation with the labels above their thresholds predicted, and its accuracy.

    Args:
      evaluation: of examples that may have several labels.
      labels: 1 for each label that an example has and 0 for others, [examples, labels].
      thresholds: of each label.
    """
    predicted = above(evaluation.probability, thresholds).astype(np.int32)
    accuracy = float(np.mean(np.all(predicted == labels, axis=1)))
    return evaluation._replace(accuracy=accuracy, predicted=predicted)


def above(probabilities: np.ndarray, thresholds: Collection[float]) -> np.ndarray:
    """Which probabilities are above the thresholds of their labels, bool [..., labels]."""
    # In double precision: a threshold need not be a number of single precision.
    decided: np.ndarray = probabilities.astype(float) > np.array([*thresholds])
    return decided


def _best(probabilities: np.ndarray, has_label: np.ndarray) -> float:
    """The threshold of one label."""
    having = np.count_nonzero(has_label)
    if not having or not probabilities.any():
        return USUAL
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    # Of each number of examples, the likeliest first: where the next has another probability.
    following = np.append(ranked[1:], 0)
    right = np.cumsum(has_label[order])
    f1 = 2 * right / (np.arange(1, len(ranked) + 1) + having)
    differs = ranked > following
    best = ((ranked + following) / 2)[differs & (f1 == np.max(f1[differs]))]
    return float(min(best, key=lambda threshold: (abs(threshold - USUAL), -threshold)))
