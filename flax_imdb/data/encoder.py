"""Encoding: from the texts of a source to token ids, a part of them at a time."""

import collections
import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any, Self

import numpy as np
from numpy.typing import DTypeLike

from flax_imdb.data.examples import Corpus, Examples
from flax_imdb.data.info import DatasetInfo
from flax_imdb.data.sources import Source
from flax_imdb.data.splitting import Words, split_many
from flax_imdb.data.tokenizer import SPECIAL_TOKENS, START, UNKNOWN, Vocabulary
from flax_imdb.data.words import TextRules

OnRead = Callable[[str, int, int | None], None]
"""Called while texts are read: what is done, how much of it, and how much there is, if known."""

Keep = Callable[[str, tuple[int, ...], DTypeLike, Iterable[np.ndarray]], np.ndarray]
"""Keeps an array: its name, its shape, its dtype, and its parts, one after another."""

_TEXTS_AT_ONCE = 256  # For each of which progress is shown.
_CHARACTERS_AT_ONCE = 2**22

# Some of the work needs Python, which runs in one thread at a time.
_THREADS = 2

# Until there are more, token ids wait in memory for the vocabulary.
_SPOOL_BYTES = 2**26


def in_memory(
    name: str, shape: tuple[int, ...], dtype: DTypeLike, parts: Iterable[np.ndarray]
) -> np.ndarray:
    """Keep an array in memory."""
    array = np.empty(shape, dtype)
    filled = 0
    for part in parts:
        array[filled : filled + len(part)] = part
        filled += len(part)
    return array


class Encoder:
    """Encodes texts in their order, many at a time, in threads."""

    def __init__(
        self,
        rules: TextRules,
        ids_of: Callable[[Sequence[str]], np.ndarray],
        write: Callable[[np.ndarray, np.ndarray], object],
    ):
        """The encoder.

        Args:
          rules: which words a text has.
          ids_of: the ids of different words, int32.
          write: takes the token ids of some texts, one text after another, and their lengths, both
            int32.
        """
        self.texts = 0
        self._rules = rules
        self._ids_of = ids_of
        self._write = write
        self._threads = ThreadPoolExecutor(_THREADS)
        self._waiting: list[str] = []
        self._characters = 0
        self._started: collections.deque[Future[Words]] = collections.deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def take(self, text: str) -> None:
        """Encode a text, at once or later."""
        self.texts += 1
        self._waiting.append(text)
        self._characters += len(text)
        if self._characters >= _CHARACTERS_AT_ONCE:
            self._start()

    def finish(self) -> None:
        """Encode what is left."""
        self._start()
        while self._started:
            self._write_next()

    def _start(self) -> None:
        self._started.append(self._threads.submit(split_many, self._waiting, self._rules))
        self._waiting, self._characters = [], 0
        if len(self._started) > _THREADS:
            self._write_next()

    def _write_next(self) -> None:
        words = self._started.popleft().result()
        lengths = words.lengths + 1
        tokens = np.empty(len(words.numbers) + len(lengths), np.int32)
        is_start = np.zeros(len(tokens), bool)
        is_start[np.cumsum(lengths, dtype=np.int64) - lengths] = True
        tokens[is_start] = START
        tokens[~is_start] = self._ids_of(words.different)[words.numbers]
        self._write(tokens, lengths)


class _Spool:
    """Token ids of texts, which are written once, and read again part by part."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._lengths: list[np.ndarray] = []

    @property
    def lengths(self) -> np.ndarray:
        """Number of tokens of each text, int32 [texts]."""
        return np.concatenate(self._lengths)

    def write(self, tokens: np.ndarray, lengths: np.ndarray) -> None:
        """Write a part."""
        self._file.write(tokens.tobytes())
        self._lengths.append(lengths)

    def read(self, chosen: np.ndarray) -> Iterator[np.ndarray]:
        """The token ids of those texts that are chosen, bool [texts], part by part."""
        self._file.seek(0)
        first = 0
        for lengths in self._lengths:
            tokens = np.frombuffer(self._file.read(4 * int(lengths.sum())), np.int32)
            of_part = chosen[first : first + len(lengths)]
            first += len(lengths)
            yield tokens if of_part.all() else tokens[np.repeat(of_part, lengths)]


def encode(
    source: Source,
    rules: TextRules,
    on_read: OnRead = lambda what, done, total: None,
    keep: Keep = in_memory,
    directory: str | None = None,
    vocabulary: Vocabulary | None = None,
) -> Corpus:
    """Read both splits, once, and encode them with the vocabulary of the training split.

    Args:
      source: the texts.
      rules: which words a text has.
      on_read: called every few texts.
      keep: keeps the arrays of the examples.
      directory: where token ids wait for the vocabulary, on disk; None: they wait in memory.
      vocabulary: encode with this one, by the same rules, instead.
    """
    numbers: dict[str, int] = collections.defaultdict(lambda: len(SPECIAL_TOKENS) + len(numbers))

    def numbered(words: Sequence[str]) -> np.ndarray:
        return np.fromiter(map(numbers.__getitem__, words), np.int32, len(words))

    def take(text: str) -> None:
        encoder.take(text)
        if encoder.texts % _TEXTS_AT_ONCE == 0:
            on_read("reading and encoding texts", encoder.texts, None)

    on_read("reading and encoding texts", 0, None)
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES if directory else 0, dir=directory) as file:
        spool = _Spool(file)
        with Encoder(rules, numbered, spool.write) as encoder:
            labels, in_test = source.scan(take)
            encoder.finish()
        words = [*numbers]
        numbers.clear()
        if vocabulary is None:
            vocabulary, ids = _ranked(words, spool.read(~in_test), rules)
        else:
            special = np.arange(len(SPECIAL_TOKENS), dtype=np.int32)
            ids = np.concatenate([special, vocabulary.encode(words)[1:]])
        lengths = spool.lengths
        splits = {}
        for split, chosen in (("train", ~in_test), ("test", in_test)):
            total = int(lengths[chosen].sum())
            parts = _watched(spool.read(chosen), ids, f"writing the {split} split", total, on_read)
            inputs = keep(f"{split}_inputs", (total,), np.int32, parts)
            examples = Examples.joined(inputs, lengths[chosen], labels[chosen])
            splits[split] = _kept(examples, split, keep)
    info = DatasetInfo(
        source.name, source.fingerprint, source.classes, vocabulary, source.multi_label
    )
    return Corpus(info, source.remarks, source.warnings, **splits)


def _ranked(
    words: Sequence[str], of_train: Iterable[np.ndarray], rules: TextRules
) -> tuple[Vocabulary, np.ndarray]:
    """The vocabulary of a training split, and its ids.

    Args:
      words: the words in the order in which they were found.
      of_train: their numbers in that order, and those of special tokens, in the training split.
      rules: by which the texts are split.

    Returns:
      The words by frequency, ties by code point; and for each number the token id, int32.
    """
    special = len(SPECIAL_TOKENS)
    counts = np.zeros(special + len(words), np.int64)
    for tokens in of_train:
        counts += np.bincount(tokens, minlength=len(counts))
    known = np.flatnonzero(counts[special:])
    known = np.array(sorted(known.tolist(), key=words.__getitem__), int)
    known = known[np.argsort(-counts[special + known], kind="stable")]
    ids = np.full(len(counts), UNKNOWN, np.int32)
    ids[:special] = range(special)
    ids[special + known] = range(special, special + len(known))
    return Vocabulary([words[number] for number in known.tolist()], rules), ids


def _watched(
    parts: Iterable[np.ndarray], ids: np.ndarray, what: str, total: int, on_read: OnRead
) -> Iterator[np.ndarray]:
    """The ids of words that were numbered in the order in which they were found."""
    done = 0
    for part in parts:
        on_read(what, done, total)
        done += len(part)
        yield ids[part]


def _kept(examples: Examples, split: str, keep: Keep) -> Examples:
    """The examples, with arrays that are kept, as `inputs` is."""
    arrays: dict[str, Any] = {
        name: keep(f"{split}_{name}", array.shape, array.dtype, [array])
        for name, array in vars(examples).items()
        if name not in ("inputs", "vocab_size")
    }
    return dataclasses.replace(examples, **arrays)
