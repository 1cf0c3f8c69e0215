"""Tables in Parquet files."""

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from flax_imdb.data.config import DataConfig
from flax_imdb.data.sources.table import (
    Added,
    Bad,
    FileTable,
    Record,
    Row,
    Value,
    Write,
    as_text,
    class_name,
    first_bad,
)
from flax_imdb.data.sources.text_files import check_file, damaged, reading
from flax_imdb.errors import InputError

if TYPE_CHECKING:
    import pyarrow

_ROWS_AT_ONCE = 8_192


class Parquet(FileTable):
    """A Parquet file. Its columns of classes may have names, as Hugging Face writes them."""

    unit = "row"
    takes = ("multi_label",)
    lists = True

    def __init__(self, path: Path, config: DataConfig) -> None:
        self.place = str(path)
        self.files = [("parquet", path)]
        self._path = path
        with self._open() as file:
            schema = file.schema_arrow
            self._rows = file.metadata.num_rows
            self._names = list(schema.names)
            types = {
                field.name: _element(field.type) if config.multi_label else field.type
                for field in schema
            }
        self._problems = {name: _problem_of(each) for name, each in types.items()}
        # Of numbers alone: what else a column holds are the names themselves.
        integers = {name for name, each in types.items() if _is_integer(each)}
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
        batch = next(self._batches(usable, 1)) if usable else None
        first = {name: _first(batch.column(name)) for name in usable if batch}
        return [(name, first.get(name, self._problems[name])) for name in self._names]

    def records(self, columns: Sequence[str]) -> Iterator[Record]:
        """The values of some columns in each row; no others are read."""
        return ((place, values) for place, values, _ in self._rows_of(columns, columns))

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """The rows, with some values as texts; the original is a batch, and the index in it."""
        return self._rows_of(columns, self._names)

    def _rows_of(self, columns: Sequence[str], read: Sequence[str]) -> Iterator[Row]:
        for name in columns:
            if problem := self._problems[name]:
                raise InputError(f"{self.place}: column {name} {problem}, not texts or labels")
        row = 0
        for batch in self._batches(read, _ROWS_AT_ONCE):
            texts = [self._as_texts(name, _values(batch.column(name))) for name in columns]
            for index, values in enumerate(zip(*texts, strict=True)):
                row += 1
                yield Row(row, first_bad(values) or values, (batch, index))

    @contextlib.contextmanager
    def writing(
        self, file: BinaryIO, compression: str, added: Mapping[str, type]
    ) -> Iterator[Write]:
        """Write rows with more columns; those of the file keep their types."""
        import pyarrow
        import pyarrow.parquet

        types = {
            str: pyarrow.string(),
            float: pyarrow.float32(),
            list: pyarrow.list_(pyarrow.string()),
        }
        with self._open() as original:
            schema = original.schema_arrow
        for name, kind in added.items():
            schema = schema.append(pyarrow.field(name, types[kind]))

        def write(
            rows: Sequence[tuple[pyarrow.RecordBatch, int]], values: Sequence[Sequence[Added]]
        ) -> None:
            parts = []
            for _, group in itertools.groupby(rows, key=lambda row: id(row[0])):
                (batch, *_), indices = zip(*group, strict=True)
                parts.append(batch.take(pyarrow.array(indices)))
            kept = pyarrow.Table.from_batches(parts)
            new = [
                pyarrow.array(column, types[kind])
                for column, kind in zip(zip(*values, strict=True), added.values(), strict=True)
            ]
            out.write_table(pyarrow.Table.from_arrays([*kept.columns, *new], schema=schema))

        with pyarrow.parquet.ParquetWriter(file, schema) as out:
            yield write

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

    def _batches(self, columns: Sequence[str], rows: int) -> "Iterator[pyarrow.RecordBatch]":
        """Some columns, so many rows at once."""
        read = 0
        with self._open() as file:
            for batch in file.iter_batches(rows, columns=list(columns), use_threads=False):
                read += batch.num_rows
                yield batch
        if read != self._rows:
            error = ValueError(f"{read} rows instead of {self._rows}")
            raise damaged(self._path, error)

    def _as_texts(self, column: str, values: list[object]) -> list[Value | Bad]:
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


def _element(of: "pyarrow.DataType") -> "pyarrow.DataType":
    """The type of a list's elements; of other types, the type."""
    from pyarrow import types

    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    return of.value_type if any(is_list(of) for is_list in lists) else of


def _first(column: "pyarrow.Array") -> str:
    """The first value, to be shown."""
    value = _values(column)[0]
    return "[...]" if isinstance(value, list) else as_text(value) or ""


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
            for column, of in features.items()
            if isinstance(feature := _of_elements(of), dict)
            and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}  # Not theirs, or of another version: the classes have no names.


def _of_elements(feature: object) -> object:
    """The feature of a list's elements, as several versions of Hugging Face's libraries have it."""
    if isinstance(feature, dict) and feature.get("_type") in ("Sequence", "List", "LargeList"):
        return feature.get("feature")
    return feature[0] if isinstance(feature, list) and len(feature) == 1 else feature
