"""Loading a dataset: from its name to the examples of an experiment."""

import dataclasses
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from flax_imdb.data.cache import load_corpus
from flax_imdb.data.config import DataConfig
from flax_imdb.data.encoder import Encoder, OnRead
from flax_imdb.data.examples import Corpus, Examples
from flax_imdb.data.info import DatasetInfo, Task
from flax_imdb.data.numeric import check_features
from flax_imdb.data.sources import (
    SPLITS,
    SequenceFile,
    SequenceSource,
    Source,
    find_source,
    listed,
    read_labelled,
    read_labelled_sequences,
    shown,
)
from flax_imdb.data.standardizer import Standardizer
from flax_imdb.data.tokenizer import Vocabulary
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
      calibration: others held out of it, which choose nothing; may be empty.
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
    calibration: Examples
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
    source = find_source(config, known.classes if known else ())
    vocabulary = None
    if known is not None:
        _check_kind(source, known)
        vocabulary = known.inputs
    if isinstance(source, SequenceSource):
        assert not isinstance(vocabulary, Vocabulary)
        dataset = make_sequences(source, config, vocabulary)
    else:
        assert not isinstance(vocabulary, Standardizer)
        corpus = load_corpus(source, config.text, on_read, vocabulary)
        dataset = make_dataset(source, corpus, config)
    return _of_classes(dataset, known.classes) if known and known.classes else dataset


def _check_kind(source: Source, known: DatasetInfo) -> None:
    """Raise InputError if a model reads or answers something else than there is."""
    # How many features there are is checked with their names.
    features = known.task.features or 1
    ours = Task(
        multi_label=source.multi_label,
        features=features if isinstance(source, SequenceSource) else None,
    )
    if ours.kind != known.task.kind:
        place = source.location or source.name
        raise InputError(f"{place} has {ours.kind}, and the model is for {known.task.kind}")


def _of_classes(dataset: Dataset, classes: tuple[str, ...]) -> Dataset:
    """A dataset whose labels are indices into `classes`, which may be more than it has."""
    place, own = dataset.location or dataset.info.name, dataset.info.classes
    if unknown := [shown(name) for name in own if name not in classes]:
        raise InputError(
            f"{place} has labels that the model does not know: {listed(unknown, 3)}; it knows "
            f"{listed([*map(shown, classes)], 5)}, and `new_head` begins with other classes"
        )
    numbers = np.array([classes.index(name) for name in own], np.int32)
    return dataclasses.replace(
        dataset,
        info=dataclasses.replace(dataset.info, classes=classes),
        train=dataset.train.relabelled(numbers, len(classes)),
        validation=dataset.validation.relabelled(numbers, len(classes)),
        calibration=dataset.calibration.relabelled(numbers, len(classes)),
        test=dataset.test.relabelled(numbers, len(classes)),
    )


def make_dataset(source: Source, corpus: Corpus, config: DataConfig) -> Dataset:
    """The examples that `config` asks for, from those of a source.

    Raises:
      InputError: there are fewer than asked for.
    """
    train, test = (
        examples.limited(config.vocab_size, config.longest, config.end)
        for examples in (corpus.train, corpus.test)
    )
    validation, calibration, train = _held_out(train, config)
    if len(test):
        *_, test = _split(test, (), config.test_examples, setting="test_examples")
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
        calibration=calibration,
        test=test,
    )


def make_sequences(
    source: SequenceSource, config: DataConfig, standardizer: Standardizer | None = None
) -> Dataset:
    """The examples of numeric sequences that `config` asks for, standardized.

    Args:
      source: the sequences.
      config: which of them, and how much of each.
      standardizer: a model's. None: it is fitted to the training examples.

    Raises:
      InputError: there are fewer than asked for, a setting is for texts, or they have other
        features than a model reads.
    """
    config.check_effect(sequences=True)
    whole = [Examples.build(*source.read(split)) for split in SPLITS]
    given, test = (examples.shortened(config.longest, config.end) for examples in whole)
    validation, calibration, train = _held_out(given, config)
    if standardizer is None:
        # By what the model reads of the sequences that it is trained on.
        standardizer = Standardizer.fit(train.spread()[2], source.feature_names)
    else:
        sequences, _ = source.read("train")
        names = source.feature_names
        check_features(
            sequences, names, standardizer.features, standardizer.names, f"{source.name}: "
        )
    inputs = standardizer(given.inputs)
    if len(test):
        *_, test = _split(test, (), config.test_examples, setting="test_examples")
        test = dataclasses.replace(test, inputs=standardizer(test.inputs))
    return Dataset(
        info=DatasetInfo(source.name, source.fingerprint, source.classes, standardizer),
        location=source.location,
        found=source.found,
        note=source.note,
        remarks=source.remarks,
        warnings=(*source.warnings, *_warning_of_length(whole[0].lengths, config)),
        train=dataclasses.replace(train, inputs=inputs),
        validation=dataclasses.replace(validation, inputs=inputs),
        calibration=dataclasses.replace(calibration, inputs=inputs),
        test=test,
    )


def _warning_of_length(lengths: np.ndarray, config: DataConfig) -> Iterator[str]:
    if longer := int(np.sum(lengths > config.longest)):
        yield (
            f"{longer:,} of {len(lengths):,} sequences are longer than the {config.longest} "
            f"steps that are read, the {config.end} ones: max_length sets their number"
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
    source = find_source(config, info.classes)
    if source.fingerprint != info.fingerprint:
        raise InputError(f"{source.location} holds other texts than the run was trained on")
    return source.texts("test", numbers)


def _held_out(examples: Examples, config: DataConfig) -> list[Examples]:
    """The validation, the calibration and the training examples."""
    sizes = (config.validation_examples, config.calibration_examples)
    return _split(examples, sizes, config.train_examples)


def _split(
    examples: Examples, held_out: Sequence[int], kept: int | None, setting: str = "train_examples"
) -> list[Examples]:
    """Random subsets: of the sizes `held_out`, and `kept` of the others (None: all)."""
    available = len(examples) - sum(held_out)
    if available < 1:
        names = ("validation_examples", "calibration_examples")
        given = [f"`{name}` {size}" for name, size in zip(names, held_out, strict=True) if size]
        raise InputError(
            f"{' and '.join(given)} leave{'s' * (len(given) == 1)} nothing to train on: there are "
            f"{len(examples)} examples"
        )
    if kept is not None and kept > available:
        raise InputError(
            f"`{setting}` {kept} is too large: {available} examples are left to take from"
        )
    if available == len(examples) and kept in (None, available):
        return [*(examples.take(np.arange(0)) for _ in held_out), examples]
    order = np.arange(len(examples), dtype=np.int32)
    np.random.default_rng(_SUBSET_SEED).shuffle(order)
    *parts, rest = np.split(order, np.cumsum(held_out, dtype=int))
    # Sorted, so that a subset of all examples is the split itself.
    return [examples.take(np.sort(part)) for part in (*parts, rest[:kept])]
