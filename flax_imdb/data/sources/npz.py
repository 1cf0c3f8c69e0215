"""Numeric sequences in ``.npz`` files, which hold arrays."""

import functools
import hashlib
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from flax_imdb.data.config import DataConfig, Layout
from flax_imdb.data.numeric import as_sequences, check_features, check_width, doubts_of_axes
from flax_imdb.data.sources.labels import (
    check_labels,
    indices_of,
    order_labels,
    problem_of_label,
    split_rows,
    warnings_on,
    with_known,
)
from flax_imdb.data.sources.source import SequenceSource, Split
from flax_imdb.data.sources.text_files import check_file, damaged, format_of
from flax_imdb.errors import InputError
from flax_imdb.paths import absolute_path, local_path, unreadable

KEYS = (
    *("inputs", "lengths", "labels", "test_inputs", "test_lengths", "test_labels"),
    "feature_names",
)
"""The names of the arrays that a file may have; docs/sequences.md says what they are."""

# Of reading: to be raised when the same file and settings give other sequences or labels.
_VERSION = 1


def is_npz(place: str) -> bool:
    """Whether a file is one of numeric sequences, by its name."""
    return format_of(Path(place))[0] == ".npz"


class SequenceFile:
    """A file of numeric sequences.

    Args:
      setting: the setting that names it, in backticks.
      place: its path.
      layout: the axes of each sequence.

    Attributes:
      place: the file, for messages.
      location: its absolute path.
      digest: SHA-256, in hex, of its content.
      feature_names: those of the features; empty if they have none.

    Raises:
      InputError: there is no such file, or it is damaged or holds something else.
    """

    def __init__(self, setting: str, place: str, layout: Layout) -> None:
        path = local_path(setting, place, "file")
        if not is_npz(place):
            raise InputError(f"{setting} {place} does not end in .npz, as numeric sequences do")
        self.place = str(path)
        self.location = absolute_path(setting, path)
        self.digest, self._arrays = _read_arrays(path)
        if not self.has_test:
            for key in (_of("test", "lengths"), _of("test", "labels")):
                if key in self._arrays:
                    raise InputError(f"{self.place} has {key}, and no test_inputs to go with them")
        self._layout = layout
        names = self._arrays.get("feature_names", np.empty(0, "U"))
        if names.ndim != 1 or names.dtype.kind != "U":
            raise InputError(
                f"{self.place}: feature_names has the type {names.dtype} and the shape "
                f"{names.shape}: a string for each feature is needed"
            )
        self.feature_names: tuple[str, ...] = tuple(names.tolist())

    @property
    def has_test(self) -> bool:
        """Whether it has a test split."""
        return "test_inputs" in self._arrays

    def sequences(self, split: Split = "train") -> list[np.ndarray]:
        """The sequences of a split: arrays [time, features] of one width.

        Raises:
          InputError: there are none, or some cannot be read.
        """
        key, of_lengths = _of(split, "inputs"), _of(split, "lengths")
        place = f"{self.place}: {key}"
        inputs, lengths = self._array(key), self._arrays.get(of_lengths)
        if inputs.ndim not in (1, 2, 3):
            raise InputError(
                f"{place} has {inputs.ndim} axes: [cases, time, features] is needed, or "
                f"[total, features] and {of_lengths}"
            )
        values: Sequence[np.ndarray] = inputs  # type: ignore[assignment]
        if lengths is not None:
            values = self._cut(inputs, lengths, key, of_lengths)
        elif inputs.ndim == 1:
            raise InputError(f"{place} has one axis: {of_lengths} is needed")
        names = self.feature_names
        sequences = as_sequences(values, self._layout, names=names, place=f"{place}: ")
        if not sequences:
            raise InputError(f"{place} has no sequences")
        if names:
            check_width(sequences, len(names), f"{place}, as feature_names says: ")
        return sequences

    def labels(self, sequences: int, split: Split = "train") -> list[str]:
        """The label of each of so many sequences of a split, as text.

        Raises:
          InputError: there are none, or not one for each.
        """
        key = _of(split, "labels")
        labels = self._array(key)
        if labels.shape != (sequences,):
            hint = ""
            if self._array(_of(split, "inputs")).ndim == 2 and _of(split, "lengths") not in (
                self._arrays
            ):
                hint = f"; without {_of(split, 'lengths')}, each row is a sequence of one feature"
            raise InputError(
                f"{self.place}: {key} has the shape {labels.shape}, and there are {sequences:,} "
                f"sequences: a label for each is needed{hint}"
            )
        if labels.dtype.kind not in "Uiub":
            raise InputError(
                f"{self.place}: {key} is of type {labels.dtype}: strings or integers are needed"
            )
        names = [str(label) for label in labels.tolist()]
        for number, name in enumerate(names, start=1):
            if problem := problem_of_label(name):
                raise InputError(f"{self.place}: {key}: sequence {number} {problem}")
        return names

    def check_features(
        self, sequences: Sequence[np.ndarray], features: int, names: Sequence[str]
    ) -> None:
        """Raise InputError unless sequences have these features. See `numeric.check_features`."""
        check_features(sequences, self.feature_names, features, names, f"{self.place}: ")

    def _array(self, key: str) -> np.ndarray:
        if key not in self._arrays:
            raise InputError(
                f"{self.place} has no array {key}: it has {', '.join(self._arrays) or 'none'}"
            )
        return self._arrays[key]

    def _cut(
        self, inputs: np.ndarray, lengths: np.ndarray, key: str, of_lengths: str
    ) -> Sequence[np.ndarray]:
        """The sequences of an array that has them one after another, or padded."""
        name = f"{self.place}: {of_lengths}"
        if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
            raise InputError(
                f"{name} has the type {lengths.dtype} and the shape {lengths.shape}: an integer "
                "for each sequence is needed"
            )
        if len(lengths) and lengths.min() < 1:
            raise InputError(
                f"{name}: sequence {int(np.argmin(lengths)) + 1} has {lengths.min()} steps: one "
                "or more is needed"
            )
        first = self._layout == "channels-first"
        if inputs.ndim < 3:
            steps = inputs.T if first else inputs
            if int(lengths.sum()) != len(steps):
                raise InputError(
                    f"{name} adds up to {int(lengths.sum()):,} steps, and {key} has {len(steps):,}"
                )
            parts = np.split(steps, np.cumsum(lengths)[:-1])
            return [part.T for part in parts] if first else parts
        time = inputs.shape[2 if first else 1]
        if len(lengths) != len(inputs) or (len(lengths) and lengths.max() > time):
            raise InputError(
                f"{name} has {len(lengths):,} lengths, the largest {lengths.max(initial=0):,}, and "
                f"{key} has {len(inputs):,} sequences padded to {time:,} steps"
            )
        pairs = zip(inputs, lengths, strict=True)
        return [each[:, :length] if first else each[:length] for each, length in pairs]


class NpzSource(SequenceSource):
    """The numeric sequences and labels of a file, or of two."""

    def __init__(self, config: DataConfig, known: tuple[str, ...] = ()) -> None:
        file = SequenceFile("`dataset`", config.dataset, config.layout)
        other = None
        if config.test_dataset is not None:
            other = SequenceFile("`test_dataset`", config.test_dataset, config.layout)
        self.name = os.path.basename(file.location)
        self.location = file.location
        self.found = {
            "dataset": file.location,
            "test_dataset": other.location if other else None,
        }
        self.feature_names = file.feature_names
        tests = other or (file if file.has_test else None)
        if tests and config.test_fraction != DataConfig.test_fraction:
            raise InputError(
                f"`test_fraction` {config.test_fraction} has no effect: {file.place} has a test "
                "split"
            )
        used: list[object] = [_VERSION, config.layout, file.digest]
        used += [other.digest if other else None, None if tests else config.test_fraction]
        self._used = json.dumps(used, allow_nan=False)
        sequences = file.sequences()
        labels = file.labels(len(sequences))
        check_labels(labels, file.place, "")
        self.classes = with_known(order_labels(labels), known)
        codes = indices_of(labels, self.classes, file.place)
        if tests is None:
            trained, tested = split_rows(codes, config.test_fraction)
            test = [sequences[i] for i in tested], codes[tested]
            train = [sequences[i] for i in trained], codes[trained]
        else:
            train = sequences, codes
            width = sequences[0].shape[1]
            test = read_labelled_sequences(tests, self.classes, width, file.feature_names)
        self._splits: Mapping[Split, tuple[list[np.ndarray], np.ndarray]] = {
            "train": train,
            "test": test,
        }
        self.warnings = (
            *doubts_of_axes(sequences, config.layout),
            *warnings_on(file.place, self.classes, _hashed(self._splits), unit="sequence"),
        )

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of the files and of the settings that change what is read."""
        return hashlib.sha256(self._used.encode()).hexdigest()

    def read(self, split: Split) -> tuple[list[np.ndarray], np.ndarray]:
        """The sequences of a split, and their labels: int32 [examples], indices of `classes`."""
        return self._splits[split]


def read_labelled_sequences(
    file: SequenceFile, classes: Sequence[str], features: int, names: Sequence[str]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Read the sequences that a model is to be scored on: the test split, if the file has one.

    Args:
      file: the file.
      classes: the names of the labels.
      features: number of features of each step.
      names: of the features, if they have any.

    Returns:
      The sequences, and their labels: int32 [examples], indices into `classes`.

    Raises:
      InputError: they cannot be read, or have a label that is no class.
    """
    split: Split = "test" if file.has_test else "train"
    sequences = file.sequences(split)
    file.check_features(sequences, features, names)
    labels = file.labels(len(sequences), split)
    return sequences, indices_of(labels, classes, file.place)


def _of(split: Split, key: str) -> str:
    return key if split == "train" else f"test_{key}"


def _read_arrays(path: Path) -> tuple[str, dict[str, np.ndarray]]:
    """The SHA-256 of a file, and its arrays by name; nothing is unpickled."""
    check_file(path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if not zipfile.is_zipfile(file):
                raise InputError(f"{path} is not an .npz file, such as numpy.savez writes")
            file.seek(0)
            return digest, _arrays_in(path, np.load(file, allow_pickle=False))
    except InputError:
        raise
    except OSError as error:
        raise unreadable(path, error) from None
    except Exception as error:  # Of zipfile, zlib or NumPy, of many classes.
        raise damaged(path, error) from error


def _arrays_in(path: Path, content: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    if unknown := [name for name in content if name not in KEYS]:
        raise InputError(
            f"{path} has an array {unknown[0]!r}, which means nothing here: it may have "
            f"{', '.join(KEYS)}"
        )
    arrays = {}
    for name in content:
        try:
            arrays[name] = content[name]
        except ValueError as error:
            if "allow_pickle" not in str(error):
                raise
            raise InputError(
                f"{path}: {name} holds Python objects, which are not read, such as arrays of "
                "different lengths: concatenate them, and give their lengths as lengths"
            ) from None
        if not isinstance(arrays[name], np.ndarray):
            raise InputError(f"{path}: {name} is not an array")
    return arrays


def _hashed(
    splits: Mapping[Split, tuple[list[np.ndarray], np.ndarray]],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The splits with a hash of each sequence."""
    return {
        split: (np.array([hash(each.tobytes()) for each in sequences], np.int64), labels)
        for split, (sequences, labels) in splits.items()
    }
