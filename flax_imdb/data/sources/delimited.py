"""Tables of text: .csv and .tsv files."""

import contextlib
import csv
import io
import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from flax_imdb.data.config import MAX_CHARACTERS, DataConfig, column_names
from flax_imdb.data.sources.table import Added, Bad, FileTable, Row, Write, shown
from flax_imdb.data.sources.text_files import (
    TextFile,
    decoding_problem,
    encoding_hint,
    format_of,
    open_text,
    writing_text,
)
from flax_imdb.errors import InputError

# A field of this size is the rest of a file after a quote that is never closed.
_FIELD_LIMIT = 16 * MAX_CHARACTERS


class Delimited(TextFile, FileTable):
    """A file with a row on each line, or on several where fields have line breaks.

    A field is text, whatever it looks like, and an empty one is missing. Fields may be in double
    quotes, with quotes in them doubled; but not where tabs separate them: such files have no
    quoting, as most programs write them.
    """

    kind = "table"
    takes = ("columns", "delimiter", "encoding", "multi_label")

    def __init__(self, path: Path, config: DataConfig) -> None:
        super().__init__(path, config)
        usual = "\t" if format_of(path)[0] == ".tsv" else ","
        self._delimiter = _delimiter(config.delimiter, usual)
        given = column_names(config.columns)
        if given is not None:
            given = [name.strip() for name in given]
            if not given or not all(given):
                raise InputError(
                    f"`columns` {config.columns} has an empty name: name all columns, such as "
                    "label,title,text"
                )
        self._header = given is None
        self.settings = (self._delimiter, *self.settings, *(given or ()))
        if self._header:
            self.hint = "; if its first line has no names, give those of all columns in `columns`"
        self._columns, self._first = self._read_head(given)
        if self._delimiter == "\t":
            self.hint_on_rows = (
                "; between tabs quotes are characters like others: a table with quoted fields "
                "needs another delimiter"
            )
        if len(self._columns) == 1:
            self.hint = f"; if there are more, `delimiter` is not {shown(self._delimiter)}"

    def head(self) -> list[tuple[str, str]]:
        """The names of the columns, and the first row."""
        return list(zip(self._columns, self._first, strict=False))

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """The rows, with the fields of some columns; the original is their text."""
        width = len(self._columns)
        indices = [self._columns.index(column) for column in columns]
        rows = self._rows()
        if self._header:
            next(rows, None)
        for line, row, text in rows:
            if isinstance(row, Bad):
                yield Row(line, row, text)
            elif len(row) != width:
                yield Row(line, Bad(f"has {_fields(len(row))} instead of {width}"), text)
            else:
                yield Row(line, [row[index] for index in indices], text)

    @contextlib.contextmanager
    def writing(
        self, file: BinaryIO, compression: str, added: Mapping[str, type]
    ) -> Iterator[Write]:
        """Write rows with more fields at their ends."""
        fields = io.StringIO()
        tabs = self._delimiter == "\t"
        writer = csv.writer(
            fields,
            delimiter=self._delimiter,
            lineterminator="",
            quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
            quotechar=None if tabs else '"',
        )

        def extended(row: str, values: Sequence[Added]) -> str:
            fields.seek(0)
            fields.truncate()
            writer.writerow(values)
            end = len(row.rstrip("\r\n"))
            return f"{row[:end]}{self._delimiter}{fields.getvalue()}{row[end:]}"

        with writing_text(self, file, compression) as out:
            if self._header:
                out.write(extended(self._head, list(added)))
            yield lambda rows, values: out.writelines(map(extended, rows, values))

    def _read_head(self, given: list[str] | None) -> tuple[list[str], list[str]]:
        rows = self._rows()
        try:
            line, first, self._head = next(rows, (0, None, ""))
            if first is None:
                raise InputError(
                    f"{self.place} is empty: a text and a label on each line is needed"
                )
            if isinstance(first, Bad):
                raise InputError(f"{self.place}: line {line} {first}")
            if given is not None:
                if [name.strip() for name in first] == given:
                    raise InputError(
                        f"{self.place} has the names of the columns on line {line}: `columns` is "
                        "for files that do not"
                    )
                if len(first) != len(given):
                    raise InputError(
                        f"`columns` names {len(given)} columns, and line {line} of {self.place} "
                        f"has {_fields(len(first))}, which {shown(self._delimiter)} separates"
                    )
                return given, first
            if problem := decoding_problem("".join(first), self.encoding):
                raise InputError(
                    f"{self.place}: line {line} {problem}; {encoding_hint(self.encoding)}"
                )
            names = [name.strip() for name in first]
            for _, row, _ in rows:
                if not isinstance(row, Bad):
                    return names, row + [""] * (len(names) - len(row))
            raise InputError(f"{self.place} has a line of column names, and no rows")
        finally:
            rows.close()

    def _rows(self) -> Generator[tuple[int, list[str] | Bad, str]]:
        """The line on which each row begins, its fields, and its text."""
        csv.field_size_limit(max(csv.field_size_limit(), _FIELD_LIMIT))
        quoted = self._delimiter != "\t"
        of_row: list[str] = []
        with open_text(self.path, self.encoding, newline="") as lines:
            reader = csv.reader(
                _remembered(lines, of_row),
                delimiter=self._delimiter,
                quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
                strict=True,
            )
            while True:
                line = reader.line_num + 1
                of_row.clear()
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    if quoted:
                        self._check_quotes("".join(of_row), line)
                    yield line, Bad(f"cannot be split into fields ({error})"), "".join(of_row)
                    continue
                if row:  # A blank line is no row.
                    yield line, row, "".join(of_row)

    def _check_quotes(self, row: str, line: int) -> None:
        """Raise InputError if the last field of `row` has a quote that is never closed."""
        import regex  # `re` takes a possessive group for a failure before Python 3.11.5.

        delimiter = re.escape(self._delimiter)
        field = rf'(?:"[^"]*+(?:""[^"]*+)*+"|[^"{delimiter}\r\n][^{delimiter}\r\n]*+)?+'
        fields = regex.match(rf"(?:{field}{delimiter})*+", row)
        assert fields is not None  # An empty match at least.
        if regex.compile(r'"[^"]*+(?:""[^"]*+)*+\Z').match(row, fields.end()):
            # As the lines were split: at all kinds of line breaks.
            line += len(re.findall(r"\r\n|\r|\n", row[: fields.end()]))
            raise InputError(
                f"{self.place}: the quote at the beginning of a field on line {line} is never "
                "closed; a quote in a field in quotes is doubled"
            )


def _remembered(lines: Iterable[str], memory: list[str]) -> Iterator[str]:
    """The lines, each of which is added to `memory`."""
    for line in lines:
        memory.append(line)
        yield line


def _delimiter(setting: str | None, usual: str) -> str:
    if setting is None:
        return usual
    delimiter = "\t" if setting in ("\\t", "tab") else setting
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise InputError(
            f"`delimiter` {shown(setting)} is not one character that separates columns, such as ; "
            "or | or tab"
        )
    return delimiter


def _fields(number: int) -> str:
    return "1 field" if number == 1 else f"{number} fields"
