"""Encoded reviews: token ids of all reviews in flat arrays."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from flax_imdb.data.sources import Reviews
from flax_imdb.data.tokenizer import UNKNOWN, Vocabulary, split_words


@dataclasses.dataclass(frozen=True)
class Examples:
    """Encoded reviews with their labels. Review ``i`` is ``tokens[starts[i] :][: lengths[i]]``.

    Attributes:
      tokens: ids of all reviews, concatenated, int32 [total].
      starts: index of the first token of each review, int64 [examples].
      lengths: number of tokens of each review, int32 [examples].
      labels: int32 [examples].
      ids: index of each example in the whole split, int32 [examples].
    """

    tokens: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    ids: np.ndarray

    @classmethod
    def build(cls, reviews: Sequence[np.ndarray], labels: np.ndarray) -> "Examples":
        """Concatenate the token ids of the reviews."""
        lengths = np.array([len(ids) for ids in reviews], np.int32)
        return cls(
            tokens=np.concatenate(reviews),
            starts=np.cumsum(lengths, dtype=np.int64) - lengths,
            lengths=lengths,
            labels=np.asarray(labels, np.int32),
            ids=np.arange(len(reviews), dtype=np.int32),
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
            ids=self.ids[indices],
        )

    def limited(self, vocab_size: int, max_length: int) -> "Examples":
        """Limit ids and lengths.

        Ids of `vocab_size` and above become ``<unk>``. Longer reviews keep their last `max_length`
        tokens.
        """
        lengths = np.minimum(self.lengths, max_length)
        return dataclasses.replace(
            self,
            tokens=np.where(self.tokens < vocab_size, self.tokens, UNKNOWN).astype(np.int32),
            starts=self.starts + (self.lengths - lengths),
            lengths=lengths,
        )


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Both splits of a dataset, encoded with every word of the training split.

    Attributes:
      vocabulary: all words of the training split.
      train: the training split.
      test: the test split.
    """

    vocabulary: Vocabulary
    train: Examples
    test: Examples


def encode(reviews: Reviews) -> Corpus:
    """Read both splits and encode them with the vocabulary of the training split."""
    train_texts, train_labels = reviews.read("train")
    train_words = [split_words(text) for text in train_texts]
    words = Vocabulary.build(train_words)
    train = Examples.build([words.encode(review) for review in train_words], train_labels)
    del train_texts, train_words
    test_texts, test_labels = reviews.read("test")
    test = Examples.build([words.encode(split_words(text)) for text in test_texts], test_labels)
    return Corpus(words, train, test)
