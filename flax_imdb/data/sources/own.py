"""Datasets of the user's own: a file, a folder, or any dataset that tfds has prepared."""

import array
import csv
import dataclasses
import functools
import hashlib
import io
import itertools
import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from flax_imdb.data.config import DataConfig, column_names
from flax_imdb.data.sources import folder, tfds_any
from flax_imdb.data.sources.columns import Columns, choose_columns
from flax_imdb.data.sources.delimited import Delimited
from flax_imdb.data.sources.fasttext import FastText, Lines
from flax_imdb.data.sources.json_rows import JsonRows
from flax_imdb.data.sources.label_sets import LabelSets, joined_labels
from flax_imdb.data.sources.labels import (
    check_labels,
    index_of_classes,
    names_in,
    order_labels,
    split_rows,
    warnings_on,
    with_known,
)
from flax_imdb.data.sources.parquet import Parquet
from flax_imdb.data.sources.rows import Rows, read_rows
from flax_imdb.data.sources.source import At, Origin, Scanned, Source, Split, nowhere
from flax_imdb.data.sources.table import FileTable, Table, listed, shown
from flax_imdb.data.sources.text_files import COMPRESSIONS, check_file, format_of
from flax_imdb.errors import InputError
from flax_imdb.paths import absolute_path, exists, local_path, tfds_data_dir

UNLABELLED: Mapping[str, Callable[[Path, DataConfig], FileTable]] = {
    ".csv": Delimited,
    ".tsv": Delimited,
    ".json": JsonRows,
    ".jsonl": JsonRows,
    ".ndjson": JsonRows,
    ".parquet": Parquet,
    ".txt": Lines,
}
"""What reads a file of texts that need not have labels, by the ending of its name."""

FORMATS: Mapping[str, Callable[[Path, DataConfig], Table]] = {**UNLABELLED, ".txt": FastText}
"""What reads a file of texts with labels, likewise."""

# Of reading: to be raised when the same files and settings give other texts or labels.
_VERSION = 1

# A split whose first rows have no labels has none at all.
_ROWS_WITHOUT_LABELS = 100


@dataclasses.dataclass(frozen=True)
class Place:
    """Where there are rows.

    Attributes:
      name: a short name of the place.
      location: the absolute path of the file or directory.
      dataset: the setting that finds it from any directory, with `data_dir`.
      train: the rows to train on, or all rows.
      tests: rows to test on: those of the first that has labels.
      data_dir: the directory of tfds that it is in, if it is.
    """

    name: str
    location: str
    dataset: str
    train: Table
    tests: Sequence[Table] = ()
    data_dir: str | None = None


def open_place(setting: str, place: str, config: DataConfig) -> Place:
    """Open a file, a folder or a dataset of tfds.

    Args:
      setting: the setting that names it, in backticks.
      place: its path, or ``tfds:NAME[/CONFIG]``.
      config: how it is to be read.

    Raises:
      InputError: there is none, or it cannot be read.
    """
    if place.startswith(tfds_any.PREFIX):
        data_dir = tfds_data_dir(config.data_dir)
        dataset, directory = tfds_any.find_prepared(setting, place, data_dir)
        return Place(
            place,
            absolute_path(setting, directory),
            dataset,
            *tfds_any.splits_of(directory),
            data_dir=absolute_path("`data_dir`", data_dir),
        )
    path = local_path(setting, place, "file or folder")
    if not exists(path):
        raise InputError(
            f"{setting} {place} is no file or folder; a dataset that tfds has prepared is "
            f"{tfds_any.PREFIX}NAME"
        )
    location = absolute_path(setting, path)
    name = os.path.basename(location)
    if os.path.isdir(path):
        return Place(name, location, location, *folder.splits_of(path, config))
    return Place(name, location, location, _table_in(path, config))


def open_unlabelled(
    setting: str, place: str, config: DataConfig, given: Collection[str] = ()
) -> FileTable:
    """Open a file of texts that need not have labels, such as one to predict on.

    Args:
      setting: the setting that names it, in backticks.
      place: its path.
      config: how it is to be read.
      given: settings that must have an effect.

    Raises:
      InputError: there is none, or it cannot be read.
    """
    path = local_path(setting, place, "file")
    table = UNLABELLED[_form_of(path)](path, config)
    _check_effect(given, [table], config, place)
    return table


class OwnSource(Source):
    """The texts and labels of a dataset of the user's own."""

    def __init__(self, config: DataConfig, known: tuple[str, ...] = ()) -> None:
        place = open_place("`dataset`", config.dataset, config)
        self.name = place.name
        self.location = place.location
        self.multi_label = config.multi_label
        self.known = known
        self._config = config
        self._train = part_of(place.train, config)
        columns, sets = self._train.columns, self._train.sets
        other = None
        if config.test_dataset is None:
            self._test = self._first_labelled(place.tests)
        else:
            other = open_place("`test_dataset`", config.test_dataset, config)
            self._test = self._first_labelled(other.tests) or self._part(other.train)
        self._check_settings()
        # With the columns, so that a later guess is no other.
        self.found = {
            "dataset": place.dataset,
            "data_dir": place.data_dir or (other.data_dir if other else None),
            "test_dataset": other.dataset if other else None,
            "text_columns": _setting(columns.texts),
            "label_column": _setting(columns.labels) if sets else columns.labels[0],
            "label_separator": sets.separator if sets else None,
        }

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of the files and of the settings that change what is read."""
        return self._digest()

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names of the labels, in their order."""
        return self._content.classes

    @property
    def remarks(self) -> tuple[str, ...]:  # type: ignore[override]
        """Which columns were chosen, and which rows left out."""
        return self._content.remarks

    @property
    def warnings(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the user may not have meant."""
        return self._content.warnings

    def read(self, split: Split) -> tuple[list[str], np.ndarray]:
        """Read one split.

        Returns:
          The texts, and their labels: int32 [examples], indices of `classes`; or, where a text
          may have several, 0 or 1 for each class, float32 [examples, classes].

        Raises:
          InputError: the files cannot be read, or rows have no text or no label.
        """
        texts: list[str] = []
        labels, in_test = self.scan(texts.append)
        chosen = in_test if split == "test" else ~in_test
        return list(itertools.compress(texts, chosen)), labels[chosen]

    def scan(self, take: Callable[[str], object], at: At = nowhere) -> Scanned:
        """Read both splits, once; see `Source.scan`."""
        self._content = self._scan(take, at)
        return self._content.scanned

    def texts(self, split: Split, numbers: Sequence[int]) -> list[str]:
        """The texts with these indices in a split; no others are kept in memory."""
        in_test = self._content.scanned.in_test
        rows = np.flatnonzero(in_test if split == "test" else ~in_test)[numbers]
        wanted, found = set(rows.tolist()), {}
        row = itertools.count()

        def take(text: str) -> None:
            if (number := next(row)) in wanted:
                found[number] = text

        self.scan(take)
        return [found[number] for number in rows.tolist()]

    @functools.cached_property
    def _content(self) -> "_Content":
        return self._scan(lambda text: None)

    def _scan(self, take: Callable[[str], object], at: At = nowhere) -> "_Content":
        hashes = array.array("q")

        def hashed(text: str) -> None:
            hashes.append(hash(text))
            take(text)

        before = self.fingerprint
        skip = self._config.skip_bad_rows
        train = self._train.read(hashed, skip, at)
        test = self._test.read(hashed, skip, at) if self._test else None
        if self._digest() != before:
            raise InputError(f"{self.location} was changed while it was read: start again")
        table = self._train.table
        names = self._train.columns.labels
        column = names[0] if table.has_columns and len(names) == 1 else ""
        check_labels(train.counts, table.place, column, are_columns=train.all_names)
        classes = with_known(_classes_of(train), self.known)
        labels = _encoded(train, classes, table.place, self.multi_label)
        if self._test is None or test is None:
            in_test = np.zeros(len(labels), bool)
            in_test[split_rows(labels, self._config.test_fraction)[1]] = True
        else:
            tested = _encoded(test, classes, self._test.table.place, self.multi_label)
            in_test = np.repeat([False, True], [len(labels), len(tested)])
            labels = np.concatenate([labels, tested])
        remarks = train.remarks + (test.remarks if test else ())
        texts = np.frombuffer(hashes, np.int64)
        splits = {
            split: (texts[chosen], labels[chosen])
            for split, chosen in (("train", ~in_test), ("test", in_test))
        }
        warnings = warnings_on(table.place, classes, splits)
        if joined := [*map(shown, joined_labels(classes))]:
            warnings += (
                f"{table.place}: labels that look like several of a text: {listed(joined, 3)}; "
                "multi_label and label_separator take them apart",
            )
        return _Content(classes, Scanned(labels, in_test), remarks, warnings)

    def _part(self, table: Table) -> "Part":
        """The rows of another table, from the same columns if both have some to choose from."""
        if self._train.table.has_columns and table.has_columns:
            columns, sets = self._train.columns, self._train.sets
            config = self._config
            if sets:
                config = dataclasses.replace(config, label_separator=sets.separator)
            chosen = choose_columns(table, columns.texts, columns.labels, self.multi_label)
            return Part(table, chosen, LabelSets.of(table, chosen, config))
        chosen = choose_columns(table, None, None, self.multi_label)
        return Part(table, chosen, LabelSets.of(table, chosen, self._config))

    def _first_labelled(self, tables: Iterable[Table]) -> "Part | None":
        """The rows of the first of `tables` that has labels."""
        parts = map(self._part, tables)
        return next((part for part in parts if part.has_labels()), None)

    def _check_settings(self) -> None:
        """Raise InputError if a setting has no effect."""
        tables = [self._train.table, *([self._test.table] if self._test else [])]
        config = self._config
        given = [
            setting
            for setting in ("columns", "delimiter", "encoding", "data_dir")
            if getattr(config, setting) != getattr(DataConfig, setting)
        ]
        _check_effect(given, tables, config, self.location)
        if self._test is not None and config.test_fraction != DataConfig.test_fraction:
            raise InputError(
                f"`test_fraction` {config.test_fraction} has no effect: {self.location} has a test "
                "split"
            )

    def _digest(self) -> str:
        used: list[object] = [_VERSION, self._config.skip_bad_rows, *self._train.used()]
        used += self._test.used() if self._test else [self._config.test_fraction]
        return hashlib.sha256(json.dumps(used, allow_nan=False).encode()).hexdigest()


def _check_effect(
    given: Iterable[str], tables: Sequence[Table], config: DataConfig, location: str
) -> None:
    """Raise InputError if one of the settings that are given has no effect on any table."""
    takes = {setting for table in tables for setting in table.takes}
    for setting in given:
        if setting not in takes:
            raise InputError(f"`{setting}` {getattr(config, setting)} has no effect on {location}")


def read_labelled(
    config: DataConfig,
    classes: Sequence[str],
    take: Callable[[str], object],
    given: Collection[str] = (),
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read texts that a model of these classes is to be scored on.

    Args:
      config: where they are, and how they are read. Of a dataset that is split it is the test
        split; otherwise it is all rows.
      classes: the names of the labels.
      take: called with each text.
      given: settings that must have an effect: others may be those of the training texts.

    Returns:
      The labels of the texts, as of `OwnSource.read`, and what was chosen or left out.

    Raises:
      InputError: they cannot be read, or have a label that is no class.
    """
    place = open_place("`dataset`", config.dataset, config)
    parts = (part_of(table, config, given) for table in (*place.tests, place.train))
    part = next((part for part in parts if part.has_labels()), None)
    if part is None:
        raise InputError(f"{place.location} has no labels to score by")
    of_reading = [name for name in given if name in ("columns", "delimiter", "encoding")]
    _check_effect(of_reading, [part.table], config, place.location)
    rows = part.read(take, config.skip_bad_rows)
    labels = _encoded(rows, classes, part.table.place, config.multi_label)
    return labels, rows.remarks


@dataclasses.dataclass(frozen=True)
class Part:
    """What is read of a table.

    Attributes:
      table: the table.
      columns: the columns that are read.
      sets: how labels are written, where a text may have several.
    """

    table: Table
    columns: Columns
    sets: LabelSets | None

    def has_labels(self) -> bool:
        """Whether one of the first rows has a label."""
        columns = (*self.columns.labels, *self.columns.texts)
        first = itertools.islice(self.table.records(columns), _ROWS_WITHOUT_LABELS)
        return any(values[0] is not None for _, values in first)

    def read(self, take: Callable[[str], object], skip_bad_rows: bool, at: At = nowhere) -> Rows:
        """Read the texts and labels; see `read_rows`, and `Source.scan` on `at`."""
        here = functools.partial(at, Origin(self.table.place, self.table.unit))
        return read_rows(self.table, self.columns, take, skip_bad_rows, self.sets, here)

    def used(self) -> list[object]:
        """Everything that what is read depends on."""
        columns = [*self.columns.texts, *self.columns.labels]
        used: list[object] = [columns, self.table.settings, self.table.digest()]
        if self.sets:
            used += [self.sets.separator, self.sets.allow_none]
        return used


def part_of(table: Table, config: DataConfig, given: Collection[str] | None = None) -> Part:
    """The rows of a table, read from the columns that the settings name.

    Args:
      table: the table.
      config: the settings.
      given: those that must have an effect; None: all. The columns of other texts do not matter
        where there are none to choose from.
    """
    matter = None if table.has_columns else given
    asked = {
        setting: getattr(config, setting) if matter is None or setting in matter else None
        for setting in ("text_columns", "label_column")
    }
    labels, texts = asked["label_column"], column_names(asked["text_columns"])
    names = column_names(labels) if config.multi_label else labels if labels is None else [labels]
    columns = choose_columns(table, texts, names, config.multi_label)
    return Part(table, columns, LabelSets.of(table, columns, config, given))


@dataclasses.dataclass(frozen=True)
class _Content:
    classes: tuple[str, ...]
    scanned: Scanned
    remarks: tuple[str, ...]
    warnings: tuple[str, ...]


def _table_in(path: Path, config: DataConfig) -> Table:
    return FORMATS[_form_of(path)](path, config)


def _form_of(path: Path) -> str:
    """The format of a file, by the ending of its name; InputError if it has none that is known."""
    check_file(path)
    form, compression = format_of(path)
    if form == ".npz":
        raise InputError(f"{path} holds numeric sequences, and texts are needed")
    if form not in FORMATS or (compression and FORMATS[form] is Parquet):
        raise InputError(
            f"{path} does not end in one of {', '.join(FORMATS)}; those of text may be compressed: "
            f"{', '.join(COMPRESSIONS)}"
        )
    return form


def _setting(names: Sequence[str]) -> str:
    """The setting of which `column_names` makes these names."""
    line = io.StringIO()
    csv.writer(line).writerow(names)  # A name with a character of the line's end is quoted.
    return line.getvalue().removesuffix("\r\n")


def _classes_of(rows: Rows) -> tuple[str, ...]:
    """The classes that have rows, in the order of the format or else in natural order."""
    present = {*itertools.chain.from_iterable(map(names_in, rows.different))}
    if rows.label_names is None:
        return order_labels(present)
    names = dict.fromkeys(name.strip() for name in rows.label_names)
    return tuple(name for name in names if rows.all_names or name in present)


def _encoded(rows: Rows, classes: Sequence[str], place: str, multi_label: bool) -> np.ndarray:
    """Labels of rows at `place` by the classes of the training texts. See `OwnSource.read`."""
    sets = [*map(names_in, rows.different)]
    index = index_of_classes(itertools.chain(*sets), classes, place)
    if not multi_label:
        return np.array([index[label] for (label,) in sets], np.int32)[rows.labels]
    different = np.zeros((len(sets), len(classes)), np.float32)
    for row, names in zip(different, sets, strict=True):
        row[[index[name] for name in names]] = 1
    return different[rows.labels]
