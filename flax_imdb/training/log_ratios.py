"""How much more often the texts of one class have an n-gram than the others."""

import jax
import numpy as np

from flax_imdb.data import Examples
from flax_imdb.layers import hash_ngrams

_hash = jax.jit(hash_ngrams, static_argnums=(1, 2))

# Tokens whose n-grams are in memory at once.
_AT_ONCE = 2**21


def log_count_ratios(examples: Examples, num_logits: int, ngrams: int, buckets: int) -> np.ndarray:
    """The log-count ratio of each bucket of n-grams, float32 [buckets, num_logits].

    Of the texts of a class, and of the others, the weights of those with an n-gram of the bucket
    are summed, 1 is added, and both are divided by their sum over all buckets; the result is the
    logarithm of their ratio (Wang and Manning 2012, equation 2, for counts that are 0 or 1).
    Buckets without an n-gram of these texts do not count, and their ratio is 0.

    Args:
      examples: the training texts.
      num_logits: number of classes, or 1 for two, whose class is label 1.
      ngrams: the longest n-grams.
      buckets: number of buckets for n-grams of all lengths (see `flax_imdb.layers.hash_ngrams`).
    """
    counts = np.zeros((2, buckets, num_logits))
    parts = np.cumsum(examples.lengths, dtype=np.int64) // _AT_ONCE
    for rows in np.split(np.arange(len(examples)), np.flatnonzero(np.diff(parts)) + 1):
        part = examples.take(rows)
        for n in range(1, ngrams + 1):
            text, bucket = _distinct(part, n, buckets)
            for logit in range(num_logits):
                is_of_class = part.labels == (1 if num_logits == 1 else logit)
                for number, chosen in enumerate((is_of_class, ~is_of_class)):
                    weights = (part.weights * chosen)[text]
                    counts[number, :, logit] += np.bincount(bucket, weights, minlength=buckets)
    found = counts.sum(axis=0) > 0
    counts += 1
    of_class, of_others = counts / np.sum(counts, axis=1, where=found, keepdims=True)
    return np.where(found, np.log(of_class / of_others), 0).astype(np.float32)


def _distinct(examples: Examples, n: int, buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """Each pair of a text and a bucket of its n-grams, once: the texts' positions, the buckets."""
    texts = np.repeat(np.arange(len(examples)), examples.lengths)
    before = np.cumsum(examples.lengths, dtype=np.int64) - examples.lengths
    steps = np.arange(len(texts)) - before[texts]
    # All texts in one row, each after enough zeros that none sees the one before.
    places = np.arange(len(texts)) + n * (texts + 1)
    size = len(texts) + n * (len(examples) + 1)
    row = np.zeros((1, 2 ** size.bit_length()), np.int32)  # Of few sizes: each is compiled.
    row[0, places] = examples.tokens[examples.starts[texts] + steps]
    found = np.asarray(_hash(row, n, buckets))[0, places]
    text, bucket = np.divmod(np.unique(texts * buckets + found), buckets)
    return text, bucket
