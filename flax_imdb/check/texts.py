"""The texts that are checked: their words, where they are, and what they look like."""

import array
import collections
import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np

from flax_imdb.data import Examples
from flax_imdb.data.encoder import Encoder, OnRead
from flax_imdb.data.sources import Origin, Source, Split
from flax_imdb.data.sources.labels import plain_label, sizes_of
from flax_imdb.data.tokenizer import SPECIAL_TOKENS, START
from flax_imdb.data.words import TAG

T = TypeVar("T")

THREADS = max(1, min(4, os.cpu_count() or 1))
"""At once: NumPy and scikit-learn let other threads run, and each takes memory."""

_TOKENS_AT_ONCE = 500_000
_TEXTS_SHOWN = 1024  # Between which progress is shown.
_EXCERPT = 160  # Characters.

# MurmurHash3's finalizer: a bijection of 32 bits.
_MIXING = ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1))
_FACTOR = np.uint32(0x9E3779B1)

# What is lost or broken: the mark of a lost character, control characters, private ones, and what
# UTF-8 looks like when it is read as Latin-1 or Windows-1252. There its later bytes, 80 to BF, are:
_LOST = "[\ufffd\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ue000-\uf8ff]"
_LATER = f"[\x80-\xbf{bytes(range(0x80, 0xA0)).decode('cp1252', 'ignore')}]"
_BROKEN = re.compile(
    f"[\xc2-\xdb]{_LATER}|[\xe0-\xef]{_LATER}{{2}}|[\xf0-\xf4]{_LATER}{{3}}|{_LOST}"
)
# What follows words, also those that end with such a letter: "CAF\xc9\u2122", "caf\xe9\u2026\xbb".
_AFTER_WORDS = re.compile(
    "[\xa0\xaa\xab\xae\xb0\xb7\xba\xbb\u2013\u2014\u2018\u2019\u201c\u201d\u2022\u2026\u2039\u203a\u2122]+"
)

_NAME, _HASHTAG = re.compile(r"(?<!\w)@\w"), re.compile(r"(?<!\w)#\w")
_ENDS = (".", "!", "?", '"', "'", ")", "\u2026", "\u201d", "\u3002")

FORMS: Mapping[str, Callable[[str], object]] = {
    "markup": lambda text: "<" in text and TAG.search(text),
    "a web address": lambda text: "://" in text or "www." in text,
    "an @name": lambda text: "@" in text and _NAME.search(text),
    "a #tag": lambda text: "#" in text and _HASHTAG.search(text),
    "a line break": lambda text: "\n" in text,
    "characters beyond ASCII": lambda text: not text.isascii(),
    "capital letters alone": str.isupper,
    "small letters alone": str.islower,
    "no mark at the end": lambda text: not text.rstrip().endswith(_ENDS),
}
"""What a text may have that depends on where it is from, rather than on what it says."""


class Part(NamedTuple):
    """Some texts, one after another.

    Attributes:
      first: index of the first text.
      tokens: of all of them, int32; each begins with ``<start>``.
      lengths: number of tokens of each, int64.
    """

    first: int
    tokens: np.ndarray
    lengths: np.ndarray

    def runs(self, n: int, *, of_words: bool = True) -> "Runs":
        """All runs of n tokens in the texts.

        Args:
          n: how many.
          of_words: of words alone; otherwise the first may be ``<start>``.
        """
        owners = np.repeat(np.arange(len(self.lengths), dtype=np.int32), self.lengths)
        count = max(len(self.tokens) - n + 1, 0)
        is_run = owners[:count] == owners[len(owners) - count :]
        if of_words:
            is_run &= self.tokens[:count] != START
        mixed = mix(self.tokens.astype(np.uint32))
        hashes = mixed[:count]
        for step in range(1, n):
            hashes = hashes * _FACTOR + mixed[step : count + step]
        return Runs(np.flatnonzero(is_run), owners[:count][is_run], mix(hashes[is_run]))


class Runs(NamedTuple):
    """Runs of tokens.

    Attributes:
      starts: of each the index of its first token, int64 [runs].
      owners: the text that it is in, counted from 0 in its part, int32 [runs].
      hashes: a hash of its tokens, uint32 [runs].
    """

    starts: np.ndarray
    owners: np.ndarray
    hashes: np.ndarray


@dataclasses.dataclass(frozen=True)
class Texts:
    """All texts of a dataset, the training split and the test split.

    Attributes:
      source: where they are from.
      classes: the names of the labels; of names that differ by case or blanks alone the most
        frequent one.
      written: the names of the labels as they are written.
      examples: the words and the labels of the texts, by `classes`.
      spelled: the labels by `written`, as in `Examples`.
      in_test: whether a text is in the test split, bool [texts].
      origins: the different places of texts.
      origin_of: of each text the index of its place, int [texts].
      positions: of each text where it is there.
      characters: of each text, int64 [texts].
      excerpts: the beginnings of the texts, on one line.
      forms: which of `FORMS` each text has, bits from the lowest, uint16 [texts].
      broken: the characters of a text that are lost or broken, of those that have some.
      words: the words, by token id, from the first that is none of the special tokens.
    """

    source: Source
    classes: tuple[str, ...]
    written: tuple[str, ...]
    examples: Examples
    spelled: np.ndarray
    in_test: np.ndarray
    origins: tuple[Origin, ...]
    origin_of: np.ndarray
    positions: Sequence[int | str]
    characters: np.ndarray
    excerpts: Sequence[str]
    forms: np.ndarray
    broken: Mapping[int, tuple[str, ...]]
    words: Sequence[str]

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def lengths(self) -> np.ndarray:
        """Number of words of each text, int32 [texts]."""
        return self.examples.lengths - 1

    def parts(self) -> Iterator[Part]:
        """The texts, some at a time."""
        ends = self.examples.starts + self.examples.lengths
        first = 0
        while first < len(self):
            start = self.examples.starts[first]
            last = max(int(np.searchsorted(ends, start + _TOKENS_AT_ONCE, side="right")), first + 1)
            tokens = self.examples.inputs[start : ends[last - 1]]
            yield Part(first, tokens, self.examples.lengths[first:last].astype(np.int64))
            first = last

    def said(self, tokens: np.ndarray) -> str:
        """The words of some tokens."""
        known = (token - len(SPECIAL_TOKENS) for token in tokens.tolist() if token > START)
        return " ".join(self.words[number] for number in known)

    def label(self, text: int) -> str:
        """The label of a text as it is written; of several, all of them."""
        return name_of(self.spelled[text], self.written)

    def split(self, text: int) -> Split:
        """The split that a text is in."""
        return "test" if self.in_test[text] else "train"

    def where(self, text: int) -> str:
        """Where a text is, for a person."""
        origin, position = self.origins[self.origin_of[text]], str(self.positions[text])
        position = position if position.isprintable() else repr(position)
        place = f" of {os.path.basename(origin.place)}" if len(self.origins) > 1 else ""
        return f"{origin.unit} {position}".strip() + place


def name_of(label: np.ndarray, classes: Sequence[str]) -> str:
    """The name of a label: an index; or, of several, 0 or 1 for each class."""
    if np.ndim(label) == 0:
        return classes[int(label)]
    return "|".join(classes[number] for number in np.flatnonzero(label).tolist())


def read_texts(source: Source, on_read: OnRead = lambda what, done, total: None) -> Texts:
    """Read both splits of a source, once.

    Args:
      source: the texts.
      on_read: called every few texts.

    Raises:
      InputError: they cannot be read.
    """
    numbers: dict[str, int] = collections.defaultdict(lambda: len(SPECIAL_TOKENS) + len(numbers))
    tokens, lengths = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    places: dict[Origin, int] = {}
    origin_of, positions = array.array("i"), list[int | str]()
    looks = _Looks()

    def numbered(words: Sequence[str]) -> np.ndarray:
        return np.fromiter(map(numbers.__getitem__, words), np.int32, len(words))

    def write(of_texts: np.ndarray, their_lengths: np.ndarray) -> None:
        tokens.append(of_texts)
        lengths.append(their_lengths)

    with Encoder("unicode", numbered, write) as encoder:

        def take(text: str) -> None:
            encoder.take(text)
            looks.take(text)
            if encoder.texts % _TEXTS_SHOWN == 0:
                on_read("reading", encoder.texts, None)

        def at(origin: Origin, position: int | str) -> None:
            origin_of.append(places.setdefault(origin, len(places)))
            positions.append(position)

        spelled, in_test = source.scan(take, at)
        encoder.finish()
    written = tuple(source.classes)
    chosen, of_written = alike(written, spelled)
    labels = of_written[spelled] if spelled.ndim == 1 else _merged(spelled, of_written, len(chosen))
    return Texts(
        source=source,
        classes=tuple(written[number] for number in chosen.tolist()),
        written=written,
        examples=Examples.joined(np.concatenate(tokens), np.concatenate(lengths), labels),
        spelled=spelled,
        in_test=in_test,
        origins=tuple(places),
        origin_of=np.frombuffer(origin_of, np.int32),
        positions=positions,
        characters=np.frombuffer(looks.characters, np.int64),
        excerpts=looks.excerpts,
        forms=np.frombuffer(looks.forms, np.uint16),
        broken=looks.broken,
        words=[*numbers],
    )


class _Looks:
    """What texts look like, of which no more is kept than this."""

    def __init__(self) -> None:
        self.characters = array.array("q")
        self.forms = array.array("H")
        self.excerpts: list[str] = []
        self.broken: dict[int, tuple[str, ...]] = {}

    def take(self, text: str) -> None:
        """Look at a text."""
        # Most texts, the fast way.
        if not (text.isascii() and text.isprintable()) and (found := _broken(text)):
            self.broken[len(self.excerpts)] = found
        self.characters.append(len(text))
        self.forms.append(sum(1 << bit for bit, has in enumerate(FORMS.values()) if has(text)))
        self.excerpts.append(" ".join(text[: 2 * _EXCERPT].split())[:_EXCERPT])


def _broken(text: str) -> tuple[str, ...]:
    """The different characters of a text that are lost or broken, in their order."""
    found: list[str] = []
    for match in _BROKEN.finditer(text):
        if len(run := match[0]) == 1 or _is_misread(text, match.start(), run):
            found.append(run)
        else:
            found += re.findall(_LOST, run)
    return tuple(dict.fromkeys(found))


def _is_misread(text: str, start: int, run: str) -> bool:
    """Whether a run of characters in a text is one that was read in another encoding."""
    try:
        b"".join(map(_byte_of, run)).decode("utf-8")
    except UnicodeDecodeError:
        return False
    if not _AFTER_WORDS.fullmatch(run[1:]):
        return True
    if run[0].islower() or ("\xbb" in run and text.find("\xab", 0, start) >= 0):
        return False
    # At the end of a word in capital letters.
    end = start + len(run)
    inside = run[0] == "\xc3" and text[end : end + 1].isalpha()
    return inside or not (start and text[start - 1].isupper())


def _byte_of(character: str) -> bytes:
    """The byte that is this character in Windows-1252, or in Latin-1 where it has none."""
    try:
        return character.encode("cp1252")
    except UnicodeEncodeError:
        return character.encode("latin-1")


def alike(classes: Sequence[str], labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find classes whose names differ by case or blanks alone.

    Args:
      classes: the names.
      labels: of texts, as in `Examples`.

    Returns:
      The most frequent class of each group, in their order, int32 [groups]; and for each class the
      index of its group there, int32 [classes].
    """
    sizes = sizes_of(labels, len(classes))
    groups: dict[str, list[int]] = {}
    for number, name in enumerate(classes):
        groups.setdefault(plain_label(name), []).append(number)
    best = {max(group, key=lambda n: (sizes[n], -n)): group for group in groups.values()}
    of_class = np.empty(len(classes), np.int32)
    for index, chosen in enumerate(sorted(best)):
        of_class[best[chosen]] = index
    return np.array(sorted(best), np.int32), of_class


def of_class(labels: np.ndarray, number: int) -> np.ndarray:
    """Which labels are those of a class, or have it among others, bool [labels]."""
    return labels[:, number] > 0 if labels.ndim == 2 else labels == number


def _merged(labels: np.ndarray, of_class: np.ndarray, classes: int) -> np.ndarray:
    merged = np.zeros((len(labels), classes), np.float32)
    for number, column in enumerate(of_class.tolist()):
        merged[:, column] = np.maximum(merged[:, column], labels[:, number])
    return merged


def jaccard(first: np.ndarray, second: np.ndarray) -> float:
    """The share of the elements of two sets that both have; each is there once."""
    both = len(np.intersect1d(first, second, assume_unique=True))
    return both / (len(first) + len(second) - both)


def mix(numbers: np.ndarray) -> np.ndarray:
    """Hashes of numbers, uint32: different ones for different numbers, as if at random."""
    for shift, multiplier in _MIXING:
        numbers = numbers ^ (numbers >> np.uint32(shift))
        numbers *= np.uint32(multiplier)
    return numbers


def in_threads(function: Callable[..., T], *arguments: Sequence[object]) -> list[T]:
    """What a function returns of each argument, with several threads at work."""
    with ThreadPoolExecutor(THREADS) as threads:
        return [*threads.map(function, *arguments)]
