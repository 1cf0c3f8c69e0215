"""Logistic regression on how often words and pairs occur, by scikit-learn."""

import itertools
from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from flax_imdb.data import split_words


def words_and_pairs(text: str) -> list[str]:
    """The words of a text, and each two that follow each other."""
    words = split_words(text)
    return words + [f"{first} {second}" for first, second in itertools.pairwise(words)]


def fit(texts: Sequence[str], labels: np.ndarray, seed: int = 0) -> Pipeline:
    """Fit it to texts and their labels.

    The words are those of flax_imdb. The counts are weighted by tf-idf, with logarithms of term
    frequencies.
    """
    counts = TfidfVectorizer(analyzer=words_and_pairs, min_df=2, sublinear_tf=True)
    model = make_pipeline(counts, LogisticRegression(C=30, solver="liblinear", random_state=seed))
    return model.fit(texts, labels)
