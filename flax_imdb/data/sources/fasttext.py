"""Texts in fastText's form: ``__label__x text``."""

import re
from collections.abc import Iterator, Sequence

from flax_imdb.data.sources.table import Bad, Record
from flax_imdb.data.sources.text_files import TextFile, open_text
from flax_imdb.errors import InputError

_LABEL = "__label__"
# fastText, too, knows no blanks but those of ASCII.
_LINE = re.compile(rf"[ \t]*{_LABEL}([^ \t\r\n\v\f]*)[ \t]*(.*)", re.DOTALL)


class FastText(TextFile):
    """A file with a label and a text on each line."""

    kind = "fasttext"
    has_columns = False

    def head(self) -> list[tuple[str, str]]:
        """A label and a text."""
        with open_text(self.path, self.encoding) as lines:
            for line in lines:
                if found := _LINE.match(line):
                    return [("label", found[1]), ("text", found[2].strip())]
        raise InputError(f"{self.place} has no line in fastText's form, which is: {_LABEL}x text")

    def records(self, columns: Sequence[str]) -> Iterator[Record]:
        """The label and text of each line."""
        with open_text(self.path, self.encoding) as lines:
            for number, line in enumerate(lines, 1):
                if line.isspace():
                    continue
                found = _LINE.match(line)
                if not found:
                    yield number, Bad(f"does not begin with {_LABEL}")
                elif found[2].startswith(_LABEL):
                    yield number, Bad("has more than one label")
                else:
                    values = {"label": found[1], "text": found[2].rstrip("\n")}
                    yield number, [values[column] for column in columns]
