"""Encoded texts: token ids of all texts in flat arrays; or numeric sequences likewise."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from flax_imdb.data.info import DatasetInfo
from flax_imdb.data.tokenizer import START, UNKNOWN

_COUNTED_AT_ONCE = 4096


@dataclasses.dataclass(frozen=True)
class Examples:
    """Encoded texts with their labels. Text ``i`` is ``inputs[starts[i] :][: lengths[i]]``.

    Numeric sequences take the place of texts, and their steps that of tokens. The
    arrays may be files that are mapped into memory, and larger than it.

    Attributes:
      inputs: token ids of all texts, concatenated, int32 [total]; or the steps of all numeric
        sequences, float32 [total, features], and of any real type until they are standardized.
      starts: index of the first token of each text, int64 [examples].
      lengths: number of tokens of each text, int32 [examples].
      labels: int32 [examples]; or, where an example may have several, 0 or 1 for each class,
        float32 [examples, classes].
      weights: of each example in loss and metrics, float32 [examples].
      ids: index of each example in the whole split, int32 [examples].
      vocab_size: ids of `inputs` from this one on count as ``<unk>``; None: all count.
    """

    inputs: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    ids: np.ndarray
    vocab_size: int | None = None

    @classmethod
    def build(cls, texts: Sequence[np.ndarray], labels: np.ndarray) -> "Examples":
        """Concatenate the token ids or the steps of each text. All weights are 1."""
        lengths = np.array([len(ids) for ids in texts], np.int32)
        return cls.joined(np.concatenate([*texts] or [np.empty(0, np.int32)]), lengths, labels)

    @classmethod
    def joined(cls, inputs: np.ndarray, lengths: np.ndarray, labels: np.ndarray) -> "Examples":
        """Examples of these lengths, one after another in `inputs`. All weights are 1."""
        labels = np.asarray(labels)
        return cls(
            inputs=inputs,
            starts=np.cumsum(lengths, dtype=np.int64) - lengths,
            lengths=lengths,
            labels=labels.astype(np.int32 if labels.ndim == 1 else np.float32),
            weights=np.ones(len(lengths), np.float32),
            ids=np.arange(len(lengths), dtype=np.int32),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Examples":
        """The examples at `indices`."""
        return dataclasses.replace(
            self,
            starts=self.starts[indices],
            lengths=self.lengths[indices],
            labels=self.labels[indices],
            weights=self.weights[indices],
            ids=self.ids[indices],
        )

    def at(self, positions: np.ndarray) -> np.ndarray:
        """The inputs at these positions of `inputs`, an integer array of any shape."""
        found = self.inputs[positions]
        if self.vocab_size is None:
            return found
        return np.where(found < self.vocab_size, found, UNKNOWN).astype(np.int32)

    def spread(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All tokens of the examples, one after another.

        Returns:
          Of each token the index of its example, int64, its step there, int64, and its id, int32.
        """
        owners = np.repeat(np.arange(len(self)), self.lengths)
        before = np.cumsum(self.lengths, dtype=np.int64) - self.lengths
        steps = np.arange(len(owners)) - before[owners]
        return owners, steps, self.at(self.starts[owners] + steps)

    def counts(self, vocab_size: int) -> np.ndarray:
        """How often each id comes in the examples, int64 [vocab_size]."""
        counts = np.zeros(vocab_size, np.int64)
        # Not all at once: the places of tokens take more memory than they do.
        for rows in np.array_split(np.arange(len(self)), len(self) // _COUNTED_AT_ONCE + 1):
            counts += np.bincount(self.take(rows).spread()[2], minlength=vocab_size)
        return counts

    def known_share(self, vocab_size: int) -> float:
        """The share of the words that a vocabulary of so many ids has."""
        counts = self.counts(vocab_size)
        words = counts.sum() - counts[START]
        return float(1 - counts[UNKNOWN] / words) if words else 1.0

    def are_unknown(self) -> np.ndarray:
        """Which texts have no word but ``<unk>``, or none at all, bool [examples]."""
        unknown = np.ones(len(self), bool)
        for rows in np.array_split(np.arange(len(self)), len(self) // _COUNTED_AT_ONCE + 1):
            owners, _, tokens = self.take(rows).spread()
            unknown[rows[owners[tokens > UNKNOWN]]] = False
        return unknown

    def balanced(self) -> "Examples":
        """The examples, weighted by ``examples / (classes * examples of the class)``."""
        from sklearn.utils.class_weight import compute_sample_weight

        return self.weighted(compute_sample_weight("balanced", self.labels))

    def weighted(self, weights: np.ndarray) -> "Examples":
        """The examples with weights in these proportions: 1 on average of those above 0."""
        # By the largest first: the sum of finite numbers may not be finite.
        weights = weights / weights.max()
        weights = weights / weights[weights > 0].mean()
        return dataclasses.replace(self, weights=weights.astype(np.float32))

    def relabelled(self, numbers: np.ndarray, classes: int) -> "Examples":
        """The examples with label ``numbers[i]``, of so many classes, instead of ``i``."""
        return dataclasses.replace(self, labels=relabelled(self.labels, numbers, classes))

    def limited(
        self, vocab_size: int, max_length: int, end: Literal["first", "last"] = "last"
    ) -> "Examples":
        """Limit ids and lengths.

        Ids of `vocab_size` and above count as ``<unk>``. Longer texts keep their last or first
        `max_length` tokens, as `end` says. `inputs` stays as it is.
        """
        known = min(vocab_size, self.vocab_size or vocab_size)
        return dataclasses.replace(self.shortened(max_length, end), vocab_size=known)

    def shortened(self, max_length: int, end: Literal["first", "last"] = "last") -> "Examples":
        """Limit lengths: longer ones keep their last or first `max_length` tokens or steps."""
        if np.max(self.lengths, initial=0) <= max_length:
            return self
        lengths = np.minimum(self.lengths, max_length)
        starts = self.starts + (self.lengths - lengths) if end == "last" else self.starts
        return dataclasses.replace(self, starts=starts, lengths=lengths)


def relabelled(labels: np.ndarray, numbers: np.ndarray, classes: int) -> np.ndarray:
    """Labels, as `Examples` has them, with ``numbers[i]`` instead of ``i``.

    Args:
      labels: the labels.
      numbers: int32 [classes of `labels`].
      classes: number of classes afterwards.
    """
    if labels.ndim == 1:
        return numbers[labels]
    matrix = np.zeros((len(labels), classes), np.float32)
    matrix[:, numbers] = labels
    return matrix


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Both splits of a dataset, encoded with every word of the training split.

    Attributes:
      info: with a vocabulary of all words of the training split.
      remarks: what was chosen or left out while reading.
      warnings: what may be wrong with the texts or labels.
      train: the training split.
      test: the test split.
    """

    info: DatasetInfo
    remarks: tuple[str, ...]
    warnings: tuple[str, ...]
    train: Examples
    test: Examples
