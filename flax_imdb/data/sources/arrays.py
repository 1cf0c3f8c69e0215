"""Texts and labels that are in memory already."""

import functools
import hashlib
from collections.abc import Sequence

import numpy as np

from flax_imdb.data.sources.source import Source, Split


class ArraySource(Source):
    """A training split from Python; the test split is empty.

    Args:
      texts: the texts.
      labels: indices into `classes`, int32 [texts]; or, where a text may have several, 0 or 1 for
        each class, float32 [texts, classes].
      classes: the names of the labels.
    """

    name = "python"

    def __init__(self, texts: Sequence[str], labels: np.ndarray, classes: tuple[str, ...]):
        self.found = {"dataset": self.name}
        self.classes = classes
        self.multi_label = labels.ndim == 2
        self._texts = texts
        self._labels = labels

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of texts, labels and classes."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        digest.update(self._labels.tobytes())
        for text in self._texts:
            content = text.encode()
            digest.update(b"%d\n" % len(content))
            digest.update(content)
        return digest.hexdigest()

    def read(self, split: Split) -> tuple[list[str], np.ndarray]:
        """The texts and labels that were given."""
        if split == "test":
            return [], self._labels[:0]
        return list(self._texts), self._labels
