"""Any dataset that tensorflow-datasets has prepared, read without TensorFlow."""

import contextlib
import importlib.util
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flax_imdb.data.sources.table import Record, Table, class_name, first_bad
from flax_imdb.errors import InputError, one_line
from flax_imdb.paths import check_utf8, exists, names_in, unreadable

PREFIX = "tfds:"
"""With what the name of such a dataset begins, where a file or folder could be named."""

_EXAMPLES_AT_ONCE = 8_192
_SAFE = re.compile(r"\w[\w.+-]*")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


class TfdsSplit(Table):
    """A split of a prepared dataset. A feature in a feature is the column ``outer.inner``."""

    unit = "example"
    takes = ("data_dir", "multi_label")

    def __init__(self, directory: Path, builder: Any, split: str) -> None:
        self.place = f"{directory} ({split})"
        self._directory = directory
        self._features = _flat(builder.info.features)
        try:
            self._source, files = open_split(builder, split, "examples")
        except NotImplementedError:
            raise InputError(
                f"{directory} is not in the array_record format, which can be read without "
                "TensorFlow: prepare it with file_format='array_record'"
            ) from None
        except Exception as error:
            raise _damaged(directory, error) from error
        described = (n for n in names_in(directory) if n.endswith((".labels.txt", "features.json")))
        self.files = [
            (file.name, file) for file in (*files, *map(directory.joinpath, sorted(described)))
        ]

    def head(self) -> list[tuple[str, str]]:
        """The features, with the values of the first example."""
        example = next(self._examples(1), None)
        if example is None:
            raise InputError(f"{self.place} has no examples")
        values = ((name, class_name(_value(example, name), None)) for name in self._features)
        return [
            (name, "[...]" if isinstance(value, tuple) else value or "") for name, value in values
        ]

    def records(self, columns: Sequence[str]) -> Iterator[Record]:
        """The values of some features in each example."""
        names = [self.class_names(column) for column in columns]
        for number, example in enumerate(self._examples(_EXAMPLES_AT_ONCE)):
            values = [
                class_name(_value(example, column), of)
                for column, of in zip(columns, names, strict=True)
            ]
            yield number, first_bad(values) or values

    def class_names(self, column: str) -> tuple[str, ...] | None:
        """The names of the classes, if the feature is a ClassLabel with names."""
        import tensorflow_datasets as tfds

        feature = self._features[column]
        if isinstance(feature, tfds.features.Sequence):
            feature = feature.feature
        if not isinstance(feature, tfds.features.ClassLabel) or not feature.num_classes:
            return None
        return tuple(feature.names)

    def likely_texts(self) -> list[str]:
        """The features that are texts."""
        return [
            name
            for name, feature in self._features.items()
            if str(feature.np_dtype) == "object" and feature.shape == ()
        ]

    def likely_labels(self) -> list[str]:
        """The features that are classes."""
        return [name for name in self._features if self.class_names(name)]

    def _examples(self, at_once: int) -> Iterator[dict[str, Any]]:
        for start in range(0, len(self._source), at_once):
            stop = min(start + at_once, len(self._source))
            try:
                # Reading many at once takes less than half the time of one by one.
                examples = self._source.__getitems__(range(start, stop))
            except Exception as error:
                raise _damaged(self._directory, error) from error
            yield from examples


def open_split(builder: Any, split: str, unit: str) -> tuple[Any, list[Path]]:
    """The examples of a split, and its files.

    Args:
      builder: of a prepared dataset.
      split: its name.
      unit: what its examples are, for messages.

    Raises:
      Exception: of many classes, if it is damaged; NotImplementedError if it is not in the
        array_record format.
    """
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    source = builder.as_data_source(split)
    files = [Path(path) for path in builder.info.splits[split].filepaths]
    # tfds trusts dataset_info.json; array_record counts the records in the files.
    found = len(ArrayRecordDataSource([str(file) for file in files]))
    if found != len(source):
        raise ValueError(f"{found} {split} {unit} instead of {len(source)}")
    return source, files


def denied_in(directory: Path) -> InputError | None:
    """The error for a file in a prepared dataset that may not be read; None if all may be.

    Damage shows as errors of many classes, and so does a lack of permission, which says nothing
    about the data. Opening the files tells them apart.
    """
    try:
        for path in directory.iterdir():
            with contextlib.suppress(IsADirectoryError):
                path.open("rb").close()
    except PermissionError as denied:
        return unreadable(denied.filename, denied)
    except OSError:
        pass  # It is damaged.
    return None


def find_prepared(setting: str, dataset: str, data_dir: Path) -> tuple[str, Path]:
    """The name of a prepared dataset with its configuration and version, and its directory.

    Args:
      setting: the setting that names it, in backticks.
      dataset: ``tfds:NAME[/CONFIG][:VERSION]``. By default the only configuration is taken and
        the latest version.
      data_dir: a tfds data directory.

    Raises:
      InputError: there is none, or not one alone.
    """
    name, _, version = dataset.removeprefix(PREFIX).partition(":")
    parts = name.split("/")
    if len(parts) > 2 or not all(map(_SAFE.fullmatch, parts)):
        raise InputError(f"{setting} {dataset} is not of the form tfds:NAME or tfds:NAME/CONFIG")
    missing = f"{setting} {dataset} is not prepared in {data_dir}"
    directory = data_dir.joinpath(*parts)
    if not exists(directory):
        raise InputError(f"{missing}; `data_dir` may name another tfds data directory")
    versions = _versions_in(directory)
    if not versions:
        configs = [name for name in sorted(names_in(directory)) if _versions_in(directory / name)]
        if not configs:
            raise InputError(f"{missing}: {directory} has no version")
        if len(configs) > 1:
            raise InputError(
                f"{setting} {dataset} needs a configuration, {name}/CONFIG, of those prepared in "
                f"{data_dir}: {', '.join(configs)}"
            )
        directory /= configs[0]
        versions = _versions_in(directory)
    if version and version not in versions:
        raise InputError(f"{missing}, only versions {', '.join(versions)}")
    version = version or versions[-1]
    name = directory.relative_to(data_dir).as_posix()
    return f"{PREFIX}{name}:{version}", directory / version


def splits_of(directory: Path) -> tuple[Table, list[Table]]:
    """The training split of a prepared dataset, and those that may be tested on, best first."""
    if not importlib.util.find_spec("array_record"):
        raise InputError(f"{directory} cannot be read because array_record is not installed")
    import tensorflow_datasets as tfds

    check_utf8("the data directory", directory)
    try:
        builder = tfds.builder_from_directory(directory)
        names = list(builder.info.splits)
    except Exception as error:
        raise _damaged(directory, error) from error
    if "train" not in names:
        raise InputError(f"{directory} has no split train but {', '.join(names) or 'none'}")
    tests: list[Table] = [
        TfdsSplit(directory, builder, split) for split in ("test", "validation") if split in names
    ]
    if tests and "validation" in names:
        tests[-1].note = "tested on, because no split test has labels"
    return TfdsSplit(directory, builder, "train"), tests


def _versions_in(directory: Path) -> list[str]:
    """The prepared versions, the latest last."""
    if not os.path.isdir(directory):
        return []
    found = filter(None, map(_VERSION.fullmatch, names_in(directory)))
    return [v[0] for v in sorted(found, key=lambda v: tuple(map(int, v.groups())))]


def _flat(features: Any, outer: str = "") -> dict[str, Any]:
    """The features and those in them."""
    import tensorflow_datasets as tfds

    flat: dict[str, Any] = {}
    for name, feature in features.items():
        if isinstance(feature, tfds.features.FeaturesDict):
            flat |= _flat(feature, f"{outer}{name}.")
        else:
            flat[outer + name] = feature
    return flat


def _value(example: Any, column: str) -> object:
    for name in column.split("."):
        example = example[name]
    return _plain(example)


def _plain(value: Any) -> object:
    """A value, or those of a list, as Python's own."""
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = list(value)
    if isinstance(value, list):
        return [*map(_plain, value)]
    return value.item() if isinstance(value, np.generic) else value


def _damaged(directory: Path, error: Exception) -> InputError:
    return denied_in(directory) or InputError(
        f"{directory} is damaged ({one_line(error)}); prepare it again"
    )
