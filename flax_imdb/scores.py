"""Scores of a classifier on a split, by class and over all, and the word-count baseline."""

import dataclasses
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from flax_imdb.data import MAX_CHARACTERS, MAX_VOCAB_SIZE, DataConfig, Examples, make_dataset
from flax_imdb.data.cache import load_corpus
from flax_imdb.data.sources import find_source
from flax_imdb.data.tokenizer import SPECIAL_TOKENS
from flax_imdb.training import Evaluation

# A larger matrix cannot be read; of 10,000 classes it would fill the memory.
MAX_MATRIX_CLASSES = 50

# As Guo et al. 2017.
_CALIBRATION_BINS = 15

# A fit takes seconds up to this many texts.
MAX_BASELINE_EXAMPLES = 200_000


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores of predictions.

    Attributes:
      test_accuracy: in [0, 1]; where a text may have several labels, the share of the texts with
        all labels right.
      test_loss: mean cross-entropy in nats.
      classes: the names of labels 0, 1, ...
      per_class: of each class ``precision``, ``recall`` and ``f1``, in [0, 1], and ``count``, the
        number of its examples. A score whose denominator is 0 is 0.
      macro_f1: mean of the classes' F1.
      majority_accuracy: that of always predicting the most frequent class of the split; or, where a
        text may have several labels, the most frequent set of labels.
      confusion_classes: the classes of the confusion matrix: all, or the `MAX_MATRIX_CLASSES` most
        frequent.
      confusion_matrix: number of examples by class (rows) and predicted class (columns); empty
        where a text may have several labels.
      roc_auc: area under the ROC curve; None unless there are two classes, both in the split.
      average_precision: of class 1; None where `roc_auc` is.
      calibration_error: expected calibration error with 15 bins (Guo et al. 2017).
      reliability: of each bin that is not empty the mean confidence, the accuracy and the number of
        examples. The confidence is the probability of the predicted class. Where a text may have
        several labels, each with each label is an example: the bins have the probability that the
        text has it, and how often it does.
      micro_f1: F1 over all decisions on labels; None unless a text may have several.
      thresholds: of several labels, the probability above which a text has each.
    """

    test_accuracy: float
    test_loss: float
    classes: list[str]
    per_class: dict[str, dict[str, float]]
    macro_f1: float
    majority_accuracy: float
    confusion_classes: list[str]
    confusion_matrix: list[list[int]]
    roc_auc: float | None
    average_precision: float | None
    calibration_error: float
    reliability: list[list[float]]
    micro_f1: float | None = dataclasses.field(default=None, kw_only=True)
    thresholds: dict[str, float] = dataclasses.field(default_factory=dict, kw_only=True)


@dataclasses.dataclass(frozen=True)
class SetScores:
    """Scores of prediction sets: what abstaining costs, and what it gives.

    Attributes:
      stated: the coverage that was asked for.
      coverage: the share of the examples whose set has their class.
      answered: the share of those whose set has exactly one class, which is the answer.
      accuracy: of the answers; None if there is none.
      sizes: number of the sets of 0, 1, ... classes.
    """

    stated: float
    coverage: float
    answered: float
    accuracy: float | None
    sizes: list[int]


def score_sets(sets: np.ndarray, labels: np.ndarray, stated: float) -> SetScores:
    """The scores of prediction sets of examples with these labels.

    Args:
      sets: which classes are in them, bool [examples, classes].
      labels: int32 [examples].
      stated: the coverage that was asked for.
    """
    covered = sets[np.arange(len(labels)), labels]
    sizes = sets.sum(axis=1)
    one = sizes == 1
    return SetScores(
        stated=stated,
        coverage=float(covered.mean()),
        answered=float(one.mean()),
        accuracy=float(covered[one].mean()) if one.any() else None,
        sizes=np.bincount(sizes, minlength=sets.shape[1] + 1).tolist(),
    )


def score(
    evaluation: Evaluation,
    labels: np.ndarray,
    classes: tuple[str, ...],
    thresholds: Mapping[str, float] = MappingProxyType({}),
) -> Scores:
    """The scores of an evaluation on examples with these labels.

    Args:
      evaluation: the evaluation.
      labels: as in `Examples`.
      classes: the names of the labels.
      thresholds: those by which the evaluation has decided, where a text may have several labels.
    """
    if labels.ndim == 1:
        return _of_one(evaluation, labels, classes)
    return _of_several(evaluation, labels, classes, dict(thresholds))


def _of_several(
    evaluation: Evaluation,
    labels: np.ndarray,
    classes: tuple[str, ...],
    thresholds: dict[str, float],
) -> Scores:
    """The scores where a text may have several labels."""
    from sklearn import metrics

    predicted, probability = evaluation.predicted, evaluation.probability
    _, counts = np.unique(labels, axis=0, return_counts=True)
    return Scores(
        **_of_any(evaluation, labels, classes),
        **_calibration(probability.ravel(), labels.ravel()),
        majority_accuracy=float(counts.max() / len(labels)),
        confusion_classes=[],
        confusion_matrix=[],
        roc_auc=None,
        average_precision=None,
        micro_f1=float(metrics.f1_score(labels.ravel(), predicted.ravel(), zero_division=0.0)),
        thresholds=thresholds,
    )


def _of_one(evaluation: Evaluation, labels: np.ndarray, classes: tuple[str, ...]) -> Scores:
    """The scores where each text has one label."""
    from sklearn import metrics

    predicted, probability = evaluation.predicted, evaluation.probability
    two = len(classes) == 2
    ranked = two and len(np.unique(labels)) == 2
    frequent = np.argsort(-np.bincount(labels, minlength=len(classes)), kind="stable")
    shown = np.sort(frequent[:MAX_MATRIX_CLASSES])
    return Scores(
        **_of_any(evaluation, labels, classes),
        **_calibration(confidences(evaluation, len(classes)), predicted == labels),
        majority_accuracy=float(np.bincount(labels).max() / len(labels)),
        confusion_classes=[classes[number] for number in shown],
        confusion_matrix=metrics.confusion_matrix(labels, predicted, labels=shown).tolist(),
        roc_auc=float(metrics.roc_auc_score(labels, probability)) if ranked else None,
        average_precision=(
            float(metrics.average_precision_score(labels, probability)) if ranked else None
        ),
    )


def _of_any(evaluation: Evaluation, labels: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
    """The scores that have one meaning, however many labels a text may have."""
    per_class = _per_class(labels, evaluation.predicted, classes)
    return {
        "test_accuracy": evaluation.accuracy,
        "test_loss": evaluation.loss,
        "classes": list(classes),
        "per_class": per_class,
        "macro_f1": float(np.mean([of_class["f1"] for of_class in per_class.values()])),
    }


def _per_class(
    labels: np.ndarray, predicted: np.ndarray, classes: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """`Scores.per_class`."""
    from sklearn.metrics import precision_recall_fscore_support

    if labels.ndim == 1:
        by_class = precision_recall_fscore_support(
            labels, predicted, labels=range(len(classes)), zero_division=0.0
        )
    else:  # A column by itself: scikit-learn takes one alone for two classes.
        scores = [
            precision_recall_fscore_support(*pair, labels=[1], zero_division=0.0)
            for pair in zip(labels.T, predicted.T, strict=True)
        ]
        by_class = np.concatenate(scores, axis=1)
    return {
        name: {"precision": float(p), "recall": float(r), "f1": float(f1), "count": int(count)}
        for name, (p, r, f1, count) in zip(classes, zip(*by_class, strict=True), strict=True)
    }


def confidences(evaluation: Evaluation, classes: int) -> np.ndarray:
    """The probability of the predicted class of each example, float32 [examples]."""
    predicted, probability = evaluation.predicted, evaluation.probability
    return np.where(predicted == 1, probability, 1 - probability) if classes == 2 else probability


def _calibration(confidence: np.ndarray, correct: np.ndarray) -> dict[str, Any]:
    """`Scores.calibration_error` and `Scores.reliability`."""
    bins = np.minimum((confidence * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    counts = np.bincount(bins, minlength=_CALIBRATION_BINS)
    rows = zip(
        np.bincount(bins, confidence, minlength=_CALIBRATION_BINS),
        np.bincount(bins, correct, minlength=_CALIBRATION_BINS),
        counts,
        strict=True,
    )
    reliability = [
        [float(conf / count), float(hits / count), int(count)]
        for conf, hits, count in rows
        if count
    ]
    means, accuracies, numbers = np.array(reliability).T
    return {
        "calibration_error": float(np.average(np.abs(means - accuracies), weights=numbers)),
        "reliability": reliability,
    }


def baseline_accuracy(
    config: DataConfig, weights: np.ndarray, known: tuple[str, ...] = ()
) -> float | None:
    """Test accuracy of logistic regression on the words' counts, weighted by tf-idf.

    It sees the same examples as the LSTM, with all of their words, and has scikit-learn's default
    settings.

    Args:
      config: the data.
      weights: of the training examples, float32 [examples].
      known: the labels that test texts may have, even if no training text has them.

    Where a text may have several labels there is one logistic regression for each.

    Returns:
      The accuracy on the test split, in the sense of `Scores`; None if the training split has one
      class only.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.linear_model import LogisticRegression

    config = dataclasses.replace(config, vocab_size=MAX_VOCAB_SIZE, max_length=MAX_CHARACTERS)
    source = find_source(config, known)
    dataset = make_dataset(source, load_corpus(source, config.text), config)
    train, test = dataset.train, dataset.test
    if len(np.unique(train.labels, axis=0)) < 2:
        return None
    words = len(dataset.info.vocabulary)
    tf_idf = TfidfTransformer()
    trained = tf_idf.fit_transform(_counts(train, words))
    tested = tf_idf.transform(_counts(test, words))
    right = np.ones(len(test), bool)
    with warnings.catch_warnings():  # A rule of thumb need not converge to the last digit.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # Of one label of each text a single one.
        for of_train, of_test in zip(_columns(train.labels), _columns(test.labels), strict=True):
            if len(np.unique(of_train)) < 2:
                right &= of_test == of_train[0]
                continue
            model = LogisticRegression(max_iter=1000).fit(trained, of_train, weights)
            right &= model.predict(tested) == of_test
    return float(np.mean(right))


def _columns(labels: np.ndarray) -> np.ndarray:
    """Labels [examples, columns] as rows; those of one column are it."""
    return labels[None] if labels.ndim == 1 else labels.T


def _counts(examples: Examples, words: int):  # type: ignore[no-untyped-def]
    """How often each word is in each text: a sparse matrix [examples, words]."""
    from scipy.sparse import csr_array

    rows, _, tokens = examples.spread()
    counts = csr_array(
        (np.ones(len(rows), np.float64), (rows, tokens)),
        shape=(len(examples), words),
    )
    counts.sum_duplicates()
    return counts[:, len(SPECIAL_TOKENS) :]
