"""Hashed n-grams, against scikit-learn's MurmurHash3."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils import murmurhash3_32

from flax_imdb.layers import hash_ngrams

tokens_of_a_text = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=6)


@settings(max_examples=50)
@given(tokens_of_a_text, st.integers(1, 4), st.integers(1, 2**31 - 1))
def test_the_hash_is_murmurhash3(tokens: list[int], n: int, buckets: int) -> None:
    hashed = hash_ngrams(jnp.array([tokens], jnp.int32), n, buckets)[0]
    before = [0] * (n - 1)
    for step, bucket in enumerate(hashed):
        ngram = np.array([*before, *tokens][step : step + n], "<i4")
        assert bucket == murmurhash3_32(ngram.tobytes(), positive=True) % buckets


@pytest.mark.parametrize("n", [2, 3])
def test_no_later_token_matters(n: int) -> None:
    text = jnp.array([[5, 8, 3, 9]])
    longer = jnp.pad(text, ((0, 0), (0, 3)), constant_values=7)
    np.testing.assert_array_equal(hash_ngrams(longer, n, 1000)[:, :4], hash_ngrams(text, n, 1000))


def test_buckets_are_hit_alike() -> None:
    """The pairs of 300 words, in 1,000 buckets: 90 in each, give or take."""
    first, second = np.meshgrid(np.arange(300), np.arange(300))
    pairs = np.stack([first.ravel(), second.ravel()], axis=1)
    counts = np.bincount(hash_ngrams(jnp.asarray(pairs), 2, 1000)[:, 1], minlength=1000)
    np.testing.assert_allclose(counts.mean(), 90)
    np.testing.assert_allclose(counts.std(), np.sqrt(90), rtol=0.2)  # Of a Poisson distribution.
