"""Scores of a classifier on a split, by class and over all, and the word-count baseline."""

import dataclasses
import warnings

import numpy as np

from flax_imdb.data import MAX_CHARACTERS, MAX_VOCAB_SIZE, DataConfig, Examples, load_dataset
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
      test_accuracy: in [0, 1].
      test_loss: mean cross-entropy in nats.
      classes: the names of labels 0, 1, ...
      per_class: of each class ``precision``, ``recall`` and ``f1``, in [0, 1], and ``count``, the
        number of its examples. A score whose denominator is 0 is 0.
      macro_f1: mean of the classes' F1.
      majority_accuracy: that of always predicting the most frequent class of the split.
      confusion_classes: the classes of the confusion matrix: all, or the `MAX_MATRIX_CLASSES` most
        frequent.
      confusion_matrix: number of examples by class (rows) and predicted class (columns).
      roc_auc: area under the ROC curve; None unless there are two classes, both in the split.
      average_precision: of class 1; None where `roc_auc` is.
      calibration_error: expected calibration error with 15 bins (Guo et al. 2017).
      reliability: of each bin that is not empty the mean confidence, the accuracy and the number of
        examples. The confidence is the probability of the predicted class.
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


def score(evaluation: Evaluation, labels: np.ndarray, classes: tuple[str, ...]) -> Scores:
    """The scores of an evaluation on examples with these labels, int32 [examples]."""
    from sklearn import metrics

    predicted, probability = evaluation.predicted, evaluation.probability
    numbers = range(len(classes))
    by_class = zip(
        *metrics.precision_recall_fscore_support(
            labels, predicted, labels=numbers, zero_division=0.0
        ),
        strict=True,
    )
    per_class = {
        name: {"precision": float(p), "recall": float(r), "f1": float(f1), "count": int(count)}
        for name, (p, r, f1, count) in zip(classes, by_class, strict=True)
    }
    two = len(classes) == 2
    reliability = _reliability(confidences(evaluation, len(classes)), predicted == labels)
    means, accuracies, counts = np.array(reliability).T
    ranked = two and len(np.unique(labels)) == 2
    frequent = np.argsort(-np.bincount(labels, minlength=len(classes)), kind="stable")
    shown = np.sort(frequent[:MAX_MATRIX_CLASSES])
    return Scores(
        test_accuracy=evaluation.accuracy,
        test_loss=evaluation.loss,
        classes=list(classes),
        per_class=per_class,
        macro_f1=float(np.mean([of_class["f1"] for of_class in per_class.values()])),
        majority_accuracy=float(np.bincount(labels).max() / len(labels)),
        confusion_classes=[classes[number] for number in shown],
        confusion_matrix=metrics.confusion_matrix(labels, predicted, labels=shown).tolist(),
        roc_auc=float(metrics.roc_auc_score(labels, probability)) if ranked else None,
        average_precision=(
            float(metrics.average_precision_score(labels, probability)) if ranked else None
        ),
        calibration_error=float(np.average(np.abs(means - accuracies), weights=counts)),
        reliability=reliability,
    )


def confidences(evaluation: Evaluation, classes: int) -> np.ndarray:
    """The probability of the predicted class of each example, float32 [examples]."""
    predicted, probability = evaluation.predicted, evaluation.probability
    return np.where(predicted == 1, probability, 1 - probability) if classes == 2 else probability


def _reliability(confidence: np.ndarray, correct: np.ndarray) -> list[list[float]]:
    bins = np.minimum((confidence * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    counts = np.bincount(bins, minlength=_CALIBRATION_BINS)
    rows = zip(
        np.bincount(bins, confidence, minlength=_CALIBRATION_BINS),
        np.bincount(bins, correct, minlength=_CALIBRATION_BINS),
        counts,
        strict=True,
    )
    return [
        [float(conf / count), float(hits / count), int(count)]
        for conf, hits, count in rows
        if count
    ]


def baseline_accuracy(config: DataConfig, weights: np.ndarray) -> float | None:
    """Test accuracy of logistic regression on the words' counts, weighted by tf-idf.

    It sees the same examples as the LSTM, with all of their words, and has scikit-learn's default
    settings.

    Args:
      config: the data.
      weights: of the training examples, float32 [examples].

    Returns:
      The accuracy on the test split; None if the training split has one class only.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    dataset = load_dataset(
        dataclasses.replace(config, vocab_size=MAX_VOCAB_SIZE, max_length=MAX_CHARACTERS)
    )
    if len(np.unique(dataset.train.labels)) < 2:
        return None
    words = len(dataset.info.vocabulary)
    model = make_pipeline(TfidfTransformer(), LogisticRegression(max_iter=1000))
    with warnings.catch_warnings():  # A rule of thumb need not converge to the last digit.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(
            _counts(dataset.train, words),
            dataset.train.labels,
            logisticregression__sample_weight=weights,
        )
    return float(model.score(_counts(dataset.test, words), dataset.test.labels))


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
