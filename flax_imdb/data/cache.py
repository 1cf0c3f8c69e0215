"""The on-disk cache of encoded texts."""

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import re
import shutil
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from flax_imdb.data.encoder import OnRead, encode
from flax_imdb.data.examples import Corpus, Examples
from flax_imdb.data.info import DatasetInfo
from flax_imdb.data.sources import SPLITS, Source
from flax_imdb.data.tokenizer import Vocabulary
from flax_imdb.data.words import TextRules
from flax_imdb.errors import warn
from flax_imdb.paths import cache_dir

# An entry is a directory of these, and of an .npy file for each array of each split.
_ENTRY, _INFO, _SAID = "entry.json", "vocabulary.json", "said.json"

_ARRAYS = [field.name for field in dataclasses.fields(Examples) if field.name != "vocab_size"]
_BYTES_AT_ONCE = 2**20

_PACKAGE = Path(__file__).parent


def load_corpus(
    source: Source,
    rules: TextRules,
    on_read: OnRead = lambda what, done, total: None,
    vocabulary: Vocabulary | None = None,
) -> Corpus:
    """Encode the texts of `source`, or load them from the cache if an earlier call did.

    Words and lengths are not limited in the cache, so one entry serves every experiment on the same
    texts. The directory is ``$FLAX_IMDB_CACHE``, by default ``$XDG_CACHE_HOME/flax_imdb`` or
    ``~/.cache/flax_imdb``.

    Args:
      source: the texts.
      rules: which words a text has.
      on_read: see `encode`; not called if the cache has them.
      vocabulary: see `encode`.
    """
    # The key covers everything that determines the ids, the texts and the code of this package, and
    # the place, which remarks and warnings name.
    texts = f"{source.name} {source.location} {source.fingerprint} {rules}"
    if vocabulary is not None:
        texts += f" {vocabulary.fingerprint}"
    if source.known:
        texts += f" {source.known}"
    key = hashlib.sha256(texts.encode(errors="surrogateescape"))
    for module in sorted(_PACKAGE.rglob("*.py")):
        key.update(module.read_bytes())
    name = re.sub(r"\W+", "_", source.name)[:40]
    path = cache_dir() / f"{name}-{key.hexdigest()[:32]}"
    try:
        if (corpus := _read(path, key.hexdigest())) is not None:
            return corpus
    except OSError as error:
        # The entry may be intact and belong to another user: leave it alone.
        _warn_of_cache(f"{path} cannot be read", error.strerror or str(error))
        return encode(source, rules, on_read, vocabulary=vocabulary)
    encoding = functools.partial(encode, source, rules, on_read, vocabulary=vocabulary)
    try:
        return _write(path, key.hexdigest(), encoding)
    except OSError as error:
        _warn_of_cache(f"{path.parent} cannot be written", error.strerror or str(error))
    return encoding()


@functools.cache  # Once: the comparison with word counts reads it again.
def _warn_of_cache(problem: str, reason: str) -> None:
    warn(
        f"{problem} ({reason}): every start encodes the texts anew, in memory; "
        "FLAX_IMDB_CACHE may name another directory"
    )


def _read(path: Path, key: str) -> Corpus | None:
    """The entry that `_write` wrote under `key`; None if absent, damaged or foreign.

    Raises:
      OSError: it cannot be read, for example for lack of permission.
    """
    try:
        entry = json.loads((path / _ENTRY).read_bytes())
        if entry["key"] != key:
            return None
        if any(_checksum(path / name) != sum_ for name, sum_ in entry["checksums"].items()):
            return None
        info = DatasetInfo.parse((path / _INFO).read_text())
        said = json.loads((path / _SAID).read_text())
        remarks, warnings = tuple(said["remarks"]), tuple(said["warnings"])
        splits: dict[str, Any] = {
            split: {name: _mapped(path / f"{split}_{name}.npy") for name in _ARRAYS}
            for split in SPLITS
        }
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    examples = {split: Examples(**arrays) for split, arrays in splits.items()}
    return Corpus(info, remarks, warnings, **examples)


def _write(path: Path, key: str, encode: Callable[..., Corpus]) -> Corpus:
    """Encode into a directory with a unique name, and rename it: nobody reads half an entry.

    Raises:
      OSError: it cannot be written.
    """
    # Not with `tempfile`, whose files no other user may read: the umask should decide that.
    unfinished = path.with_name(f"{uuid.uuid4().hex}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished.mkdir()
    try:
        checksums = {}

        def keep(
            name: str, shape: tuple[int, ...], dtype: DTypeLike, parts: Iterable[np.ndarray]
        ) -> np.ndarray:
            file = unfinished / f"{name}.npy"
            checksums[file.name] = _write_file(file, _as_npy(shape, dtype, parts))
            return _mapped(file)

        corpus = encode(keep=keep, directory=str(unfinished))
        said = json.dumps({"remarks": corpus.remarks, "warnings": corpus.warnings}, allow_nan=False)
        for name, text in ((_INFO, corpus.info.dump()), (_SAID, said)):
            checksums[name] = _write_file(unfinished / name, [text.encode()])
        entry = json.dumps({"key": key, "checksums": checksums}, allow_nan=False)
        _write_file(unfinished / _ENTRY, [entry.encode()])
        _replace(path, unfinished)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return corpus


def _replace(path: Path, unfinished: Path) -> None:
    """Give a complete entry its name, in the place of one that is damaged or another process's."""
    old = path.with_name(f"{uuid.uuid4().hex}.tmp")
    with contextlib.suppress(FileNotFoundError):
        path.rename(old)
    try:
        unfinished.rename(path)
    except OSError:
        if not path.is_dir():
            raise
        shutil.rmtree(unfinished)  # Another process was faster, and wrote the same.
    finally:
        if old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.unlink(missing_ok=True)


def _as_npy(
    shape: tuple[int, ...], dtype: DTypeLike, parts: Iterable[np.ndarray]
) -> Iterator[bytes | memoryview]:
    """An array as NumPy writes it, in parts."""
    header = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    of_array = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, of_array)
    yield header.getvalue()
    for part in parts:
        yield np.ascontiguousarray(part, dtype).data


def _write_file(file: Path, parts: Iterable[bytes | memoryview]) -> int:
    """Write a file, and return its checksum."""
    checksum = 0
    with file.open("xb") as out:
        for part in parts:
            out.write(part)
            checksum = zlib.crc32(part, checksum)
    return checksum


def _checksum(file: Path) -> int:
    """The checksum of what a file holds. It is read, not mapped: that would fill the memory."""
    checksum = 0
    with file.open("rb") as content:
        while part := content.read(_BYTES_AT_ONCE):
            checksum = zlib.crc32(part, checksum)
    return checksum


def _mapped(file: Path) -> np.ndarray:
    """The array in a file, which is read where it is looked at."""
    return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
