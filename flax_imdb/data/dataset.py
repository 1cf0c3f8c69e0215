"""Loading a dataset: from its name to the examples of an experiment."""

import dataclasses
from typing import Literal, get_args

import numpy as np

from flax_imdb.data.batching import Padding
from flax_imdb.data.cache import load_corpus
from flax_imdb.data.examples import Examples
from flax_imdb.data.sources import DatasetName, find_reviews
from flax_imdb.data.tokenizer import SPECIAL_TOKENS, Vocabulary
from flax_imdb.errors import InputError, check_between

# Subsets and the validation split must not change with the seed of a run, or runs could not be
# compared.
_SUBSET_SEED = 2011

# Far longer than any review (IMDB's longest has 14,000): a text of this size is a mistake.
MAX_CHARACTERS = 1_000_000

# More words than the reviews have: an embedding of this size is a mistake.
MAX_VOCAB_SIZE = 10_000_000


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The reviews, and how they become tokens.

    Attributes:
      dataset: imdb_reviews, synthetic, or auto: imdb_reviews if available, else synthetic.
      data_dir: A tfds data directory or an extracted aclImdb folder (default: $TFDS_DATA_DIR, else
        ~/tensorflow_datasets).
      padding: masked ignores padding. keras pads at the front to max-length and processes padding
        like any token, as in the tutorial.
      vocab_size: Number of token ids, including <pad>, <start> and <unk>.
      max_length: Longer reviews keep their last max-length tokens.
      train_examples: Train on a fixed random subset of this many reviews (default: all).
      test_examples: Test on a fixed random subset of this many reviews (default: all).
      validation_examples: Hold out this many training reviews to select the best epoch.
    """

    dataset: DatasetName = "auto"
    data_dir: str | None = None
    padding: Padding = "masked"
    vocab_size: int = 5000
    max_length: int = 500
    train_examples: int | None = None
    test_examples: int | None = None
    validation_examples: int = 0

    def __post_init__(self) -> None:
        for setting, value, choices in (
            ("dataset", self.dataset, get_args(DatasetName)),
            ("padding", self.padding, get_args(Padding)),
        ):
            if value not in choices:
                raise InputError(f"`{setting}` {value} is unknown: one of {', '.join(choices)}")
        check_between("vocab_size", self.vocab_size, len(SPECIAL_TOKENS) + 1, MAX_VOCAB_SIZE)
        check_between("max_length", self.max_length, 1, MAX_CHARACTERS)
        if not isinstance(self.data_dir, str | None):
            raise InputError(f"`data_dir` {self.data_dir} is not the name of a directory")
        check_between("validation_examples", self.validation_examples, 0)
        for setting, examples in (
            ("train_examples", self.train_examples),
            ("test_examples", self.test_examples),
        ):
            if examples is not None:
                check_between(setting, examples, 1)


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
