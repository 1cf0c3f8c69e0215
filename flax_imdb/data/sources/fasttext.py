"""A text on each line, alone or in fastText's form: ``__label__x text``."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from flax_imdb.data.config import DataConfig
from flax_imdb.data.sources.table import Added, Bad, FileTable, Record, Row, Value, Write
from flax_imdb.data.sources.text_files import TextFile, open_text, writing_text
from flax_imdb.errors import InputError

_LABEL = "__label__"
# fastText, too, knows no blanks but those of ASCII.
_LINE = re.compile(rf"[ \t]*{_LABEL}([^ \t\r\n\v\f]*)[ \t]*(.*)", re.DOTALL)


def _split(line: str) -> tuple[list[str], str]:
    """The labels before a text, and the text."""
    labels = []
    while found := _LINE.fullmatch(line):
        labels.append(found[1])
        line = found[2]
    return labels, line


def _chosen(columns: Sequence[str], label: Value, text: str) -> list[Value]:
    values = {"label": label, "text": text.rstrip("\n")}
    return [values[column] for column in columns]


class FastText(TextFile):
    """A file with a label and a text on each line, or with several labels before the text."""

    kind = "fasttext"
    has_columns = False
    takes = ("encoding", "multi_label")

    def __init__(self, path: Path, config: DataConfig) -> None:
        super().__init__(path, config)
        self._multi_label, self._allow_none = config.multi_label, config.allow_no_labels

    def head(self) -> list[tuple[str, str]]:
        """A label and a text."""
        with open_text(self.path, self.encoding) as lines:
            for line in lines:
                if found := _LINE.match(line):
                    return [("label", found[1]), ("text", found[2].strip())]
        raise InputError(f"{self.place} has no line in fastText's form, which is: {_LABEL}x text")

    def records(self, columns: Sequence[str]) -> Iterator[Record]:
        """The label and text of each line, or its labels."""
        with open_text(self.path, self.encoding) as lines:
            for number, line in enumerate(lines, 1):
                if line.isspace():
                    continue
                labels, text = _split(line)
                if not labels and not self._allow_none:
                    setting = "allow_no_labels" if self._multi_label else ""
                    yield number, Bad(f"does not begin with {_LABEL}", setting)
                elif self._multi_label:
                    yield number, _chosen(columns, tuple(labels), text)
                elif len(labels) > 1:
                    yield number, Bad("has more than one label", "multi_label")
                else:
                    yield number, _chosen(columns, labels[0], text)


class Lines(TextFile, FileTable):
    """A file with a text on each line, and perhaps labels in fastText's form before it.

    Lines end with a line feed alone, as those of standard input do, and each is a row.
    """

    kind = "lines"
    has_columns = False

    def head(self) -> list[tuple[str, str]]:
        """The first text."""
        first = next(self.rows(["text"]), None)
        if first is None:
            raise InputError(f"{self.place} is empty: a text on each line is needed")
        return [("text", str(first.values[0]))]

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """The texts; the original is the line."""
        with open_text(self.path, self.encoding, newline="\n") as lines:
            for number, line in enumerate(lines, 1):
                _, text = _split(line.removesuffix("\n").removesuffix("\r"))
                yield Row(number, [text], line)

    @contextlib.contextmanager
    def writing(
        self, file: BinaryIO, compression: str, added: Mapping[str, type]
    ) -> Iterator[Write]:
        """Write lines with values at their ends, between tabs."""

        def extended(line: str, values: Sequence[Added]) -> str:
            text = line.removesuffix("\n").removesuffix("\r")
            fields = ("" if value is None else str(value) for value in values)
            return "\t".join((text, *fields)) + line[len(text) :]

        with writing_text(self, file, compression) as out:
            yield lambda rows, values: out.writelines(map(extended, rows, values))
