"""Logistic regression on how often words and pairs occur, by scikit-learn."""

from collections.abc import Sequence

import numpy as np
import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

VERSIONS = {"scikit-learn": sklearn.__version__}


def fit(texts: Sequence[str], labels: np.ndarray, seed: int = 0) -> Pipeline:
    """Fit it to texts and their labels.

    The counts are weighted by tf-idf, with logarithms of term frequencies.
    """
    counts = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model = make_pipeline(counts, LogisticRegression(C=30, solver="liblinear", random_state=seed))
    return model.fit(texts, labels)
