"""Tables in Parquet files."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flax_imdb.data.config import DataConfig
from flax_imdb.data.sources.table import Record, Table, as_text, class_name, first_bad
from flax_imdb.data.sources.text_files import check_file, damaged, reading
from flax_imdb.errors import InputError

if TYPE_CHECKING:
    import pyarrow

_ROWS_AT_ONCE = 8_192


class Parquet(Table):
    """A Parquet file. Its columns of classes may have names, as Hugging Face writes them."""

    unit = "row"
    takes = ()

    def __init__(self, path: Path, config: DataConfig) -> None:
        self.place = str(path)
        self.files = [("parquet", path)]
        self._path = path
        with self._open() as file:
            schema = file.schema_arrow
            self._rows = file.metadata.num_rows
            self._names = list(schema.names)
            self._problems = {field.name: _problem_of(field.type) for field in schema}
        # Of numbers alone: what else a column holds are the names themselves.
        integers = {field.name for field in schema if _is_integer(field.type)}
        self._class_names = {
            column: names
            for column, names in _class_names(schema.metadata or {}).items()
            if column in integers
        }

    def head(self) -> list[tuple[str, str]]:
        """The columns, with the first row's value of those that may be texts or labels."""
        if not self._rows:
            raise InputError(f"{self.place} has no rows")
        if len(set(self._names)) < len(self._names):
            return [(name, "") for name in self._names]  # Which cannot be read by their names.
        usable = [name for name in self._names if not self._problems[name]]
        values = next(self._batches(usable, 1)) if usable else []
        first = {
            name: as_text(column[0]) or "" for name, column in zip(usable, values, strict=True)
        }
        return [(name, first.get(name, self._problems[name])) for name in self._names]

    def records(self, columns: Sequence[str]) -> Iterator[Record]:
        """The values of some columns in each row."""
        for name in columns:
            if problem := self._problems[name]:
                raise InputError(f"{self.place}: column {name} {problem}, not texts or labels")
        row = 0
        for batch in self._batches(columns, _ROWS_AT_ONCE):
            texts = [
                self._as_texts(name, values) for name, values in zip(columns, batch, strict=True)
            ]
            for values in zip(*texts, strict=True):
                row += 1
                yield row, first_bad(values) or values

    def class_names(self, column: str) -> tuple[str, ...] | None:
        """The names of the classes in the column, if they have any."""
        return self._class_names.get(column)

    def likely_labels(self) -> list[str]:
        """The columns of classes with names."""
        return [name for name in self._names if name in self._class_names]

    @contextlib.contextmanager
    def _open(self) -> "Iterator[pyarrow.parquet.ParquetFile]":
        import pyarrow
        import pyarrow.parquet

        check_file(self._path)
        try:
            with reading(self._path), self._path.open("rb") as content:
                yield pyarrow.parquet.ParquetFile(content)
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:
            raise damaged(self._path, error) from error

    def _batches(self, columns: Sequence[str], rows: int) -> Iterator[list[list[object]]]:
        """The values of some columns, so many rows at once."""
        read = 0
        with self._open() as file:
            for batch in file.iter_batches(rows, columns=list(columns), use_threads=False):
                read += batch.num_rows
                yield [_values(batch.column(name)) for name in columns]
        if read != self._rows:
            error = ValueError(f"{read} rows instead of {self._rows}")
            raise damaged(self._path, error)

    def _as_texts(self, column: str, values: list[object]) -> list[str | None]:
        names = self.class_names(column)
        return [class_name(value, names) for value in values]


def _problem_of(of: "pyarrow.DataType") -> str:
    """Why values of a type can be neither texts nor labels; empty if they can."""
    from pyarrow import types

    values = of.value_type if types.is_dictionary(of) else of
    usable = (
        *(types.is_string, types.is_large_string, types.is_string_view),
        *(types.is_binary, types.is_large_binary, types.is_boolean),
        *(types.is_integer, types.is_floating, types.is_decimal, types.is_null),
    )
    return "" if any(is_usable(values) for is_usable in usable) else f"holds {of} values"


def _is_integer(of: "pyarrow.DataType") -> bool:
    from pyarrow import types

    return bool(types.is_integer(of.value_type if types.is_dictionary(of) else of))


def _values(column: "pyarrow.Array") -> list[object]:
    import pyarrow

    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        # Of the type string, but not UTF-8: `as_text` marks the bytes that are not.
        return column.cast(pyarrow.large_binary()).to_pylist()


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """The names of the classes in each column, from what Hugging Face's libraries write."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {
            column: tuple(map(str, feature["names"]))
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}  # Not theirs, or of another version: the classes have no names.
