"""Whether more texts would help."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from flax_imdb.check.learning_curve import LearningCurve, learn
from flax_imdb.check.word_model import FOLDS, WordModel


def curve_of(words: int, texts: int = 1000) -> LearningCurve:
    """Of texts with one word each, which says the label: each word must be seen."""
    rng = np.random.default_rng(0)
    of_text = rng.integers(words, size=texts)
    features = csr_matrix(
        (np.ones(texts, np.float32), (np.arange(texts), of_text)), shape=(texts, words)
    )
    model = WordModel(features, (of_text % 2).astype(np.int32), 2)
    folds = np.arange(texts) % FOLDS
    return learn(model, folds, model.out_of_fold(folds))


def test_more_texts_help_where_most_words_are_new() -> None:
    curve = curve_of(words=800)
    assert curve.sizes == (100, 200, 400, 800)
    assert curve.tested == 1000
    assert curve.accuracies[-1] > curve.accuracies[0] + 0.1
    assert curve.gain == pytest.approx(curve.accuracies[-1] - curve.accuracies[-2])
    assert curve.verdict == "yes"


def test_more_texts_hardly_help_where_all_words_are_known() -> None:
    curve = curve_of(words=6)
    assert curve.accuracies[-1] > 0.99
    assert curve.verdict == "hardly"


def test_few_texts_do_not_say() -> None:
    assert curve_of(words=40, texts=60).verdict in ("unclear", "yes")
    assert LearningCurve((1, 2), (0.5, 0.51), 0.01, 0.02, 100).verdict == "unclear"


def test_few_texts_of_which_no_answer_changes_do_not_say() -> None:
    curve = curve_of(words=2, texts=24)
    assert curve.gain == 0
    assert curve.verdict == "unclear"


def test_of_many_texts_part_are_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flax_imdb.check.learning_curve._TESTED", 300)
    assert curve_of(words=10).tested == 400


def test_the_error_is_that_of_the_difference_on_the_same_texts() -> None:
    """Of labels that no word tells, half the texts change, and the error says so."""
    curve = curve_of(words=800)
    assert 0 < curve.error < 0.03


def test_of_several_labels_all_must_be_right() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((500, 2)) < 0.5).astype(np.float32)
    features = csr_matrix(np.column_stack([labels[:, :1], np.ones(500)]).astype(np.float32))
    model = WordModel(features, labels, 2)
    folds = np.arange(500) % FOLDS
    curve = learn(model, folds, model.out_of_fold(folds))
    # One label is known, the other is a guess.
    assert curve.accuracies[-1] == pytest.approx(0.5, abs=0.1)
