"""Log-count ratios of n-grams, against their formula on sets."""

import itertools
import math
from collections import Counter

import jax.numpy as jnp
import numpy as np
import pytest

from flax_imdb.data import Examples
from flax_imdb.layers import hash_ngrams
from flax_imdb.models.wide import NGRAM_HASHES
from flax_imdb.training import count_ngrams, ngram_counts

BUCKETS = 30


def hashes_of(text: np.ndarray, n: int) -> set[int]:
    if not len(text):
        return set()
    return set(np.asarray(hash_ngrams(jnp.asarray(text)[None], n, NGRAM_HASHES))[0].tolist())


@pytest.mark.parametrize("classes", [2, 3])
def test_are_those_of_the_formula(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With weights, empty texts, texts in another order, hash collisions, a few at a time."""
    monkeypatch.setattr(ngram_counts, "_AT_ONCE", 6)
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 9, length) for length in (5, 0, 7, 1, 12, 3, 8, 30, 25)]
    labels = np.arange(9) % classes
    weights = rng.uniform(0.5, 2, 9).astype(np.float32)
    examples = Examples.build(texts, labels).take(np.array([3, 1, 0, 6, 2, 8, 7]))
    examples = examples.weighted(weights[examples.ids])
    logits = 1 if classes == 2 else classes
    owners, ratios = count_ngrams(examples, logits, ngrams=2, buckets=BUCKETS)
    assert (ratios.shape, ratios.dtype) == ((BUCKETS, logits), np.float32)

    found = [hashes_of(texts[index], 1) | hashes_of(texts[index], 2) for index in examples.ids]
    having = Counter(itertools.chain.from_iterable(found))
    best: dict[int, tuple[int, int]] = {}
    for hashed, number in having.items():
        if number > 1:
            best[hashed % BUCKETS] = max(best.get(hashed % BUCKETS, (0, 0)), (number, hashed))
    assert 5 < len(best) < BUCKETS < len(having)
    expected_owners = [best.get(bucket, (0, -1))[1] for bucket in range(BUCKETS)]
    np.testing.assert_array_equal(owners, expected_owners)

    for logit in range(logits):
        counts = np.zeros((2, BUCKETS))
        for index, weight, hashes in zip(examples.ids, examples.weights, found, strict=True):
            is_of_class = labels[index] == (1 if logits == 1 else logit)
            for bucket in best:
                counts[int(not is_of_class), bucket] += weight * (owners[bucket] in hashes)
        of_class, of_others = ((count + 1) / sum(count[[*best]] + 1) for count in counts)
        expected = np.log(of_class / of_others) * (owners >= 0)
        np.testing.assert_allclose(ratios[:, logit], expected, rtol=1e-5, atol=1e-6)


def test_each_of_several_labels_is_counted_against_the_texts_without_it() -> None:
    rng = np.random.default_rng(0)
    texts = [rng.integers(3, 12, 6) for _ in range(40)]
    labels = rng.integers(0, 2, (40, 3)).astype(np.float32)
    weights = rng.uniform(0.5, 2, 40).astype(np.float32)
    several = Examples.build(texts, labels).weighted(weights)
    owners, ratios = count_ngrams(several, 3, ngrams=2, buckets=BUCKETS)
    for label in range(3):
        alone = Examples.build(texts, labels[:, label].astype(int)).weighted(weights)
        expected = count_ngrams(alone, 1, ngrams=2, buckets=BUCKETS)
        np.testing.assert_array_equal(owners, expected.owners)
        np.testing.assert_array_equal(ratios[:, label], expected.log_ratios[:, 0])


def ratios_of_tokens(examples: Examples, tokens: list[int], buckets: int) -> list[float]:
    """The log-count ratios of single tokens."""
    owners, ratios = count_ngrams(examples, 1, ngrams=1, buckets=buckets)
    found = [int(hash_ngrams(jnp.array([[token]]), 1, NGRAM_HASHES)[0, 0]) for token in tokens]
    return [float(ratios[hashed % buckets, 0]) * (hashed in owners) for hashed in found]


def test_a_word_of_all_texts_speaks_for_no_class() -> None:
    """However rare a class is, and however many buckets are empty."""
    texts = [np.array([3, 4 + number % 50]) for number in range(1000)]
    examples = Examples.build(texts, np.arange(1000) % 10 == 0)
    (ratio,) = ratios_of_tokens(examples, [3], 2**16)
    assert abs(ratio) < 0.3


def test_a_word_of_one_class_alone_speaks_for_it() -> None:
    texts = [np.array([3, 4]), np.array([3, 4]), np.array([3, 5]), np.array([3, 5, 6])]
    examples = Examples.build(texts, np.array([0, 0, 1, 1]))
    ratios = ratios_of_tokens(examples, [3, 4, 5, 6], 1000)
    np.testing.assert_allclose(ratios, [0, -math.log(3), math.log(3), 0], atol=1e-6)
