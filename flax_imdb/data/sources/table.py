"""What all sources of rows have in common: named columns, and records of chosen ones."""

import abc
import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

from flax_imdb.paths import unreadable


class Bad(str):
    """Why a row cannot be used, as the end of a sentence that begins with its line.

    Attributes:
      setting: the one that would allow such rows; empty if none would.
    """

    setting: str

    def __new__(cls, problem: str, setting: str = "") -> Self:
        """A reason."""
        bad = super().__new__(cls, problem)
        bad.setting = setting
        return bad


Value = str | tuple[str, ...] | None
"""A value of a row: a text, a list of texts, or None for a missing one."""

# Where a row is, a line or the name of a file, and its values.
Record = tuple[int | str, Sequence[Value] | Bad]


class Table(abc.ABC):
    """Rows with named columns, in a file or several.

    Attributes:
      place: the file or folder, for messages.
      unit: what a record's place is, such as ``"line"``.
      files: the files that are read, and their names in the fingerprint.
      encoding: that of the text.
      settings: the settings that change what is read, besides the columns that are chosen.
      has_columns: whether there are columns to choose from, rather than a text and a label alone.
      note: what is left out besides rows; empty if nothing.
      takes: the settings that have an effect on how it is read.
      hint: what may be wrong if the columns make no sense, as the end of an error message.
      hint_on_rows: what may be wrong if rows make no sense, likewise.
    """

    place: str
    unit: str = "line"
    files: Sequence[tuple[str, Path]]
    encoding: str = "utf-8"
    settings: tuple[str, ...] = ()
    has_columns: bool = True
    hint: str = ""
    hint_on_rows: str = ""
    note: str = ""
    takes: tuple[str, ...] = ("encoding",)

    @abc.abstractmethod
    def head(self) -> list[tuple[str, str]]:
        """The names of the columns, and a first value of each.

        Raises:
          InputError: the file cannot be read or has no rows.
        """

    @abc.abstractmethod
    def records(self, columns: Sequence[str]) -> Iterator[Record]:
        """The values of some columns in each row.

        Raises:
          InputError: while iterating, if the file cannot be read any further.
        """

    def class_names(self, column: str) -> tuple[str, ...] | None:
        """The names of the classes, in their order, if the column has any."""
        return None

    def likely_texts(self) -> list[str]:
        """Columns that the format says are texts."""
        return []

    def likely_labels(self) -> list[str]:
        """Columns that the format says are classes."""
        return []

    def digest(self) -> str:
        """SHA-256, in hex, of the contents of the files and their names."""
        digest = hashlib.sha256()
        for name, file in self.files:
            try:
                with file.open("rb") as content:
                    of_file = hashlib.file_digest(content, "sha256").hexdigest()
            except OSError as error:
                raise unreadable(file, error) from None
            digest.update(os.fsencode(name) + f" {of_file}\n".encode())
        return digest.hexdigest()


class Row(NamedTuple):
    """A row of a file.

    Attributes:
      place: its line, or its number.
      values: those of the columns that were asked for, or why it cannot be used.
      original: the whole row, as the table's `writing` wants it.
    """

    place: int | str
    values: Sequence[Value] | Bad
    original: Any


Added = str | float | None | dict[str, float] | list[str]
Write = Callable[[Sequence[Any], Sequence[Sequence[Added]]], None]


class FileTable(Table):
    """The rows of one file, which can be written again with more columns.

    Attributes:
      nested: whether a value that is added may be a dict.
      lists: whether a value that is added may be a list.
    """

    nested: bool = False
    lists: bool = False

    @abc.abstractmethod
    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """The rows, with the values of some columns.

        Raises:
          InputError: while iterating, if the file cannot be read any further.
        """

    def records(self, columns: Sequence[str]) -> Iterator[Record]:
        """The values of some columns in each row."""
        for place, values, _ in self.rows(columns):
            yield place, values

    @abc.abstractmethod
    def writing(
        self, file: BinaryIO, compression: str, added: Mapping[str, type]
    ) -> contextlib.AbstractContextManager[Write]:
        """Context manager that writes rows in the form of this file, as they are, and adds columns.

        It gives a function of the originals of some rows, and of the values that each gets.

        Args:
          file: where to.
          compression: one of `text_files.COMPRESSIONS`, or empty.
          added: the names of the new columns, and their types: str, float, dict if `nested`, or
            list if `lists`.

        Raises:
          InputError: what is added cannot be written in this form.
        """


def as_value(value: object) -> Value | Bad:
    """A value as it would be written, or of a list each; None if it is missing."""
    return class_name(value, None)


def as_text(value: object) -> str | Bad | None:
    """A value as it would be written; None if it is missing."""
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case bytes():
            return value.decode("utf-8", "surrogateescape")
        case int() | float() | Decimal():
            return None if value != value else str(value)  # NaN is a missing number.
    return Bad(f"has a {type(value).__name__} where a text or a label should be")


def class_name(value: object, names: Sequence[str] | None) -> Value | Bad:
    """The class for which a number stands; of other values and other columns, the text.

    Of a list it is that of each element. As Hugging Face and tfds have it, -1 is a missing label.
    """
    if isinstance(value, list):
        elements = [_element(each, names) for each in value]
        return first_bad(elements) or tuple(elements)
    if names is None or not isinstance(value, int) or isinstance(value, bool):
        return as_text(value)
    if value == -1:
        return None
    if not 0 <= value < len(names):
        return Bad(f"has label {value}, and there are {len(names)} classes")
    return names[value]


def _element(value: object, names: Sequence[str] | None) -> str | Bad:
    """An element of a list; Bad if it is missing or a list itself."""
    found = Bad("has a list in a list") if isinstance(value, list) else class_name(value, names)
    return found if isinstance(found, str) else Bad("has a missing value in a list")


def first_bad(values: Iterable[object]) -> Bad | None:
    """The first of `values` that is not as it should be."""
    return next((value for value in values if isinstance(value, Bad)), None)


def shown(value: str, length: int = 40) -> str:
    """A value of a file in a message: quoted, on one line, and shortened."""
    short = value if len(value) <= length else f"{value[:length]}..."
    return repr(short).replace("`", "'")  # A setting alone is in backticks.


def listed(values: Sequence[str], length: int) -> str:
    """The first values, and how many there are besides."""
    more = len(values) - length
    return ", ".join(values[:length]) + (f" and {more:,} more" if more > 0 else "")
