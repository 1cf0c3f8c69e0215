"""Encoded reviews, kept on disk."""

import dataclasses
import hashlib
import sys
import uuid
from pathlib import Path

import numpy as np

from flax_imdb.data import examples, tokenizer
from flax_imdb.data.examples import Corpus, Examples, encode
from flax_imdb.data.sources import Reviews
from flax_imdb.data.tokenizer import Vocabulary
from flax_imdb.errors import warn
from flax_imdb.paths import cache_dir


def load_corpus(reviews: Reviews) -> Corpus:
    """`encode`, or what an earlier call left in the cache.

    The cache has no limit on words or lengths, so one entry serves every experiment on the same
    reviews. It is in ``$FLAX_IMDB_CACHE``, by default ``$XDG_CACHE_HOME/flax_imdb`` or
    ``~/.cache/flax_imdb``.
    """
    # Of everything that decides the ids: the reviews, and the code that makes words and ids.
    key = hashlib.sha256(reviews.fingerprint.encode())
    for module in (tokenizer, examples, sys.modules[__name__]):
        key.update(Path(str(module.__file__)).read_bytes())
    path = cache_dir() / f"{reviews.name}-{key.hexdigest()[:32]}.npz"
    try:
        corpus = _read_cache(path, key.hexdigest())
    except OSError as error:
        # It may be good, and another user's: it is left as it is.
        _warn_of_cache(f"{path} cannot be read", error)
        return encode(reviews)
    if corpus is None:
        corpus = encode(reviews)
        try:
            _write_cache(path, key.hexdigest(), corpus)
        except OSError as error:
            _warn_of_cache(f"{path.parent} cannot be written", error)
    return corpus


def _warn_of_cache(problem: str, error: OSError) -> None:
    warn(
        f"{problem} ({error.strerror or error}): every start encodes the reviews anew; "
        "FLAX_IMDB_CACHE may name another directory"
    )


def _read_cache(path: Path, key: str) -> Corpus | None:
    """What `_write_cache` wrote under `key`; None where it is absent, torn or foreign.

    Raises:
      OSError: it cannot be told, since it may not be read for example.
    """
    try:
        file = path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        # Each array's checksum is in the archive and is compared when it is read.
        with file, np.load(file, allow_pickle=False) as arrays:
            if str(arrays["key"]) != key:
                return None
            words = arrays["words"].tobytes().decode().split("\n")
            splits = {
                split: Examples(
                    **{
                        field.name: arrays[f"{split}_{field.name}"]
                        for field in dataclasses.fields(Examples)
                    }
                )
                for split in ("train", "test")
            }
    except Exception:  # of whatever class: a damaged archive has many ways to fail
        return None
    return Corpus(Vocabulary(words), **splits)


def _write_cache(path: Path, key: str, corpus: Corpus) -> None:
    """Write under a name of this process's own and rename, so that no one reads half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        f"{split}_{name}": array
        for split in ("train", "test")
        for name, array in vars(getattr(corpus, split)).items()
    }
    words = np.frombuffer("\n".join(corpus.vocabulary.words).encode(), np.uint8)
    # Not by `tempfile`, whose files nobody else may read: the umask says who may.
    unfinished = path.with_name(f"{uuid.uuid4().hex}.tmp")
    try:
        with unfinished.open("xb") as file:
            np.savez(file, key=np.array(key), words=words, **arrays)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
