"""Word vectors in the text form of GloVe, word2vec and fastText."""

import codecs
import contextlib
import functools
import hashlib
import io
import itertools
import math
import os
import re
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from flax_imdb.data.encoder import OnRead
from flax_imdb.data.examples import Examples
from flax_imdb.data.sources.text_files import check_file, decompressed, format_of, reading
from flax_imdb.data.tokenizer import PAD, SPECIAL_TOKENS, START, Vocabulary
from flax_imdb.data.words import split_words
from flax_imdb.errors import InputError
from flax_imdb.paths import absolute_path, local_path

_BUFFER = 1 << 20

# More than a line of the widest vectors takes.
_MAX_LINE = 1 << 21

# So many lines tell the width, where there is no header.
_FIRST_LINES = 20

# Of so many lines it is said once that they are read.
_LINES_AT_ONCE = 1 << 15

_HEADER = re.compile(rb"(\d{1,18})[ \t]+(\d{1,18})")
_NUMBER = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")

_NEEDED = "a word and its numbers on each line are needed"

# How files begin that people take for vectors in text form, and what they are.
_BEGINNINGS = (
    (b"PK\x03\x04", "is a zip archive: unpack it, and name the file of vectors in it"),
    (b"\x1f\x8b", "is compressed: its name must end with .gz"),
    (b"\xba\x16\x4f\x2f", "is fastText's binary form: its text form, .vec, is needed"),
)


class WordVectors(NamedTuple):
    """The vectors that a file has for the words of a vocabulary.

    Attributes:
      path: of the file, from the root.
      sha256: of what is in it, unpacked, in hex.
      ids: of the words that have a vector, int32 [found].
      vectors: their vectors, float32 [found, width].
      undecoded: the number of words in the file that are not UTF-8 and were left out.
    """

    path: str
    sha256: str
    ids: np.ndarray
    vectors: np.ndarray
    undecoded: int

    @property
    def width(self) -> int:
        """Number of features of a vector."""
        return int(self.vectors.shape[1])

    def coverage(self, vocabulary: Vocabulary, examples: Examples) -> tuple[int, float]:
        """How many words of the vocabulary have a vector, and their share of the texts' words."""
        counts = examples.counts(len(vocabulary))
        counts[[PAD, START]] = 0
        words = self.ids[self.ids >= len(SPECIAL_TOKENS)]
        return len(words), float(counts[words].sum() / max(counts.sum(), 1))


def read_word_vectors(
    path: str | os.PathLike[str],
    vocabulary: Vocabulary,
    sha256: str | None = None,
    on_read: OnRead = lambda what, done, total: None,
) -> WordVectors:
    """Read the vectors of the words of a vocabulary; those of other words are passed over.

    Each line is a word and its numbers, separated by white space. The numbers are counted from the
    right, so that a word may have white space in it. Before them may be a line with the number of
    words and the width. Without it, the width is that of most of the first lines.

    A word of the vocabulary has the vector of the same spelling, or else of a word that the
    vocabulary's rules make this one word of: ``The`` for ``the``. Of several, the first counts. The
    special ids have that of ``<pad>``, ``<start>`` or ``<unk>`` in this spelling.

    The width of each line is checked, and of the words that are found the numbers.

    Args:
      path: the file, which may be compressed.
      vocabulary: the words.
      sha256: what the file must have; None: anything.
      on_read: called every few lines.

    Raises:
      InputError: the file cannot be read, is none of word vectors, or another than `sha256` says;
        or it has no word of the vocabulary.
    """
    file = local_path("`embeddings`", path, "file")
    with _opened(file) as (content, digest):
        reader = _Reader(file, vocabulary)
        reader.read(content, on_read)
    found = digest.hexdigest()
    if sha256 not in (None, found):
        raise InputError(
            f"`embeddings` {file} is another file than `embeddings_digest` says: it has {found}, "
            f"and {sha256} is needed"
        )
    if not reader.vectors:
        raise InputError(
            f"`embeddings` {file} has a vector of none of the {len(vocabulary.words):,} words of "
            "the texts: words of the same language and spelling are needed"
        )
    ids = sorted(reader.vectors)
    return WordVectors(
        path=absolute_path("`embeddings`", file),
        sha256=found,
        ids=np.array(ids, np.int32),
        vectors=np.stack([reader.vectors[id] for id in ids]),
        undecoded=reader.undecoded,
    )


def check_word_vectors(path: str | os.PathLike[str]) -> None:
    """Raise InputError if a file of word vectors is not there, or begins like something else."""
    with _opened(local_path("`embeddings`", path, "file")):
        pass


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of what is in a file of word vectors, unpacked, in hex.

    Raises:
      InputError: it cannot be read.
    """
    with _opened(local_path("`embeddings`", path, "file")) as (content, digest):
        while content.read(_BUFFER):
            pass
    return digest.hexdigest()


class _Hashed(io.RawIOBase):
    """Passes on what a stream has, and digests it."""

    def __init__(self, stream: Any, digest: Any):
        self._stream = stream
        self._digest = digest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size: int = self._stream.readinto(buffer)
        self._digest.update(memoryview(buffer)[:size])
        return size


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[tuple[io.BufferedReader, Any]]:
    """Context manager for what is in a file, unpacked, and for the digest of what was read of it.

    Raises:
      InputError: it cannot be read, or is not text.
    """
    check_file(file)
    digest = hashlib.sha256()
    with reading(file), file.open("rb", buffering=0) as raw:
        unpacked: Any = _Hashed(decompressed(raw, format_of(file)[1]), digest)
        with io.BufferedReader(unpacked, _BUFFER) as content:
            _check_text(file, content.peek(1))
            yield content, digest


def _check_text(file: Path, beginning: bytes) -> None:
    for sign, problem in _BEGINNINGS:
        if beginning.startswith(sign):
            raise InputError(f"`embeddings` {file} {problem}")
    if b"\0" in beginning:
        form = "word2vec's binary form" if _HEADER.match(beginning) else "binary, not text in UTF-8"
        raise InputError(
            f"`embeddings` {file} is {form}: the text form of GloVe, word2vec or fastText is needed"
        )


class _Reader:
    """Reads the vectors of the words of a vocabulary.

    Attributes:
      vectors: by id, float32 [width] each.
      undecoded: the number of words that are not UTF-8.
    """

    def __init__(self, file: Path, vocabulary: Vocabulary):
        self.vectors: dict[int, np.ndarray] = {}
        self.undecoded = 0
        self._file = file
        self._rules = vocabulary.rules
        words = (*SPECIAL_TOKENS, *vocabulary.words)
        self._ids = {word.encode(): id for id, word in enumerate(words)}
        self._exact: set[int] = set()  # Those found in their own spelling.

    def read(self, content: io.BufferedReader, on_read: OnRead) -> None:
        """Read all lines."""
        lines = self._lines(content)
        first = list(itertools.islice(lines, _FIRST_LINES))
        stated, width = self._form(first)
        count = 0
        for number, line in itertools.chain(first if stated is None else first[1:], lines):
            if line.count(b" ") == width:  # Most lines, the fast way.
                word, _, numbers = line.partition(b" ")
            else:
                word, numbers = self._split(number, line, width)
            id = self._wanted(word)
            if id is not None:
                self.vectors[id] = self._parse(number, numbers, width)
            count += 1
            if count % _LINES_AT_ONCE == 0:
                on_read("reading word vectors", count, stated)
        if stated not in (None, count):
            raise InputError(
                f"`embeddings` {self._file} has vectors of {count:,} words, and its line 1 says "
                f"{stated:,}: it is incomplete, or that line is wrong"
            )

    def _lines(self, content: io.BufferedReader) -> Iterator[tuple[int, bytes]]:
        """The lines that are not blank, without white space at their ends, and their numbers."""
        if content.peek(3).startswith(codecs.BOM_UTF8):
            content.read(len(codecs.BOM_UTF8))
        read = functools.partial(content.readline, _MAX_LINE)
        for number, line in enumerate(iter(read, b""), start=1):
            if len(line) == _MAX_LINE:
                self._refuse(number, f"has more than {_MAX_LINE:,} bytes: it is no vector")
            if line := line.rstrip():
                yield number, line

    def _form(self, first: Sequence[tuple[int, bytes]]) -> tuple[int | None, int]:
        """The number of words that the header says, if there is one, and the width."""
        if not first:
            raise InputError(f"`embeddings` {self._file} is empty: {_NEEDED}")
        number, line = first[0]
        if header := _HEADER.fullmatch(line):
            stated, width = map(int, header.groups())
        else:
            stated, width = None, statistics.mode(_numbers_at_end(line) for _, line in first)
        if width == 0:
            self._refuse(number, f"has no numbers after its word: {_NEEDED}")
        return stated, width

    def _split(self, number: int, line: bytes, width: int) -> tuple[bytes, bytes]:
        """The word of a line and its numbers, where more than single blanks separate them."""
        fields = line.rsplit(None, width)
        if line[:1].isspace() and len(fields) == width:
            return b"", b" ".join(fields)  # A word of white space.
        # A word may have white space in it, but then no number at its end.
        if len(fields) <= width or _numbers_at_end(fields[0]):
            self._refuse_width(number, _numbers_at_end(line), width)
        return fields[0], b" ".join(fields[1:])

    def _wanted(self, word: bytes) -> int | None:
        """The id whose vector that of a word is to be; None if none."""
        id = self._ids.get(word)
        if id is not None:
            if id in self._exact:
                return None
            self._exact.add(id)
            return id
        if word.isalnum() and word == word.lower():  # No rules make another word of it.
            return None
        try:
            words = split_words(word.decode(), self._rules)
        except UnicodeDecodeError:
            self.undecoded += 1
            return None
        id = self._ids.get(words[0].encode()) if len(words) == 1 else None
        return None if id in self.vectors else id

    def _parse(self, number: int, numbers: bytes, width: int) -> np.ndarray:
        fields = numbers.split()
        if len(fields) != width:
            self._refuse_width(number, len(fields), width)
        with np.errstate(over="ignore"):
            vector = np.fromiter(map(_as_float, fields), np.float32, width)
        finite = np.isfinite(vector)
        if not np.all(finite):
            field = fields[int(np.argmin(finite))].decode(errors="replace")
            self._refuse(number, f"has {field:.40} among its numbers: finite ones are needed")
        return vector

    def _refuse_width(self, number: int, numbers: int, width: int) -> NoReturn:
        self._refuse(
            number,
            f"has {numbers:,} instead of {width:,} numbers after its word: it is damaged, or the "
            "file is incomplete",
        )

    def _refuse(self, number: int, problem: str) -> NoReturn:
        raise InputError(f"`embeddings` {self._file}: line {number} {problem}")


def _numbers_at_end(line: bytes) -> int:
    """How many numbers a line ends with, apart from its first word."""
    numbers = itertools.takewhile(_NUMBER.fullmatch, reversed(line.split()[1:]))
    return sum(1 for _ in numbers)


def _as_float(field: bytes) -> float:
    """The number, or NaN if it is none."""
    try:
        return float(field)
    except ValueError:
        return math.nan
