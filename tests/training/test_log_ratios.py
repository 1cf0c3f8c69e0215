"""Log-count ratios of n-grams, against their formula on sets."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from flax_imdb.data import Examples
from flax_imdb.layers import hash_ngrams
from flax_imdb.training import log_count_ratios, log_ratios

BUCKETS = 30


@pytest.mark.parametrize("classes", [2, 3])
def test_are_those_of_the_formula(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With weights, empty texts, texts in another order, hash collisions, a few at a time."""
    monkeypatch.setattr(log_ratios, "_AT_ONCE", 6)
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 9, length) for length in (5, 0, 7, 1, 12, 3, 8)]
    labels = np.arange(7) % classes
    weights = rng.uniform(0.5, 2, 7).astype(np.float32)
    examples = Examples.build(texts, labels).take(np.array([3, 1, 0, 6, 2]))
    examples = examples.weighted(weights[examples.ids])
    logits = 1 if classes == 2 else classes
    ratios = log_count_ratios(examples, logits, ngrams=2, buckets=BUCKETS)
    assert (ratios.shape, ratios.dtype) == ((BUCKETS, logits), np.float32)
    for logit in range(logits):
        counts = np.zeros((2, BUCKETS))
        for index, weight in zip(examples.ids, examples.weights, strict=True):
            is_of_class = labels[index] == (1 if logits == 1 else logit)
            for n in (1, 2):
                hashed = hash_ngrams(jnp.asarray(texts[index])[None], n, BUCKETS)
                for bucket in set(np.asarray(hashed)[0].tolist()):
                    counts[int(not is_of_class), bucket] += weight
        found = counts.sum(axis=0) > 0
        assert 0 < found.sum() < BUCKETS
        of_class, of_others = ((count + 1) / sum(count[found] + 1) for count in counts)
        expected = np.log(of_class / of_others) * found
        np.testing.assert_allclose(ratios[:, logit], expected, rtol=1e-5, atol=1e-6)


def test_a_word_of_all_texts_speaks_for_no_class() -> None:
    """However rare a class is, and however many buckets are empty."""
    texts = [np.array([3, 4 + number % 50]) for number in range(1000)]
    examples = Examples.build(texts, np.arange(1000) % 10 == 0)
    ratios = log_count_ratios(examples, 1, ngrams=1, buckets=2**16)[:, 0]
    of_all = int(hash_ngrams(jnp.array([[3]]), 1, 2**16)[0, 0])
    assert abs(ratios[of_all]) < 0.3


def test_a_word_of_one_class_alone_speaks_for_it() -> None:
    examples = Examples.build([np.array([3, 4]), np.array([3, 5])], np.array([0, 1]))
    ratios = log_count_ratios(examples, 1, ngrams=1, buckets=1000)[:, 0]
    alone = [int(hash_ngrams(jnp.array([[token]]), 1, 1000)[0, 0]) for token in (3, 4, 5)]
    np.testing.assert_allclose(ratios[alone], [0, -math.log(2), math.log(2)], atol=1e-6)
