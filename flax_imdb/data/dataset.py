"""Loading a dataset: from its name to the examples of an experiment."""

import dataclasses
from typing import Literal

import numpy as np

from flax_imdb.data.cache import load_corpus
from flax_imdb.data.config import DataConfig
from flax_imdb.data.examples import Examples
from flax_imdb.data.sources import find_reviews
from flax_imdb.data.tokenizer import Vocabulary
from flax_imdb.errors import InputError

# Subsets and the validation split must not change with the seed of a run, or runs could not be
# compared.
_SUBSET_SEED = 2011


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The examples of an experiment.

    Attributes:
      name: ``"imdb_reviews"`` or ``"synthetic"``.
      location: the directory of the reviews; empty for synthetic ones.
      fingerprint: SHA-256 that identifies the reviews.
      note: a warning to show with every result; empty for real reviews.
      vocabulary: at most `DataConfig.vocab_size` ids.
      train: training examples.
      validation: examples held out of the training split; may be empty.
      test: test examples.
    """

    name: Literal["imdb_reviews", "synthetic"]
    location: str
    fingerprint: str
    note: str
    vocabulary: Vocabulary
    train: Examples
    validation: Examples
    test: Examples

    def check_same(self, fingerprint: str) -> None:
        """Raise InputError if `fingerprint` is not that of these reviews."""
        if self.fingerprint != fingerprint:
            raise InputError(
                f"`data_dir` {self.location} holds other reviews than the run was trained on: "
                "give the directory that it was trained on"
            )


def load_dataset(config: DataConfig) -> Dataset:
    """Find, read and encode the reviews that `config` asks for.

    Raises:
      InputError: there are no such reviews, or fewer than asked for.
    """
    reviews = find_reviews(config.dataset, config.data_dir)
    corpus = load_corpus(reviews)
    train = corpus.train.limited(config.vocab_size, config.max_length)
    test = corpus.test.limited(config.vocab_size, config.max_length)
    validation, train = _split(train, config.validation_examples, config.train_examples)
    _, test = _split(test, 0, config.test_examples, setting="test_examples")
    return Dataset(
        name=reviews.name,
        location=reviews.location,
        fingerprint=reviews.fingerprint,
        note=reviews.note,
        vocabulary=corpus.vocabulary.limited(config.vocab_size),
        train=train,
        validation=validation,
        test=test,
    )


def _split(
    examples: Examples, held_out: int, kept: int | None, setting: str = "train_examples"
) -> tuple[Examples, Examples]:
    """Two random subsets: `held_out` examples, and `kept` of the others (None: all)."""
    available = len(examples) - held_out
    if available < 1:
        raise InputError(
            f"`validation_examples` {held_out} leaves nothing to train on: "
            f"there are {len(examples)} reviews"
        )
    if kept is not None and kept > available:
        raise InputError(
            f"`{setting}` {kept} is too large: {available} reviews are left to take from"
        )
    order = np.random.default_rng(_SUBSET_SEED).permutation(len(examples))
    end = None if kept is None else held_out + kept
    # Sorted, so that a subset of all examples is the split itself.
    return examples.take(np.sort(order[:held_out])), examples.take(np.sort(order[held_out:end]))
