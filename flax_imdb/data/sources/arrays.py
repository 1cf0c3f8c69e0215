"""Texts or numeric sequences, and labels, that are in memory already."""

import functools
import hashlib
from collections.abc import Sequence

import numpy as np

from flax_imdb.data.config import Layout
from flax_imdb.data.numeric import doubts_of_axes
from flax_imdb.data.sources.source import SequenceSource, Source, Split


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


class ArraySequences(SequenceSource):
    """A training split of numeric sequences from Python; the test split is empty.

    Args:
      sequences: arrays [time, features] of one width.
      labels: indices into `classes`, int32 [sequences].
      classes: the names of the labels.
      layout: in which they were given.
    """

    name = ArraySource.name

    def __init__(
        self,
        sequences: Sequence[np.ndarray],
        labels: np.ndarray,
        classes: tuple[str, ...],
        layout: Layout,
    ):
        self.found = {"dataset": self.name}
        self.classes = classes
        self.warnings = tuple(doubts_of_axes(sequences, layout))
        self._sequences = sequences
        self._labels = labels

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of sequences, labels and classes."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        digest.update(self._labels.tobytes())
        for sequence in self._sequences:
            digest.update(f"{sequence.dtype} {sequence.shape}\n".encode())
            digest.update(sequence.tobytes())
        return digest.hexdigest()

    def read(self, split: Split) -> tuple[list[np.ndarray], np.ndarray]:
        """The sequences and labels that were given."""
        if split == "test":
            return [], np.zeros(0, np.int32)
        return list(self._sequences), self._labels
