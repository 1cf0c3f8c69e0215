"""The words of texts as a matrix, for linear models."""

from typing import TYPE_CHECKING

import numpy as np

from flax_imdb.check.texts import Part, Texts, in_threads

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

# Pairs of words share this many columns, of which those of rare pairs are left out.
_PAIR_BITS = 20
_LEAST_TEXTS = (2, 20)
"""In how many texts a word and a pair must be."""

# Of more tokens the pairs would take gigabytes.
_MOST_TOKENS_OF_PAIRS = 60_000_000


def weigh_words(texts: Texts) -> "csr_matrix":
    """Weigh the words and the pairs of words in each text by tf-idf.

    A word counts once in a text. Its weight is ``1 + log(texts / texts with the word)``, and rows
    have length 1, as of scikit-learn's TfidfVectorizer with ``binary``. Pairs are hashed.

    Returns:
      float32 [texts, columns].
    """
    from scipy.sparse import csr_matrix

    words = int(texts.examples.inputs.max(initial=0)) + 1
    with_pairs = len(texts.examples.inputs) <= _MOST_TOKENS_OF_PAIRS
    columns_of_parts = in_threads(lambda part: _columns(part, words, with_pairs), [*texts.parts()])
    counts = np.zeros(words + (1 << _PAIR_BITS), np.int64)
    for columns, _ in columns_of_parts:
        counts += np.bincount(columns, minlength=len(counts))
    least_words, least_pairs = _LEAST_TEXTS
    # Of few texts a pair that comes twice is as telling as one of many that comes often.
    least_pairs = int(np.clip(len(texts) // 1000, 2, least_pairs))
    least = np.where(np.arange(len(counts)) < words, least_words, least_pairs)
    kept = np.flatnonzero(counts >= least)
    numbers = np.full(len(counts), -1, np.int32)
    numbers[kept] = np.arange(len(kept))
    weights = (1 + np.log(len(texts) / counts[kept])).astype(np.float32)
    parts = in_threads(lambda each: _weighted(each[0], each[1], numbers, weights), columns_of_parts)
    data, indices, sizes = (
        np.concatenate([part[i] for part in parts] or [np.empty(0)]) for i in range(3)
    )
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return csr_matrix((data, indices, ends), shape=(len(texts), len(kept)))


def _columns(part: Part, words: int, with_pairs: bool) -> tuple[np.ndarray, np.ndarray]:
    """The different columns of each text, one text after another, int32; and their numbers."""
    starts, owners, _ = part.runs(1)
    keys = [_keys(owners, part.tokens[starts])]
    if with_pairs:
        _, owners, hashes = part.runs(2, of_words=False)
        keys.append(_keys(owners, (hashes >> np.uint32(32 - _PAIR_BITS)) + np.uint32(words)))
    found = np.concatenate(keys)
    found.sort()
    found = found[np.diff(found, prepend=-1) != 0]
    sizes = np.bincount(found >> 32, minlength=len(part.lengths))
    return (found & 0xFFFFFFFF).astype(np.int32), sizes


def _keys(owners: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Numbers that are sorted by text, and then by column, int64."""
    return (owners.astype(np.int64) << 32) | columns.astype(np.int64)


def _weighted(
    columns: np.ndarray, sizes: np.ndarray, numbers: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weights of the columns that are kept, these columns, and their number in each text."""
    indices = numbers[columns]
    rows = np.repeat(np.arange(len(sizes)), sizes)[indices >= 0]
    indices = indices[indices >= 0]
    data = weights[indices]
    norms = np.sqrt(np.bincount(rows, data.astype(np.float64) ** 2, minlength=len(sizes)))
    data /= norms[rows].astype(np.float32)
    return data, indices, np.bincount(rows, minlength=len(sizes))
