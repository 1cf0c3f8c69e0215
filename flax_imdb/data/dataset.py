"""Loading a dataset: from its name to the examples of an experiment."""

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np

from flax_imdb.data.cache import load_corpus
from flax_imdb.data.config import DataConfig
from flax_imdb.data.examples import Corpus, Examples, OnRead
from flax_imdb.data.info import DatasetInfo
from flax_imdb.data.sources import Source, find_source, listed, read_labelled, shown
from flax_imdb.data.words import split_words
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


def load_dataset(
    config: DataConfig,
    on_read: OnRead = lambda what, done, total: None,
    known: DatasetInfo | None = None,
) -> Dataset:
    """Find, read and encode the texts that `config` asks for.

    Args:
      config: which texts.
      on_read: called while they are read, unless the cache has them (see `encode`).
      known: the vocabulary and the classes of a model, which the texts are encoded for; if it has
        no classes, those are the texts' own.

    Raises:
      InputError: there are no such texts, or fewer than asked for; or they are nothing that the
        model reads, or have a label that is none of its classes.
    """
    source = find_source(config)
    if known is None:
        return make_dataset(source, load_corpus(source, config.text, on_read), config)
    corpus = load_corpus(source, config.text, on_read, known.vocabulary)
    place = source.location or source.name
    if (ours := corpus.info.task.kind) != known.task.kind:
        raise InputError(f"{place} has {ours}, and the model is for {known.task.kind}")
    if known.classes:
        corpus = _of_classes(corpus, known.classes, place)
    return make_dataset(source, corpus, config)


def _of_classes(corpus: Corpus, classes: tuple[str, ...], place: str) -> Corpus:
    """A corpus whose labels are indices into `classes`, which may be more than it has."""
    if unknown := [shown(name) for name in corpus.info.classes if name not in classes]:
        raise InputError(
            f"{place} has labels that the model does not know: {listed(unknown, 3)}; it knows "
            f"{listed([*map(shown, classes)], 5)}, and `new_head` begins with other classes"
        )
    warnings = corpus.warnings
    if lacking := [shown(name) for name in classes if name not in corpus.info.classes]:
        warnings += (f"{place}: classes of the model without a text: {listed(lacking, 3)}",)
    numbers = np.array([classes.index(name) for name in corpus.info.classes], np.int32)
    return dataclasses.replace(
        corpus,
        info=dataclasses.replace(corpus.info, classes=classes),
        warnings=warnings,
        train=corpus.train.relabelled(numbers),
        test=corpus.test.relabelled(numbers),
    )


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
    texts, labels, remarks = read_labelled(config, info.classes, given)
    words = info.vocabulary
    encoded = [words.encode(split_words(text, words.rules)) for text in texts]
    return Examples.build(encoded, labels).limited(config.vocab_size, config.max_length), remarks


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
    texts, _ = source.read("test")
    return [texts[number] for number in numbers]


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
    order = np.random.default_rng(_SUBSET_SEED).permutation(len(examples))
    end = None if kept is None else held_out + kept
    # Sorted, so that a subset of all examples is the split itself.
    return examples.take(np.sort(order[:held_out])), examples.take(np.sort(order[held_out:end]))
