"""The on-disk cache of encoded reviews."""

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
    """Encode `reviews`, or load them from the cache if an earlier call did.

    Words and lengths are not limited in the cache, so one entry serves every experiment on the same
    reviews. The directory is ``$FLAX_IMDB_CACHE``, by default ``$XDG_CACHE_HOME/flax_imdb`` or
    ``~/.cache/flax_imdb``.
    """
    # The key covers everything that determines the ids: the reviews and the encoding code.
    key = hashlib.sha256(reviews.fingerprint.encode())
    for module in (tokenizer, examples, sys.modules[__name__]):
        key.update(Path(str(module.__file__)).read_bytes())
    path = cache_dir() / f"{reviews.name}-{key.hexdigest()[:32]}.npz"
    try:
        corpus = _read_cache(path, key.hexdigest())
    except OSError as error:
        # The entry may be intact and belong to another user: leave it alone.
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
    """The entry that `_write_cache` wrote under `key`; None if absent, damaged or foreign.

    Raises:
      OSError: the file cannot be opened, for example for lack of permission.
    """
    try:
        file = path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        # The archive has a checksum of each array, which is verified on reading.
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
    except Exception:  # Damaged archives raise errors of many classes.
        return None
    return Corpus(Vocabulary(words), **splits)


def _write_cache(path: Path, key: str, corpus: Corpus) -> None:
    """Write to a unique name and rename, so that nobody reads an incomplete file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        f"{split}_{name}": array
        for split in ("train", "test")
        for name, array in vars(getattr(corpus, split)).items()
    }
    words = np.frombuffer("\n".join(corpus.vocabulary.words).encode(), np.uint8)
    # Not with `tempfile`, whose files no other user may read: the umask should decide that.
    unfinished = path.with_name(f"{uuid.uuid4().hex}.tmp")
    try:
        with unfinished.open("xb") as file:
            np.savez(file, key=np.array(key), words=words, **arrays)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
