"""Texts that are there more than once, as they are or but for a few words."""

import collections
import dataclasses
import hashlib
import importlib.util
import math
from collections.abc import Iterator, Sequence

import numpy as np

from flax_imdb.check.texts import Part, Texts, in_threads, jaccard

SIMILAR = 0.7
"""Near-duplicates share this much of their shingles: the Jaccard index."""

_MOST_NEAR = 0.99  # Their similarity, also if their shingles are the same in another number.
_SHINGLE = 3  # Words.
# Of two texts that share 0.7 one pair in a hundred is missed, of those that share 0.8 none.
_BANDS = (25, 5)
# Of texts that are made from a template nearly all are alike: with each, the signatures of this
# many are compared, those that share the rarest parts of theirs, and the shingles of fewer.
_MOST_LOOKED_AT = 300
_MOST_COMPARED = 20

MISSING = (
    "near-duplicates were not looked for, which needs datasketch, which is not installed: pip "
    "install datasketch"
)
"""What is said where datasketch is not installed."""


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """Groups of texts that are alike.

    Attributes:
      first: of each text the first of its group, int64 [texts]; most are their own.
      same: of each text the first with the same words in the same order, int64 [texts].
      similarity: of each text to the first: 1 for the same words in the same order, at most 0.99
        for near-duplicates, float64 [texts].
      near: whether near-duplicates were looked for.
    """

    first: np.ndarray
    same: np.ndarray
    similarity: np.ndarray
    near: bool

    @property
    def is_copy(self) -> np.ndarray:
        """Whether a text is like an earlier one, bool [texts]."""
        return self.first != np.arange(len(self.first))


def find_duplicates(texts: Texts) -> Duplicates:
    """Find texts with the same words, and with nearly the same.

    Case, punctuation and markup do not matter. Near-duplicates share `SIMILAR` of their shingles,
    which are runs of three words. They are found by MinHash (Broder 1997) and then compared, each
    with the first text of a group.
    """
    same = _same(texts)
    first = same.copy()
    similarity = np.ones(len(texts))
    near = importlib.util.find_spec("datasketch") is not None
    if near:
        may_be = _may_be_near(texts) & (first == np.arange(len(texts)))
        for text, earlier, share in _nearly_same(texts, np.flatnonzero(may_be)):
            first[text], similarity[text] = earlier, min(share, _MOST_NEAR)
        # Copies of a near-duplicate follow it.
        copies = np.flatnonzero(first[first] != first)
        similarity[copies] = similarity[first[copies]]
        first[copies] = first[first[copies]]
    return Duplicates(first, same, similarity, near)


def _same(texts: Texts) -> np.ndarray:
    """Of each text the first with the same words, int64 [texts]; one without words is its own."""
    first = np.arange(len(texts))
    known: dict[bytes, int] = {}
    for part in texts.parts():
        content, end = part.tokens.tobytes(), 0
        for number, length in enumerate(part.lengths.tolist()):
            start, end = end, end + 4 * length
            if length > 1:
                digest = hashlib.blake2b(content[start:end], digest_size=16).digest()
                first[part.first + number] = known.setdefault(digest, part.first + number)
    return first


def _may_be_near(texts: Texts) -> np.ndarray:
    """Which texts have so many shingles that come more than once that they may be near-duplicates.

    It is so for every text with a Jaccard index of `SIMILAR` to another, and for few others.

    Returns:
      bool [texts].
    """
    bits = int(np.clip(len(texts.examples.inputs), 1, 2**25)).bit_length() + 2
    once, twice = np.zeros((2, 1 << bits), bool)
    parts = [*texts.parts()]
    shift = np.uint32(max(32 - bits, 0))

    def count(part: Part) -> tuple[np.ndarray, np.ndarray]:
        return np.unique(part.runs(_SHINGLE).hashes >> shift, return_counts=True)

    for different, counts in in_threads(count, parts):
        twice[different] |= (counts > 1) | once[different]
        once[different] = True

    def share(part: Part) -> np.ndarray:
        _, owners, hashes = part.runs(_SHINGLE)
        counts = np.bincount(owners, minlength=len(part.lengths))
        shared = np.bincount(owners, twice[hashes >> shift], minlength=len(part.lengths))
        return (counts > 0) & (shared >= SIMILAR * counts)

    return np.concatenate(in_threads(share, parts) or [np.empty(0, bool)])


def _nearly_same(texts: Texts, chosen: np.ndarray) -> Iterator[tuple[int, int, float]]:
    """Texts that are nearly the same as earlier ones, of those that are chosen.

    Yields:
      A text, the first of its group, and how much they share.
    """
    from datasketch import MinHash

    sets = [*_sets(texts, chosen)]
    kept = _sharing(sets)
    sets, chosen = [sets[number] for number in kept.tolist()], chosen[kept]
    signs = MinHash.generator(
        (shingles.tolist() for shingles in sets), num_perm=math.prod(_BANDS), hashfunc=int
    )
    # By band and the values in it: the first texts of groups with those.
    index = collections.defaultdict[tuple[int, bytes], list[int]](list)
    values = np.empty((len(sets), math.prod(_BANDS)), np.uint64)
    for number, sign in enumerate(signs):
        values[number] = sign.hashvalues
        keys = [(band, part.tobytes()) for band, part in enumerate(values[number].reshape(_BANDS))]
        candidates = _rarest([index[key] for key in keys if key in index])
        agreeing = np.count_nonzero(values[candidates] == values[number], axis=1)
        likely = candidates[np.argsort(-agreeing, kind="stable")[:_MOST_COMPARED]]
        shares = [jaccard(sets[number], sets[other]) for other in likely]
        best = int(np.argmax(shares)) if shares else 0
        if shares and shares[best] >= SIMILAR:
            yield int(chosen[number]), int(chosen[likely[best]]), shares[best]
        else:
            for key in keys:
                index[key].append(number)


def _rarest(groups: Sequence[Sequence[int]]) -> np.ndarray:
    """The numbers in groups, in their order; if there are many, those in the smallest groups."""
    numbers: set[int] = set()
    for group in sorted(groups, key=len):
        numbers.update(group[: _MOST_LOOKED_AT - len(numbers)])
    return np.array(sorted(numbers), np.int64)


def _sets(texts: Texts, chosen: np.ndarray) -> Iterator[np.ndarray]:
    """The different shingles of texts that are chosen, in their order."""
    is_chosen = np.zeros(len(texts), bool)
    is_chosen[chosen] = True
    for part in texts.parts():
        _, owners, hashes = part.runs(_SHINGLE)
        ends = np.searchsorted(owners, np.arange(len(part.lengths) + 1))
        for number in np.flatnonzero(is_chosen[part.first :][: len(part.lengths)]).tolist():
            yield np.unique(hashes[ends[number] : ends[number + 1]])


def _sharing(sets: Sequence[np.ndarray]) -> np.ndarray:
    """Indices of the sets that share `SIMILAR` of their elements with the others together."""
    if not sets:
        return np.empty(0, np.int64)
    sizes = np.array([len(each) for each in sets])
    _, numbers, counts = np.unique(np.concatenate(sets), return_inverse=True, return_counts=True)
    owners = np.repeat(np.arange(len(sets)), sizes)
    shared = np.bincount(owners, counts[numbers] > 1, minlength=len(sets))
    return np.flatnonzero(shared >= SIMILAR * sizes)
