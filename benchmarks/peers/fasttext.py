"""fastText's classifier (Joulin et al. 2017), as floret builds it."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import floret
import numpy as np

from flax_imdb.data import split_words


class Model:
    """A fitted classifier."""

    def __init__(self, fitted: floret.floret._floret):
        self._fitted = fitted

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """The labels of texts, int [texts]."""
        labels, _ = self._fitted.predict([_line(text) for text in texts])
        return np.array([int(label.removeprefix("__label__")) for (label,) in labels])


def fit(texts: Sequence[str], labels: np.ndarray, seed: int = 0) -> Model:
    """Fit it to texts and their labels, with the settings of fastText's tutorial.

    Source: https://fasttext.cc/docs/en/supervised-tutorial.html (pairs, 25 epochs, rate 1). It runs
    on one thread: more update each other's weights in any order.
    """
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "texts.txt")
        with file.open("w") as lines:
            for text, label in zip(texts, labels, strict=True):
                print(f"__label__{label} {_line(text)}", file=lines)
        return Model(
            floret.train_supervised(
                str(file), wordNgrams=2, lr=1.0, epoch=25, seed=seed, thread=1, verbose=0
            )
        )


def _line(text: str) -> str:
    return " ".join(split_words(text, "unicode"))
