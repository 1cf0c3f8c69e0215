"""Loading a dataset: from its name to the examples of an experiment."""

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np

from flax_imdb.data.cache import load_corpus
from flax_imdb.data.config import DataConfig
from flax_imdb.data.encoder import Encoder, OnRead
from flax_imdb.data.examples import Corpus, Examples
from flax_imdb.data.info import DatasetInfo
from flax_imdb.data.sources import Source, find_source, read_labelled
from flax_imdb.errors import InputError

# Subsets and the validation split must not change with the seed of a run, or runs could not be
# compared.
_SUBSET_SEED = 2011


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The examples of an experiment.

    Attributes:
      info: its name and classes, and a vocabulary of at most `DataConfig.vocab_size` ids.
      location: where it is; empty for synthetic reviews.
      found: settings that find the same texts from any directory.
      note: a warning to show with every result; empty for real texts.
      remarks: what was chosen or left out while reading.
      warnings: what may be wrong with the texts or labels.
      train: training examples.
      validation: examples held out of the training split; may be empty.
      test: test examples.
    """

    info: DatasetInfo
    location: str
    found: dict[str, str | None]
    note: str
    remarks: tuple[str, ...]
    warnings: tuple[str, ...]
    train: Examples
    validation: Examples
    test: Examples

    def without_test(self) -> "Dataset":
        """The dataset without the texts of its test split."""
        return dataclasses.replace(self, test=self.test.take(np.arange(0)))

    def to_evaluate(self) -> tuple[str | None, Examples]:
        """The split to evaluate after each epoch, and its examples; None if there is none."""
        if len(self.validation):
            return "validation", self.validation
        return ("test" if len(self.test) else None), self.test


def load_dataset(config: DataConfig, on_read: OnRead = lambda what, done, total: None) -> Dataset:
    """Find, read and encode the texts that `config` asks for.

    Args:
      config: which texts.
      on_read: called while they are read, unless the cache has them (see `encode`).

    Raises:
      InputError: there are no such texts, or fewer than asked for.
    """
    source = find_source(config)
    return make_dataset(source, load_corpus(source, config.text, on_read), config)


def make_dataset(source: Source, corpus: Corpus, config: DataConfig) -> Dataset:
    """The examples that `config` asks for, from those of a source.

    Raises:
      InputError: there are fewer than asked for.
    """
    train = corpus.train.limited(config.vocab_size, config.max_length)
    test = corpus.test.limited(config.vocab_size, config.max_length)
    validation, train = _split(train, config.validation_examples, config.train_examples)
    if len(test):
        _, test = _split(test, 0, config.test_examples, setting="test_examples")
    vocabulary = corpus.info.vocabulary.limited(config.vocab_size)
    return Dataset(
        info=dataclasses.replace(corpus.info, vocabulary=vocabulary),
        location=source.location,
        found=source.found,
        note=source.note,
        remarks=corpus.remarks,
        warnings=corpus.warnings,
        train=train,
        validation=validation,
        test=test,
    )


def load_examples(
    config: DataConfig, info: DatasetInfo, given: Collection[str] = ()
) -> tuple[Examples, tuple[str, ...]]:
    """Read other texts for a model, and encode them as it was trained.

    Args:
      config: that of the model, but with where the texts are and how they are read. Of a dataset
        that is split they are the test split; otherwise all rows.
      info: the model's classes and vocabulary.
      given: settings that must have an effect: others may be those of the training texts.

    Returns:
      The examples, and what was chosen or left out while reading.

    Raises:
      InputError: they cannot be read, or have a label that is no class of the model.
    """
    words = info.vocabulary
    tokens, lengths = [np.empty(0, np.int32)], [np.empty(0, np.int32)]

    def write(of_texts: np.ndarray, their_lengths: np.ndarray) -> None:
        tokens.append(of_texts)
        lengths.append(their_lengths)

    with Encoder(words.rules, lambda different: words.encode(different)[1:], write) as encoder:
        labels, remarks = read_labelled(config, info.classes, encoder.take, given)
        encoder.finish()
    examples = Examples.joined(np.concatenate(tokens), np.concatenate(lengths), labels)
    return examples.limited(config.vocab_size, config.max_length), remarks


def read_again(config: DataConfig, info: DatasetInfo, numbers: Sequence[int]) -> list[str]:
    """Read texts of the test split again.

    Args:
      config: where they are.
      info: of the dataset that they were in.
      numbers: their indices in the whole split: `Examples.ids`.

    Raises:
      InputError: they are not there any more, or the dataset has other texts now.
    """
    source = find_source(config)
    if source.fingerprint != info.fingerprint:
        raise InputError(f"{source.location} holds other texts than the run was trained on")
    return source.texts("test", numbers)


def _split(
    examples: Examples, held_out: int, kept: int | None, setting: str = "train_examples"
) -> tuple[Examples, Examples]:
    """Two random subsets: `held_out` examples, and `kept` of the others (None: all)."""
    available = len(examples) - held_out
    if available < 1:
        raise InputError(
            f"`validation_examples` {held_out} leaves nothing to train on: "
            f"there are {len(examples)} texts"
        )
    if kept is not None and kept > available:
        raise InputError(
            f"`{setting}` {kept} is too large: {available} texts are left to take from"
        )
    if held_out == 0 and kept in (None, available):
        return examples.take(np.arange(0)), examples
    order = np.arange(len(examples), dtype=np.int32)
    np.random.default_rng(_SUBSET_SEED).shuffle(order)
    end = None if kept is None else held_out + kept
    # Sorted, so that a subset of all examples is the split itself.
    return examples.take(np.sort(order[:held_out])), examples.take(np.sort(order[held_out:end]))
