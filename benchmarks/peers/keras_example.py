"""Keras's own example of a bidirectional LSTM on IMDB.

Source: https://keras.io/examples/nlp/bidirectional_lstm_imdb (20,000 words, the last 200 of each
review, two bidirectional LSTMs of 64, two epochs).
"""

from collections.abc import Sequence

import keras
import numpy as np

from flax_imdb.data import Vocabulary, split_words

WORDS, LENGTH = 20_000, 200


class Model:
    """The fitted model, with the words that it knows."""

    def __init__(self, vocabulary: Vocabulary, fitted: keras.Model):
        self._vocabulary, self._fitted = vocabulary, fitted

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """The labels of texts, int [texts]."""
        rows = _rows(self._vocabulary, [split_words(text, "keras") for text in texts])
        return (self._fitted.predict(rows, verbose=0)[:, 0] > 0.5).astype(int)


def fit(texts: Sequence[str], labels: np.ndarray, seed: int = 0) -> Model:
    """Fit it to texts and their labels."""
    keras.utils.set_random_seed(seed)
    words = [split_words(text, "keras") for text in texts]
    vocabulary = Vocabulary.build(words, "keras").limited(WORDS)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(WORDS, 128),
            layers.Bidirectional(layers.LSTM(64, return_sequences=True)),
            layers.Bidirectional(layers.LSTM(64)),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    model.fit(_rows(vocabulary, words), labels, batch_size=32, epochs=2, verbose=0)
    return Model(vocabulary, model)


def _rows(vocabulary: Vocabulary, texts: Sequence[Sequence[str]]) -> np.ndarray:
    """The last ids of each text, padded at the front: int32 [texts, LENGTH]."""
    rows = np.zeros((len(texts), LENGTH), np.int32)
    for row, text in zip(rows, texts, strict=True):
        ids = vocabulary.encode(text)[-LENGTH:]
        row[LENGTH - len(ids) :] = ids
    return rows
