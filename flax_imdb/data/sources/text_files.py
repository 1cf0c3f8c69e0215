"""Files of the user: their bytes, compressed or not, and their text, in any encoding."""

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from flax_imdb.data.config import DataConfig
from flax_imdb.data.sources.table import Table
from flax_imdb.errors import InputError, one_line
from flax_imdb.paths import unreadable

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
"""Endings of compressed text files."""

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BUFFER = 1 << 16


class TextFile(Table):
    """A text file with a row on each line, or on several.

    Attributes:
      kind: what the file is in the fingerprint.
      path: the file.
    """

    kind: str

    def __init__(self, path: Path, config: DataConfig) -> None:
        self.place = str(path)
        self.encoding = config.encoding
        self.files = [(f"{self.kind}{format_of(path)[1]}", path)]
        self.settings = (codec_of(config.encoding),)
        self.path = path


def format_of(path: Path) -> tuple[str, str]:
    """The format and the compression that a file's name says: ``(".csv", ".gz")``."""
    compression = path.suffix.lower()
    if compression in COMPRESSIONS:
        return Path(path.stem).suffix.lower(), compression
    return compression, ""


def check_file(path: Path) -> None:
    """Raise InputError if `path` is not a file that can be read from beginning to end, and again.

    A pipe, for one, would be waited for and could be read only once.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            path.open("rb").close()
            return
    except OSError as error:
        raise unreadable(path, error) from None
    kind = "a directory" if stat.S_ISDIR(mode) else "a pipe or a device"
    raise InputError(f"{path} is {kind}, not a file")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Context manager that turns what goes wrong with a file's bytes into InputErrors."""
    try:
        yield
    except OSError as error:
        if error.errno:
            raise unreadable(path, error) from None
        raise damaged(path, error) from error
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> InputError:
    """The error for a file that another library cannot read."""
    return InputError(f"{path} is damaged or incomplete ({one_line(error)})")


def codec_of(encoding: str) -> str:
    """The usual name of an encoding.

    Raises:
      InputError: there is no such encoding of text.
    """
    try:
        "".encode(encoding)  # Refuses those that are not of text, such as rot13.
        return codecs.lookup(encoding).name
    except (LookupError, ValueError):
        raise InputError(
            f"`encoding` {encoding} is unknown: utf-8, utf-16, latin-1 and cp1252 are common ones"
        ) from None


@contextlib.contextmanager
def open_text(path: Path, encoding: str, newline: str | None = None) -> Iterator[TextIO]:
    """Open a text file, compressed or not. What it reads is to be checked by `decoding_problem`.

    Args:
      path: the file.
      encoding: its encoding. A byte-order mark at the beginning of UTF-8 is left out.
      newline: as of `open`.

    Raises:
      InputError: it cannot be read, or holds no text. So does reading.
    """
    codec = codec_of(encoding)
    check_file(path)
    # Bytes that are not of the encoding become lone surrogates, which no text has itself, so that
    # the line that has them can be named.
    with (
        reading(path),
        path.open("rb", buffering=0) as file,
        io.BufferedReader(decompressed(file, format_of(path)[1]), _BUFFER) as content,
        io.TextIOWrapper(
            content,
            encoding="utf-8-sig" if codec == "utf-8" else codec,
            errors="surrogateescape",
            newline=newline,
        ) as text,
    ):
        _check_text(path, content.peek(1), codec)
        try:
            yield text
        except UnicodeError as error:
            raise InputError(
                f"{path} {not_in(codec)} ({one_line(error)}); {encoding_hint(codec)}"
            ) from error


@contextlib.contextmanager
def writing_text(like: TextFile, file: BinaryIO, compression: str) -> Iterator[TextIO]:
    """Write text with the encoding of another file, and the byte-order mark if that has one.

    What was read with `open_text` is written as the same bytes.

    Args:
      like: the other file.
      file: where to. It stays open.
      compression: one of `COMPRESSIONS`, or empty.

    Raises:
      InputError: the encoding has no such characters.
    """
    codec, mark = _codec_and_mark(like.path, like.encoding)
    with (
        contextlib.nullcontext(file) if not compression else _compressed(file, compression)
    ) as content:
        text = io.TextIOWrapper(
            cast(BinaryIO, content), encoding=codec, errors="surrogateescape", newline=""
        )
        try:
            text.write(mark)
            yield text
            text.flush()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{error.object[error.start : error.end]!r} cannot be written in {codec}, the "
                f"encoding of {like.path}"
            ) from None
        finally:
            # Otherwise it would close the file.
            with contextlib.suppress(UnicodeError, OSError):
                text.detach()


def _codec_and_mark(path: Path, encoding: str) -> tuple[str, str]:
    """The codec of a file with the order of its bytes, and the mark at its beginning, if any."""
    codec = codec_of(encoding)
    with reading(path), path.open("rb", buffering=0) as file:
        beginning = decompressed(file, format_of(path)[1]).read(4)
    for marked, mark, exact in (
        ("utf-8", codecs.BOM_UTF8, "utf-8"),
        ("utf-8-sig", codecs.BOM_UTF8, "utf-8"),
        ("utf-16", codecs.BOM_UTF16_LE, "utf-16-le"),
        ("utf-16", codecs.BOM_UTF16_BE, "utf-16-be"),
        ("utf-32", codecs.BOM_UTF32_LE, "utf-32-le"),
        ("utf-32", codecs.BOM_UTF32_BE, "utf-32-be"),
    ):
        if codec == marked and beginning.startswith(mark):
            return exact, "\ufeff"
    order = sys.byteorder[0]
    unmarked = {
        "utf-8-sig": "utf-8",
        "utf-16": f"utf-16-{order}e",
        "utf-32": f"utf-32-{order}e",
    }
    return unmarked.get(codec, codec), ""


def decoding_problem(text: str, encoding: str) -> str:
    """What is wrong with the bytes that `text` was read from; empty if nothing.

    It is the end of a sentence that begins with their place.
    """
    if text.isascii():  # At once, unlike the rest.
        return ""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        if "\udc80" <= text[error.start] <= "\udcff":
            return not_in(encoding)
        return f"has half a character, {text[error.start]!r}"
    return ""


def not_in(encoding: str) -> str:
    """What is wrong with bytes that are not of an encoding."""
    return f"is not {codec_of(encoding)}"


def encoding_hint(encoding: str) -> str:
    """What may be right where bytes are not of an encoding."""
    likely = "latin-1 or cp1252" if codec_of(encoding) == "utf-8" else "utf-8"
    return f"`encoding` {likely} may be right"


def decompressed(content: BinaryIO, compression: str) -> Any:
    """A stream of the bytes that `content` has in a compressed form."""
    match compression:
        case ".gz":
            return gzip.GzipFile(fileobj=content)
        case ".bz2":
            return bz2.BZ2File(content)
        case ".xz":
            return lzma.LZMAFile(content)
        case ".zst":
            import pyarrow

            return pyarrow.CompressedInputStream(content, "zstd")
    return content


def _compressed(file: BinaryIO, compression: str) -> Any:
    """A stream whose bytes go to `file` in a compressed form; closing it leaves `file` open."""
    match compression:
        case ".gz":
            return gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0)
        case ".bz2":
            return bz2.BZ2File(file, "wb")
        case ".xz":
            return lzma.LZMAFile(file, "wb")
    import pyarrow

    # Of its own, since it closes it.
    return pyarrow.CompressedOutputStream(os.fdopen(os.dup(file.fileno()), "wb"), "zstd")


def _check_text(path: Path, beginning: bytes, codec: str) -> None:
    if codec.startswith(("utf-16", "utf-32")):
        return
    if beginning.startswith(_UTF16_MARKS):
        raise InputError(f"{path} is not {codec} but UTF-16: `encoding` utf-16 is needed")
    if b"\0" in beginning.partition(b"\n")[0]:  # Later ones are in bad rows.
        raise InputError(
            f"{path} begins with null bytes, so it is not text; or it is UTF-16, and `encoding` "
            "utf-16-le or utf-16-be is needed"
        )
