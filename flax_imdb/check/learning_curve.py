"""Whether more texts would help: the accuracy of word counts after more and more of them."""

import dataclasses

import numpy as np

from flax_imdb.check.texts import in_threads
from flax_imdb.check.word_model import WordModel

SHARES = (1 / 8, 1 / 4, 1 / 2)
"""Of the texts of a fold's training: all of them are trained on for the probabilities."""

# Texts that the accuracy is of, if there are so many: of few, all folds are tested.
_TESTED = 5_000

_WORTH = 0.005
"""An accuracy that is higher by less is not worth twice the texts."""

_SEED = 2012


@dataclasses.dataclass(frozen=True)
class LearningCurve:
    """The accuracy of word counts by the number of texts.

    Attributes:
      sizes: numbers of texts to train on, the last one twice the one before.
      accuracies: on other texts, in [0, 1]; of several labels the share of texts with all right.
      gain: what the last doubling has added.
      error: standard error of the gain.
      tested: number of texts that the accuracies are of.
    """

    sizes: tuple[int, ...]
    accuracies: tuple[float, ...]
    gain: float
    error: float
    tested: int

    @property
    def verdict(self) -> str:
        """Whether more texts would help: ``"yes"``, ``"hardly"`` or ``"unclear"``."""
        if self.gain - 2 * self.error > 0 and self.gain >= _WORTH:
            return "yes"
        return "hardly" if self.gain + 2 * self.error < 2 * _WORTH else "unclear"


def learn(model: WordModel, folds: np.ndarray, whole: np.ndarray) -> LearningCurve:
    """Train on parts of the texts, and test on texts of another fold.

    Args:
      model: what is trained.
      folds: the fold of each text, int [texts].
      whole: the probabilities by models that were trained on all other folds, [texts, classes].
    """
    order = np.random.default_rng(_SEED).permutation(len(folds))
    numbers, sizes = np.unique(folds, return_counts=True)
    tested = numbers[np.cumsum(sizes) - sizes < _TESTED]
    jobs = []
    for fold in tested.tolist():
        others = order[folds[order] != fold]
        asked = np.flatnonzero(folds == fold)
        jobs += [(others[: max(int(share * len(others)), 1)], asked) for share in SHARES]
    # The largest first, so that the threads end together.
    found = in_threads(model.probabilities, *zip(*jobs[::-1], strict=True))[::-1]
    is_right = []
    for number in range(len(SHARES)):
        parts = zip(found[number :: len(SHARES)], jobs[number :: len(SHARES)], strict=True)
        is_right.append(np.concatenate([are_right(model.labels[a], p) for p, (_, a) in parts]))
    asked = np.concatenate([asked for _, asked in jobs[:: len(SHARES)]])
    is_right.append(are_right(model.labels[asked], whole[asked]))
    difference = is_right[-1].astype(float) - is_right[-2]
    return LearningCurve(
        sizes=(*(len(trained) for trained, _ in jobs[: len(SHARES)]), len(others)),
        accuracies=tuple(float(right.mean()) for right in is_right),
        gain=float(difference.mean()),
        # As if one more answer had changed: of few texts none may change by chance.
        error=float(np.sqrt(np.sum((difference - difference.mean()) ** 2) + 1) / len(difference)),
        tested=len(asked),
    )


def are_right(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Which texts are given their labels, bool [texts]."""
    if labels.ndim == 1:
        return np.argmax(probabilities, axis=1) == labels
    return np.all((probabilities > 0.5) == (labels > 0), axis=1)
