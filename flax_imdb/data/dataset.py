"""Loading a dataset: from its name to the examples of an experiment."""

import dataclasses
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from flax_imdb.data.cache import load_corpus
from flax_imdb.data.config import DataConfig
from flax_imdb.data.encoding import Encoder, OnRead
from flax_imdb.data.examples import Corpus, Examples
from flax_imdb.data.info import DatasetInfo
from flax_imdb.data.sources import (
    SPLITS,
    SequenceFile,
    SequenceSource,
    Source,
    find_source,
    read_labelled,
    read_labelled_sequences,
)
from flax_imdb.data.standardizer import Standardizer
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
    if isinstance(source, SequenceSource):
        return make_sequences(source, config)
    return make_dataset(source, load_corpus(source, config.text, on_read), config)


def make_dataset(source: Source, corpus: Corpus, config: DataConfig) -> Dataset:
    """The examples that `config` asks for, from those of a source.

    Raises:
      InputError: there are fewer than asked for.
    """
    train, test = (
        examples.limited(config.vocab_size, config.longest, config.end)
        for examples in (corpus.train, corpus.test)
    )
    validation, train = _split(train, config.validation_examples, config.train_examples)
    if len(test):
        _, test = _split(test, 0, config.test_examples, setting="test_examples")
    vocabulary = corpus.info.vocabulary.limited(config.vocab_size)
    return Dataset(
        info=dataclasses.replace(corpus.info, inputs=vocabulary),
        location=source.location,
        found=source.found,
        note=source.note,
        remarks=corpus.remarks,
        warnings=corpus.warnings,
        train=train,
        validation=validation,
        test=test,
    )


def make_sequences(source: SequenceSource, config: DataConfig) -> Dataset:
    """The examples of numeric sequences that `config` asks for, standardized.

    Raises:
      InputError: there are fewer than asked for, or a setting is for texts.
    """
    config.check_effect(sequences=True)
    given, test = (
        Examples.build(*source.read(split)).shortened(config.longest, config.end)
        for split in SPLITS
    )
    validation, train = _split(given, config.validation_examples, config.train_examples)
    # By what the model reads of the sequences that it is trained on.
    standardizer = Standardizer.fit(train.spread()[2], source.feature_names)
    inputs = standardizer(given.inputs)
    if len(test):
        _, test = _split(test, 0, config.test_examples, setting="test_examples")
        test = dataclasses.replace(test, inputs=standardizer(test.inputs))
    return Dataset(
        info=DatasetInfo(source.name, source.fingerprint, source.classes, standardizer),
        location=source.location,
        found=source.found,
        note=source.note,
        remarks=source.remarks,
        warnings=(*source.warnings, *_warning_of_length(source, config)),
        train=dataclasses.replace(train, inputs=inputs),
        validation=dataclasses.replace(validation, inputs=inputs),
        test=test,
    )


def _warning_of_length(source: SequenceSource, config: DataConfig) -> Iterator[str]:
    sequences, _ = source.read("train")
    longer = sum(len(sequence) > config.longest for sequence in sequences)
    if longer:
        yield (
            f"{longer:,} of {len(sequences):,} sequences are longer than the {config.longest} "
            f"steps that are read, the {config.end} ones: `max_length` sets their number"
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
    if isinstance(info.inputs, Standardizer):
        return _load_sequences(config, info.classes, info.inputs), ()
    words = info.vocabulary
    tokens, lengths = [np.empty(0, np.int32)], [np.empty(0, np.int32)]

    def write(of_texts: np.ndarray, their_lengths: np.ndarray) -> None:
        tokens.append(of_texts)
        lengths.append(their_lengths)

    with Encoder(words.rules, lambda different: words.encode(different)[1:], write) as encoder:
        labels, remarks = read_labelled(config, info.classes, encoder.take, given)
        encoder.finish()
    examples = Examples.joined(np.concatenate(tokens), np.concatenate(lengths), labels)
    return examples.limited(config.vocab_size, config.longest, config.end), remarks


def _load_sequences(
    config: DataConfig, classes: Sequence[str], standardizer: Standardizer
) -> Examples:
    config.check_effect(sequences=True)
    file = SequenceFile("`dataset`", config.dataset, config.layout)
    sequences, labels = read_labelled_sequences(
        file, classes, standardizer.features, standardizer.names
    )
    standardized = [standardizer(sequence) for sequence in sequences]
    return Examples.build(standardized, labels).shortened(config.longest, config.end)


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
            f"there are {len(examples)} examples"
        )
    if kept is not None and kept > available:
        raise InputError(
            f"`{setting}` {kept} is too large: {available} examples are left to take from"
        )
    if held_out == 0 and kept in (None, available):
        return examples.take(np.arange(0)), examples
    order = np.arange(len(examples), dtype=np.int32)
    np.random.default_rng(_SUBSET_SEED).shuffle(order)
    end = None if kept is None else held_out + kept
    # Sorted, so that a subset of all examples is the split itself.
    return examples.take(np.sort(order[:held_out])), examples.take(np.sort(order[held_out:end]))
