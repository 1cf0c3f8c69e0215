"""Reviews as token ids: ragged arrays, kept in a cache on disk."""

import dataclasses
import hashlib
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flax_imdb.data import vocabulary
from flax_imdb.data.reviews import Reviews
from flax_imdb.data.vocabulary import UNKNOWN, Vocabulary, split_words
from flax_imdb.errors import InputError, warn
from flax_imdb.paths import local_path


@dataclasses.dataclass(frozen=True)
class Examples:
    """Encoded reviews with their labels. Review ``i`` is ``tokens[starts[i] :][: lengths[i]]``.

    Attributes:
      tokens: ids of all reviews, one after the other, int32 [total].
      starts: where each review begins, int64 [examples].
      lengths: number of tokens of each review, int32 [examples].
      labels: int32 [examples].
      ids: which example of the whole split each one is, int32 [examples].
    """

    tokens: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    ids: np.ndarray

    @classmethod
    def build(cls, reviews: Sequence[np.ndarray], labels: np.ndarray) -> "Examples":
        """Join the ids of each review."""
        lengths = np.array([len(ids) for ids in reviews], np.int32)
        return cls(
            tokens=np.concatenate(reviews),
            starts=np.cumsum(lengths, dtype=np.int64) - lengths,
            lengths=lengths,
            labels=np.asarray(labels, np.int32),
            ids=np.arange(len(reviews), dtype=np.int32),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Examples":
        """The examples at `indices`."""
        return dataclasses.replace(
            self,
            starts=self.starts[indices],
            lengths=self.lengths[indices],
            labels=self.labels[indices],
            ids=self.ids[indices],
        )

    def limited(self, vocab_size: int, max_length: int) -> "Examples":
        """Ids from `vocab_size` on become ``<unk>``; a review keeps its last `max_length`."""
        lengths = np.minimum(self.lengths, max_length)
        return dataclasses.replace(
            self,
            tokens=np.where(self.tokens < vocab_size, self.tokens, UNKNOWN).astype(np.int32),
            starts=self.starts + (self.lengths - lengths),
            lengths=lengths,
        )


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Both splits of a dataset, encoded with every word of the training split.

    Attributes:
      vocabulary: all words of the training split.
      train: the training split.
      test: the test split.
    """

    vocabulary: Vocabulary
    train: Examples
    test: Examples


def encode(reviews: Reviews) -> Corpus:
    """Read, rank and encode `reviews`."""
    train_texts, train_labels = reviews.read("train")
    train_words = [split_words(text) for text in train_texts]
    words = Vocabulary.build(train_words)
    train = Examples.build([words.encode(review) for review in train_words], train_labels)
    del train_texts, train_words
    test_texts, test_labels = reviews.read("test")
    test = Examples.build([words.encode(split_words(text)) for text in test_texts], test_labels)
    return Corpus(words, train, test)


def load_corpus(reviews: Reviews) -> Corpus:
    """`encode`, or what an earlier call left in the cache.

    The cache has no limit on words or lengths, so one entry serves every experiment on the same
    reviews. It is in ``$FLAX_IMDB_CACHE``, by default ``$XDG_CACHE_HOME/flax_imdb`` or
    ``~/.cache/flax_imdb``.
    """
    # Of everything that decides the ids: the reviews, and the code that makes words and ids.
    key = hashlib.sha256(reviews.fingerprint.encode())
    for source in (vocabulary.__file__, __file__):
        key.update(Path(source).read_bytes())
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


def cache_dir() -> Path:
    """Where encoded reviews and compiled programs are kept.

    Raises:
      InputError: there is no home directory, and no variable that names another; or one names what
        cannot be a directory.
    """
    for variable, below in (("FLAX_IMDB_CACHE", ""), ("XDG_CACHE_HOME", "flax_imdb")):
        if value := os.environ.get(variable):
            return local_path(variable, value) / below
    try:
        return Path.home() / ".cache" / "flax_imdb"
    except RuntimeError:
        raise InputError(
            "there is no home directory to keep encoded reviews in: FLAX_IMDB_CACHE must name one"
        ) from None


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
