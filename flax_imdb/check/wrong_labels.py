"""Which labels are probably wrong: confident learning (Northcutt et al. 2021)."""

import dataclasses

import numpy as np

# Where two probabilities are as good as equal.
_CLOSE = 1e-6


@dataclasses.dataclass(frozen=True)
class WrongLabels:
    """What out-of-fold probabilities say of the labels of texts.

    Attributes:
      proposed: the likeliest label, int64 [texts]; where a text may have several, its own with
        the doubtful ones changed, float32 [texts, classes].
      doubt: the probability of the proposed label minus that of the text's, float64 [texts]; not
        above 0 where no other is likelier. Of several labels it is that of the most doubtful.
      is_probable: whether it is sure enough to count as an error, bool [texts].
      joint: estimated number of texts by the label that they have (rows) and the one that they
        should have, float64 [classes, classes]; where a text may have several, by label, whether
        they have it, and whether they should, [classes, 2, 2].
    """

    proposed: np.ndarray
    doubt: np.ndarray
    is_probable: np.ndarray
    joint: np.ndarray

    @property
    def estimated(self) -> float:
        """The estimated number of wrong labels."""
        right = np.trace(self.joint, axis1=-2, axis2=-1)
        return float(np.sum(self.joint) - np.sum(right))


def find_wrong_labels(labels: np.ndarray, probabilities: np.ndarray) -> WrongLabels:
    """Find labels that a model is sure are wrong, though it is not sure of everything.

    A text counts for a class if the probability of the class is at least the mean of those that
    have it as their label; of several classes for the likeliest. If that is not its label, the
    label is probably wrong.

    Args:
      labels: as in `Examples`, each class with a text at least.
      probabilities: of each class, by models that were not trained on the text, [texts, classes].
    """
    if labels.ndim == 1:
        return _of_one(labels, probabilities.astype(float))
    columns = []
    for has, likely in zip(labels.T, probabilities.T.astype(float), strict=True):
        columns.append(_of_one((has > 0).astype(int), np.stack([1 - likely, likely], axis=1)))
    doubts = np.stack([column.doubt for column in columns], axis=1)
    probable = np.stack([column.is_probable for column in columns], axis=1)
    is_changed = np.where(probable.any(axis=1, keepdims=True), probable, doubts > 0)
    return WrongLabels(
        proposed=np.where(is_changed, 1 - labels, labels),
        doubt=doubts.max(axis=1),
        is_probable=np.asarray(probable.any(axis=1)),
        joint=np.stack([column.joint for column in columns]),
    )


def _of_one(labels: np.ndarray, probabilities: np.ndarray) -> WrongLabels:
    """Of texts with one label each."""
    classes = probabilities.shape[1]
    rows = np.arange(len(labels))
    sizes = np.bincount(labels, minlength=classes)
    own = probabilities[rows, labels]
    thresholds = np.bincount(labels, own, minlength=classes) / np.maximum(sizes, 1)
    # A class without texts has no threshold, and nothing counts for it.
    is_sure = (probabilities >= thresholds - _CLOSE) & (sizes > 0)
    sure = np.argmax(np.where(is_sure, probabilities, -1), axis=1)
    counted = is_sure.any(axis=1)
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels[counted], sure[counted]), 1)
    # A class of which nothing is sure is taken to be right.
    counts[np.diag_indices(classes)] += counts.sum(axis=1) == 0
    joint = counts * (sizes / counts.sum(axis=1))[:, None]
    proposed = np.argmax(probabilities, axis=1)
    doubt = probabilities[rows, proposed] - own
    is_probable = np.asarray(counted & (sure != labels) & (proposed != labels))
    return WrongLabels(proposed, doubt, is_probable, joint)
