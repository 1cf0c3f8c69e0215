"""Probabilities of labels by linear models of word counts, for texts not trained on."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from flax_imdb.check.texts import in_threads, of_class

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FOLDS = 5

# As scikit-learn's LogisticRegression has it.
_C = 2.0

# Steps of gradient descent: few texts are read more often.
_STEPS, _LEAST_EPOCHS, _MOST_EPOCHS = 120_000, 3, 50

# Numbers that are read to train on a fold, in all epochs and for all classes: takes some seconds.
_MOST_WORK = 1.5e8
_WORK_OF_TEXT = 30  # Besides that of its words.

# Numbers in the weights of naive Bayes: columns times classes.
_MOST_WEIGHTS = 40_000_000

_SEED = 2011
_LARGEST_LOGIT = 30.0


@dataclasses.dataclass(frozen=True)
class WordModel:
    """What is trained, on part of the texts: one-vs-rest logistic regression, or naive Bayes.

    The former is trained by averaged stochastic gradient descent. Where that would take long, for
    many classes in long texts, naive Bayes takes its place.

    Attributes:
      features: of all texts, float32 [texts, columns].
      labels: of all texts, as in `Examples`.
      classes: number of classes, which are the values of `labels`.
    """

    features: "csr_matrix"
    labels: np.ndarray
    classes: int

    @property
    def descends(self) -> bool:
        """Whether it is logistic regression, however many of the texts are trained on."""
        texts = self.features.shape[0]
        numbers = self.features.nnz + _WORK_OF_TEXT * texts
        models = 1 if self.labels.ndim == 1 and self.classes == 2 else self.classes
        return numbers * _epochs(texts) * models <= _MOST_WORK

    def probabilities(self, trained: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """The probability of each class for texts, by a model that was trained on others.

        Args:
          trained: indices of the texts to train on.
          asked: indices of the texts that are asked for.

        Returns:
          float32 [asked, classes]; where a text has one label, rows add up to 1.
        """
        two = self.labels.ndim == 1 and self.classes == 2
        method = self._descend if self.descends else self._count
        logits = method(trained, asked, [1] if two else [*range(self.classes)])
        likely = 1 / (1 + np.exp(-np.clip(logits, -_LARGEST_LOGIT, _LARGEST_LOGIT)))
        if two:
            likely = np.concatenate([1 - likely, likely], axis=1)
        elif self.labels.ndim == 1:
            likely /= likely.sum(axis=1, keepdims=True)
        return likely.astype(np.float32)

    def out_of_fold(self, folds: np.ndarray) -> np.ndarray:
        """The probabilities of each text by a model that was trained on the other folds.

        Args:
          folds: the fold of each text, int [texts].

        Returns:
          float32 [texts, classes].
        """
        found = np.empty((len(folds), self.classes), np.float32)

        def fill(fold: int) -> None:
            asked = np.flatnonzero(folds == fold)
            found[asked] = self.probabilities(np.flatnonzero(folds != fold), asked)

        in_threads(fill, np.unique(folds).tolist())
        return found

    def _descend(
        self, trained: np.ndarray, asked: np.ndarray, classes: Sequence[int]
    ) -> np.ndarray:
        """The logits of classes against the rest by logistic regression, [asked, classes]."""
        from sklearn.linear_model import SGDClassifier

        features, others = self.features[trained], self.features[asked]
        labels = self.labels[trained]
        logits = np.empty((len(asked), len(classes)))
        for column, number in enumerate(classes):
            has = of_class(labels, number)
            if has.all() or not has.any():
                logits[:, column] = _LARGEST_LOGIT if has.any() else -_LARGEST_LOGIT
                continue
            model = SGDClassifier(
                loss="log_loss",
                alpha=1 / (_C * len(trained)),
                max_iter=_epochs(len(trained)),
                tol=None,
                average=True,
                random_state=_SEED,
            )
            logits[:, column] = model.fit(features, has).decision_function(others)
        return logits

    def _count(self, trained: np.ndarray, asked: np.ndarray, classes: Sequence[int]) -> np.ndarray:
        """The same by naive Bayes: a word's weight is how much more of the class it is made of."""
        from scipy.sparse import csr_matrix

        features = self.features[trained]
        most = _MOST_WEIGHTS // len(classes)
        columns = np.arange(features.shape[1])
        if len(columns) > most:
            columns = np.sort(
                np.argsort(-np.bincount(features.indices, minlength=len(columns)))[:most]
            )
            features = features[:, columns]
        rows, members = np.nonzero([of_class(self.labels[trained], number) for number in classes])
        of_classes = csr_matrix(
            (np.ones(len(rows), np.float32), (rows, members)), shape=(len(classes), len(trained))
        )
        sums = (of_classes @ features).toarray() + 0.1
        total = np.asarray(features.sum(axis=0)).ravel() + 0.2
        rest = total - sums
        weights = np.log(sums / sums.sum(axis=1, keepdims=True))
        weights -= np.log(rest / rest.sum(axis=1, keepdims=True))
        return np.asarray(self.features[asked][:, columns] @ weights.T)


def _epochs(texts: int) -> int:
    """How often so many texts are read."""
    return int(np.clip(_STEPS // texts, _LEAST_EPOCHS, _MOST_EPOCHS))


def fold_numbers(labels: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Divide texts into `FOLDS` folds at random.

    Args:
      labels: of the texts, as in `Examples`; each class is divided by itself, if a text has one.
      first: of each text the first of its duplicates, which are all in one fold.

    Returns:
      The fold of each text, int64 [texts].
    """
    order = np.random.default_rng(_SEED).permutation(len(labels))
    if labels.ndim == 1:
        order = order[np.argsort(labels[order], kind="stable")]
    folds = np.empty(len(labels), np.int64)
    folds[order] = np.arange(len(labels)) % FOLDS
    return folds[first]
