"""Which n-grams count, and how much more often the texts of one class have them than the others."""

from typing import NamedTuple

import jax
import numpy as np

from flax_imdb.data import Examples
from flax_imdb.layers import hash_ngrams
from flax_imdb.models.wide import NGRAM_HASHES

_hash = jax.jit(hash_ngrams, static_argnums=(1, 2))

# Tokens whose n-grams are hashed at once.
_AT_ONCE = 2**21

# An n-gram of one text says more about that text than about its class.
_LEAST_TEXTS = 2


class CountedNgrams(NamedTuple):
    """The constants of `flax_imdb.models.Wide`.

    Attributes:
      owners: the hash of the n-gram that each bucket is for, or -1, int32 [buckets].
      log_ratios: its log-count ratios, or 0, float32 [buckets, num_logits].
    """

    owners: np.ndarray
    log_ratios: np.ndarray


def count_ngrams(examples: Examples, num_logits: int, ngrams: int, buckets: int) -> CountedNgrams:
    """Choose the n-gram of each bucket, and count it. Labels, too, are classes here.

    A bucket is for that of its n-grams which most texts have, if at least two have it. Of the texts
    of a class, and of the others, the weights of those with this n-gram are summed, 1 is added, and
    both are divided by their sum over all buckets; the log-count ratio is the logarithm of their
    ratio (Wang and Manning 2012, equation 2, for counts that are 0 or 1).

    Args:
      examples: the training texts.
      num_logits: number of classes, or 1 for two, whose class is label 1.
      ngrams: the longest n-grams.
      buckets: number of buckets for n-grams of all lengths.
    """
    text, hashed = _distinct(examples, ngrams)
    owners = _most_frequent(hashed, buckets)
    bucket = hashed % buckets
    is_counted = owners[bucket] == hashed
    text, bucket = text[is_counted], bucket[is_counted]
    counts = np.zeros((2, buckets, num_logits))
    for logit in range(num_logits):
        if examples.labels.ndim == 2:
            is_of_class = examples.labels[:, logit] > 0
        else:
            is_of_class = examples.labels == (1 if num_logits == 1 else logit)
        for number, chosen in enumerate((is_of_class, ~is_of_class)):
            weights = (examples.weights * chosen)[text]
            counts[number, :, logit] = np.bincount(bucket, weights, minlength=buckets)
    found = (owners != -1)[:, None]
    counts += 1
    of_class, of_others = counts / np.sum(counts, axis=1, where=found, keepdims=True)
    ratios = np.where(found, np.log(of_class / of_others), 0)
    return CountedNgrams(owners, ratios.astype(np.float32))


def _most_frequent(hashed: np.ndarray, buckets: int) -> np.ndarray:
    """Of each bucket the hash that comes most often, or -1; of several the largest."""
    hashes, texts = np.unique(hashed, return_counts=True)
    hashes = hashes[np.argsort(texts, kind="stable")][np.sum(texts < _LEAST_TEXTS) :]
    owners = np.full(buckets, -1, np.int32)
    owners[hashes % buckets] = hashes  # Of several, the last one stays.
    return owners


def _distinct(examples: Examples, ngrams: int) -> tuple[np.ndarray, np.ndarray]:
    """Each pair of a text and the hash of one of its n-grams, once: positions, and hashes."""
    pairs = [np.empty((2, 0), np.int32)]
    parts = np.cumsum(examples.lengths, dtype=np.int64) // _AT_ONCE
    for rows in np.split(np.arange(len(examples)), np.flatnonzero(np.diff(parts)) + 1):
        part = examples.take(rows)
        for n in range(1, ngrams + 1):
            text, hashed = np.divmod(_of_part(part, n), NGRAM_HASHES)
            pairs.append(np.stack([rows[text], hashed]).astype(np.int32))
    text, hashed = np.concatenate(pairs, axis=1)
    return text, hashed


def _of_part(examples: Examples, n: int) -> np.ndarray:
    """Each pair of a text's position and the hash of one of its n-grams, once, as one number."""
    texts, _, tokens = examples.spread()
    # All texts in one row, each after enough zeros that none sees the one before.
    places = np.arange(len(texts)) + n * (texts + 1)
    size = len(texts) + n * (len(examples) + 1)
    row = np.zeros((1, 2 ** size.bit_length()), np.int32)  # Of few sizes: each is compiled.
    row[0, places] = tokens
    return np.unique(texts * NGRAM_HASHES + np.asarray(_hash(row, n, NGRAM_HASHES))[0, places])
