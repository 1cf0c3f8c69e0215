"""The on-disk cache of encoded texts."""

import dataclasses
import functools
import hashlib
import json
import re
import uuid
from pathlib import Path

import numpy as np

from flax_imdb.data.examples import Corpus, Examples, OnRead, encode
from flax_imdb.data.info import DatasetInfo
from flax_imdb.data.sources import Source
from flax_imdb.data.tokenizer import Vocabulary
from flax_imdb.data.words import TextRules
from flax_imdb.errors import warn
from flax_imdb.paths import cache_dir

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
    key = hashlib.sha256(texts.encode(errors="surrogateescape"))
    for module in sorted(_PACKAGE.rglob("*.py")):
        key.update(module.read_bytes())
    name = re.sub(r"\W+", "_", source.name)[:40]
    path = cache_dir() / f"{name}-{key.hexdigest()[:32]}.npz"
    try:
        corpus = _read_cache(path, key.hexdigest())
    except OSError as error:
        # The entry may be intact and belong to another user: leave it alone.
        _warn_of_cache(f"{path} cannot be read", error.strerror or str(error))
        return encode(source, rules, on_read, vocabulary)
    if corpus is None:
        corpus = encode(source, rules, on_read, vocabulary)
        try:
            _write_cache(path, key.hexdigest(), corpus)
        except OSError as error:
            _warn_of_cache(f"{path.parent} cannot be written", error.strerror or str(error))
    return corpus


@functools.cache  # Once: the comparison with word counts reads it again.
def _warn_of_cache(problem: str, reason: str) -> None:
    warn(
        f"{problem} ({reason}): every start encodes the texts anew; "
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
            info = DatasetInfo.parse(arrays["info"].tobytes().decode())
            said = json.loads(arrays["said"].tobytes())
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
    return Corpus(info, tuple(said["remarks"]), tuple(said["warnings"]), **splits)


def _write_cache(path: Path, key: str, corpus: Corpus) -> None:
    """Write to a unique name and rename, so that nobody reads an incomplete file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"key": np.array(key)} | {
        f"{split}_{name}": array
        for split in ("train", "test")
        for name, array in vars(getattr(corpus, split)).items()
    }
    said = json.dumps({"remarks": corpus.remarks, "warnings": corpus.warnings}, allow_nan=False)
    for name, text in (("info", corpus.info.dump()), ("said", said)):
        arrays[name] = np.frombuffer(text.encode(), np.uint8)
    # Not with `tempfile`, whose files no other user may read: the umask should decide that.
    unfinished = path.with_name(f"{uuid.uuid4().hex}.tmp")
    try:
        with unfinished.open("xb") as file:
            np.savez(file, **arrays)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
