"""Encoded texts: token ids of all texts in flat arrays."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from flax_imdb.data.info import DatasetInfo
from flax_imdb.data.sources import Source, Split
from flax_imdb.data.tokenizer import START, UNKNOWN, Vocabulary
from flax_imdb.data.words import TextRules, split_words


@dataclasses.dataclass(frozen=True)
class Examples:
    """Encoded texts with their labels. Text ``i`` is ``inputs[starts[i] :][: lengths[i]]``.

    Attributes:
      inputs: token ids of all texts, concatenated, int32 [total].
      starts: index of the first token of each text, int64 [examples].
      lengths: number of tokens of each text, int32 [examples].
      labels: int32 [examples].
      weights: of each example in loss and metrics, float32 [examples].
      ids: index of each example in the whole split, int32 [examples].
    """

    inputs: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    ids: np.ndarray

    @classmethod
    def build(cls, texts: Sequence[np.ndarray], labels: np.ndarray) -> "Examples":
        """Concatenate the token ids of the texts. All weights are 1."""
        lengths = np.array([len(ids) for ids in texts], np.int32)
        return cls(
            inputs=np.concatenate([np.empty(0, np.int32), *texts]),
            starts=np.cumsum(lengths, dtype=np.int64) - lengths,
            lengths=lengths,
            labels=np.asarray(labels, np.int32),
            weights=np.ones(len(texts), np.float32),
            ids=np.arange(len(texts), dtype=np.int32),
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

    def spread(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All tokens of the examples, one after another.

        Returns:
          Of each token the index of its example, int64, its step there, int64, and its id, int32.
        """
        owners = np.repeat(np.arange(len(self)), self.lengths)
        before = np.cumsum(self.lengths, dtype=np.int64) - self.lengths
        steps = np.arange(len(owners)) - before[owners]
        return owners, steps, self.inputs[self.starts[owners] + steps]

    def known_share(self) -> float:
        """The share of the words that the vocabulary has."""
        _, _, tokens = self.spread()
        words = tokens[tokens != START]
        return float(np.mean(words != UNKNOWN)) if len(words) else 1.0

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

    def relabelled(self, numbers: np.ndarray) -> "Examples":
        """The examples with label ``numbers[i]`` instead of ``i``; `numbers` is int32 [classes]."""
        return dataclasses.replace(self, labels=numbers[self.labels])

    def limited(self, vocab_size: int, max_length: int) -> "Examples":
        """Limit ids and lengths.

        Ids of `vocab_size` and above become ``<unk>``. Longer texts keep their last `max_length`
        tokens.
        """
        lengths = np.minimum(self.lengths, max_length)
        return dataclasses.replace(
            self,
            inputs=np.where(self.inputs < vocab_size, self.inputs, UNKNOWN).astype(np.int32),
            starts=self.starts + (self.lengths - lengths),
            lengths=lengths,
        )


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


OnRead = Callable[[str, int, int | None], None]
"""Called while texts are read: what is done, how much of it, and how much there is, if known."""

_TEXTS_AT_ONCE = 256


def encode(
    source: Source,
    rules: TextRules,
    on_read: OnRead = lambda what, done, total: None,
    vocabulary: Vocabulary | None = None,
) -> Corpus:
    """Read both splits and encode them with the vocabulary of the training split.

    Args:
      source: the texts.
      rules: which words a text has.
      on_read: called every few texts.
      vocabulary: encode with this one, by the same rules, instead.
    """

    def read(split: Split) -> tuple[Iterator[str], np.ndarray]:
        on_read(f"reading the {split} split", 0, None)
        texts, labels = source.read(split)
        return _watched(
            texts, lambda n: on_read(f"encoding the {split} split", n, len(texts))
        ), labels

    texts, labels = read("train")
    words_of_texts = [split_words(text, rules) for text in texts]
    words = vocabulary or Vocabulary.build(words_of_texts, rules)
    train = Examples.build([words.encode(text) for text in words_of_texts], labels)
    del words_of_texts
    texts, labels = read("test")
    test = Examples.build([words.encode(split_words(text, rules)) for text in texts], labels)
    info = DatasetInfo(source.name, source.fingerprint, source.classes, words)
    return Corpus(info, source.remarks, source.warnings, train, test)


def _watched(texts: Sequence[str], on_text: Callable[[int], None]) -> Iterator[str]:
    """The texts; every few of them `on_text` is called with their number."""
    for number, text in enumerate(texts):
        if number % _TEXTS_AT_ONCE == 0:
            on_text(number)
        yield text
