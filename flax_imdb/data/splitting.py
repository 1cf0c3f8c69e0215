"""The words of many texts at once."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flax_imdb.data.words import (
    FILTERS,
    WORD,
    TextRules,
    compiled,
    normalized,
    split_words,
    without_markup,
)


class Words(NamedTuple):
    """The words of several texts.

    Attributes:
      different: the words, each once.
      numbers: of each word of the texts, one text after another, its index in `different`, int32
        [total].
      lengths: number of words of each text, int32 [texts].
    """

    different: list[str]
    numbers: np.ndarray
    lengths: np.ndarray


def split_many(texts: Sequence[str], rules: TextRules = "unicode") -> Words:
    """The words of several texts.

    They are those of `split_words`, found several times as fast: by programs that are compiled and
    let other threads run meanwhile.

    Args:
      texts: the texts, without half characters; a billion characters at most.
      rules: as in `split_words`.
    """
    import pyarrow
    import pyarrow.compute

    if rules == "keras":
        encoded = [_plain_keras(text).encode() for text in texts]
    else:
        encoded = [text.encode() for text in _plain_unicode(texts)]
    joined = b" ".join([*encoded, b""]).translate(_BYTES[rules])
    if rules == "unicode":
        joined = _QUOTE.sub(b" ", joined)
    ends = np.cumsum([0, *(len(text) + 1 for text in encoded)], dtype=np.int64)
    buffers = [None, pyarrow.py_buffer(ends), pyarrow.py_buffer(joined)]
    array = pyarrow.Array.from_buffers(pyarrow.large_string(), len(texts), buffers)
    of_texts = pyarrow.compute.ascii_split_whitespace(array)
    words = of_texts.flatten().dictionary_encode()
    different, numbers = words.dictionary.to_pylist(), words.indices.to_numpy()
    ends = of_texts.offsets.to_numpy()
    if "" in different:  # Before the first blank of a text, and after the last.
        is_word = numbers != different.index("")
        numbers = numbers[is_word]
        ends = np.concatenate([[0], np.cumsum(is_word)])[ends]
    return Words(different, numbers, np.diff(ends).astype(np.int32))


def _separating(separators: str) -> bytes:
    """A table for `bytes.translate`: letters in lower case, and a blank for each separator."""
    table = bytearray(range(256)).lower()
    for separator in separators.encode():
        table[separator] = ord(" ")
    return bytes(table)


_FILTERS = "".join(map(chr, FILTERS))
# Other bytes are those of words that are found already.
_BYTES: dict[TextRules, bytes] = {
    "keras": _separating(_FILTERS + "".join(filter(str.isspace, map(chr, range(0x80))))),
    "unicode": _separating(_FILTERS + "".join(map(chr, [*range(0x20), 0x7F]))),
}

# An apostrophe that is not between letters.
_QUOTE = re.compile(rb"'(?:(?<![a-z0-9\x80-\xFF]')|(?![a-z0-9\x80-\xFF]))")


def _plain_keras(text: str) -> str:
    """A text with the same words, which ASCII alone separates."""
    if text.isascii():
        return text.lower().replace("<br />", " ")
    return " ".join(split_words(text, "keras"))


_OTHERS = re.compile(r"[^\x00-\x7F]+")


def _plain_unicode(texts: Sequence[str]) -> list[str]:
    """Texts with the same words, which ASCII alone separates."""
    plain = list(map(without_markup, texts))
    parts = {
        number: _parts(text.replace("\n", " "))
        for number, text in enumerate(plain)
        if not text.isascii()
    }
    if not parts:
        return plain
    # Most stand in many texts. No word reaches beyond a blank, or a line.
    pieces = list(dict.fromkeys(piece for of_text in parts.values() for piece in of_text[1::2]))
    lines = normalized("\n".join(pieces)).split("\n")
    find = compiled(WORD).findall
    words = {piece: " ".join(find(line)) for piece, line in zip(pieces, lines, strict=True)}
    for number, of_text in parts.items():
        of_text[1::2] = [words[piece] for piece in of_text[1::2]]
        plain[number] = "".join(of_text)
    return plain


def _parts(text: str) -> list[str]:
    """A text in parts that blanks separate: ASCII alone, other characters too, ASCII, ..."""
    parts, end = [], 0
    for found in _OTHERS.finditer(text):
        if found.start() >= end:
            start = text.rfind(" ", end, found.start()) + 1 or end
            after = text.find(" ", found.end())
            after = len(text) if after == -1 else after
            parts += [text[end:start], text[start:after]]
            end = after
    return [*parts, text[end:]]
