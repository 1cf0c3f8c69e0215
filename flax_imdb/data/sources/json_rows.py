"""Tables of JSON: an object on each line, or an array of objects."""

import contextlib
import itertools
import json
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NoReturn

from flax_imdb.data.sources.table import (
    Added,
    Bad,
    FileTable,
    Row,
    Write,
    as_text,
    as_value,
    first_bad,
)
from flax_imdb.data.sources.text_files import TextFile, open_text, writing_text
from flax_imdb.errors import InputError

HEAD_ROWS = 1_000
"""The columns are the keys of this many objects."""

_HEAD_DEPTH = 4
_BLANKS = re.compile(r"[ \t\r\n]*")


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


# Numbers stay as they are written, so that 5.0 is not 5, and a long one is no work.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_refuse_constant)


class JsonRows(TextFile, FileTable):
    """A file with a JSON object on each line, or an array of objects.

    A column is a key; a key of an object in an object is ``outer.inner``.
    """

    kind = "json"
    nested = lists = True
    takes = ("encoding", "multi_label")

    def head(self) -> list[tuple[str, str]]:
        """The keys of the first objects, and a first value of each."""
        columns: dict[str, str] = {}
        objects = self._objects()
        problem = None
        for line, found, _ in itertools.islice(objects, HEAD_ROWS):
            if isinstance(found, Bad):
                problem = problem or f"line {line} {found}"
                continue
            for name, value in _flat(found):
                columns[name] = columns.get(name) or value
        objects.close()
        if columns:
            return list(columns.items())
        if problem:
            raise InputError(
                f"{self.place}: {problem}; a JSON object on each line, or an array of objects, is "
                "needed"
            )
        raise InputError(f"{self.place} is empty: a JSON object on each line is needed")

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """The objects, with the values of some keys; the original is their text."""
        for line, found, text in self._objects():
            if isinstance(found, Bad):
                yield Row(line, found, text)
                continue
            values = [as_value(_value(found, name)) for name in columns]
            yield Row(line, first_bad(values) or values, text)

    @contextlib.contextmanager
    def writing(
        self, file: BinaryIO, compression: str, added: Mapping[str, type]
    ) -> Iterator[Write]:
        """Write objects with more keys at their ends."""

        def extended(text: str, values: Sequence[Added]) -> str:
            if any(name in text and name in _DECODER.decode(text) for name in added):
                raise InputError(
                    f"{self.place} has one of the keys {', '.join(added)} after its first "
                    f"{HEAD_ROWS:,} objects"
                )
            new = json.dumps(dict(zip(added, values, strict=True)), allow_nan=False)
            end = text.rindex("}")
            separator = "" if text[:end].strip() == "{" else ", "
            return f"{text[:end]}{separator}{new[1:-1]}{text[end:]}"

        with writing_text(self, file, compression) as out:
            if not self._is_array():
                yield lambda rows, values: out.writelines(map(extended, rows, values))
                return
            before = itertools.chain(["[\n"], itertools.repeat(",\n"))

            def write(rows: Sequence[str], values: Sequence[Sequence[Added]]) -> None:
                for text in map(extended, rows, values):
                    out.write(next(before) + text)

            yield write
            out.write("[]\n" if next(before) == "[\n" else "\n]\n")

    def _is_array(self) -> bool:
        with open_text(self.path, self.encoding) as lines:
            return next(filter(str.strip, lines), "").lstrip().startswith("[")

    def _objects(self) -> Generator[tuple[int, dict[str, Any] | Bad, str]]:
        """The lines on which the objects are, the objects, and their text."""
        with open_text(self.path, self.encoding, newline="") as lines:
            rows = ((number, line) for number, line in enumerate(lines, 1) if not line.isspace())
            for number, line in itertools.islice(rows, 1):
                if line.lstrip().startswith("["):
                    yield from self._elements(line + lines.read(), number)
                else:
                    yield number, _decoded(line), line
            for number, line in rows:
                yield number, _decoded(line), line

    def _elements(self, text: str, line: int) -> Iterator[tuple[int, dict[str, Any] | Bad, str]]:
        """The elements of the array that is `text`, which begins on `line`."""
        counted, end = 0, text.index("[") + 1
        separator = ""
        while True:
            start = _after_blanks(text, end)
            line, counted = line + text.count("\n", counted, start), start
            if text.startswith("]", start) and separator != ",":
                break
            try:
                element, end = _DECODER.raw_decode(text, start)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{self.place}: line {line} {_not_json(error)}") from None
            found = element if isinstance(element, dict) else _not_an_object()
            yield line, found, text[start:end]
            end = _after_blanks(text, end)
            separator = text[end : end + 1]
            if separator == "]":
                start = end
                break
            if separator != ",":
                line += text.count("\n", counted, end)
                raise InputError(f"{self.place}: line {line} has no comma or ] after an object")
            end += 1
        if _after_blanks(text, start + 1) < len(text):
            line += text.count("\n", counted, start)
            raise InputError(f"{self.place}: line {line} ends an array, and more follows")


def _decoded(line: str) -> dict[str, Any] | Bad:
    try:
        found = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        return Bad(_not_json(error))
    return found if isinstance(found, dict) else _not_an_object()


def _not_json(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "is JSON that is nested too deeply"
    return f"is not JSON ({error.msg if isinstance(error, json.JSONDecodeError) else error})"


def _not_an_object() -> Bad:
    return Bad("is not a JSON object, such as {...}")


def _after_blanks(text: str, position: int) -> int:
    blanks = _BLANKS.match(text, position)
    return blanks.end() if blanks else position


def _value(found: dict[str, Any], name: str) -> object:
    """The value of a key, or of a key in an object in the object; None if there is none."""
    if name in found or "." not in name:
        return found.get(name)
    outer, _, inner = name.partition(".")
    inside = found.get(outer)
    return _value(inside, inner) if isinstance(inside, dict) else None


def _flat(found: dict[str, Any], depth: int = 1) -> Iterator[tuple[str, str]]:
    """The keys of an object and those of objects in it, and their values."""
    for name, value in found.items():
        if isinstance(value, dict) and depth < _HEAD_DEPTH:
            for inner, inside in _flat(value, depth + 1):
                yield f"{name}.{inner}", inside
        elif isinstance(value, dict | list):
            yield name, "{...}" if isinstance(value, dict) else "[...]"
        else:
            yield name, as_text(value) or ""
