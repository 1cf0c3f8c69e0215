"""A model that is not trained: what a text says is what it predicts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from flax_imdb.data import DatasetInfo, Vocabulary
from flax_imdb.data.tokenizer import UNKNOWN
from flax_imdb.predict import TrainedModel
from flax_imdb.training import prediction_sets


class KnownModel:
    """The first known word of a text is its class; that has 0.75, and the others share the rest.

    Args:
      classes: their names; the words that it knows.
      thresholds: of several labels: each known word of a text has 0.75 then, and others 0.25.
      conformity: of the rows that it was calibrated with.
    """

    def __init__(
        self, *classes: str, thresholds: Sequence[float] = (), conformity: Sequence[float] = ()
    ):
        self.vocabulary = Vocabulary(classes)
        multi_label = len(thresholds) > 0
        self.info = DatasetInfo(
            *("known", "", classes, self.vocabulary, multi_label, tuple(thresholds)),
            conformity=tuple(conformity),
        )
        self.largest = 0

    def predict_encoded(self, encoded: Sequence[np.ndarray]) -> np.ndarray:
        self.largest = max(self.largest, len(encoded))
        if self.info.multi_label:
            known = np.arange(3, 3 + len(self.info.classes))
            return np.array([np.where(np.isin(known, ids), 0.75, 0.25) for ids in encoded], "f")
        classes = len(self.info.classes)
        rows = np.full((len(encoded), classes), 0.25 / (classes - 1), np.float32)
        for row, ids in zip(rows, encoded, strict=True):
            row[next((token - 3 for token in ids if token > 2), 0)] = 0.75
        return rows

    def prediction(self, *args: Any) -> Any:
        return TrainedModel.prediction(self, *args)  # type: ignore[arg-type]

    def predictions(self, encoded: Sequence[np.ndarray], least: Sequence[float | None]) -> Any:
        if not encoded:
            return []
        rows = self.predict_encoded(encoded)
        unknown = np.array([np.all(ids[1:] == UNKNOWN) for ids in encoded])
        sets = prediction_sets(rows, [each or 0 for each in least], unknown)
        return [
            self.prediction(row, None if each is None else members)
            for row, each, members in zip(rows, least, sets, strict=True)
        ]

    def least_probability(self, coverage: float) -> float:
        return TrainedModel.least_probability(self, coverage)  # type: ignore[arg-type]
