"""Logistic regression on n-grams, against sums over sets of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_imdb.errors import InputError
from flax_imdb.layers import LSTM, hash_ngrams
from flax_imdb.models import Classifier, ModelConfig, Wide, build
from flax_imdb.models.wide import NGRAM_HASHES, ngram_terms

BUCKETS = 40
TOKENS = jax.random.randint(jax.random.key(0), (4, 9), 1, 5)
LENGTHS = jnp.array([9, 4, 1, 0])


def variables(classes: int) -> Any:
    """Random ones, with buckets that are for n-grams of `TOKENS`, for others, and for none."""
    drawn = jax.random.normal(jax.random.key(1), (2, BUCKETS + 1, classes))
    log_ratios, weights = drawn[:, :BUCKETS]
    owners = np.arange(BUCKETS) + 7 * BUCKETS
    owners[::3] = -1
    for n in (1, 2, 3):
        hashes = np.asarray(hash_ngrams(TOKENS, n, NGRAM_HASHES)).ravel()[::2]
        owners[hashes % BUCKETS] = hashes
    return {
        "params": {"weights": weights, "bias": drawn[0, BUCKETS]},
        "constants": {"owners": jnp.asarray(owners, jnp.int32), "log_ratios": log_ratios},
    }


@pytest.mark.parametrize("classes", [1, 3])
def test_logits_are_sums_over_the_distinct_ngrams(classes: int) -> None:
    """Of those that own a bucket, divided by the square root of their number."""
    params, constants = (variables(classes)[name] for name in ("params", "constants"))
    terms = np.asarray(constants["log_ratios"], np.float64) * np.asarray(params["weights"])
    expected = np.tile(np.asarray(params["bias"], np.float64), (4, 1))
    for row, length in enumerate(LENGTHS):
        found = [
            bucket
            for n in (1, 2, 3)
            for hashed in set(
                np.asarray(hash_ngrams(TOKENS, n, NGRAM_HASHES))[row, :length].tolist()
            )
            if constants["owners"][bucket := hashed % BUCKETS] == hashed
        ]
        assert (len(found) > 0) == (length > 0)
        expected[row] += 30 * terms[found].sum(axis=0) / max(len(found), 1) ** 0.5
    logits = Wide(classes, ngrams=3, buckets=BUCKETS).apply(variables(classes), TOKENS, LENGTHS)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


def test_until_ngrams_are_counted_none_counts() -> None:
    wide = Wide(1, ngrams=2, buckets=BUCKETS)
    fresh = wide.init(jax.random.key(0), TOKENS, LENGTHS)
    weights = jnp.ones_like(fresh["params"]["weights"])
    logits = wide.apply(
        {**fresh, "params": {**fresh["params"], "weights": weights}}, TOKENS, LENGTHS
    )
    assert not jnp.any(logits)


def test_padding_changes_nothing() -> None:
    wide = Wide(1, ngrams=2, buckets=BUCKETS)
    garbage = jnp.where(jnp.arange(9) < LENGTHS[:, None], TOKENS, 3)
    np.testing.assert_array_equal(
        wide.apply(variables(1), jnp.pad(garbage, ((0, 0), (0, 3))), LENGTHS),
        wide.apply(variables(1), TOKENS, LENGTHS),
    )


def test_padding_in_front_that_counts_as_tokens_changes_nothing() -> None:
    wide = Wide(1, ngrams=2, buckets=BUCKETS)
    padded = jnp.pad(TOKENS, ((0, 0), (3, 0)))
    np.testing.assert_allclose(
        wide.apply(variables(1), padded, LENGTHS + 3),
        wide.apply(variables(1), TOKENS, LENGTHS),
        atol=1e-6,
    )


def test_weights_for_more_classes_than_fit_are_refused() -> None:
    config = ModelConfig(wide_ngrams=2, wide_buckets=2**20)
    with pytest.raises(InputError, match="`wide_buckets` 1048576 is too large for 100 classes"):
        build(config, 50, num_classes=100)
    build(config, 50, num_classes=50)


class TestBesideAnEncoder:
    model = Classifier(
        *(5, 4),
        encoder=[LSTM(3)],
        pooling="max",
        wide_ngrams=2,
        wide_buckets=BUCKETS,
        wide_weight=0.75,
    )

    def test_logits_are_the_weighted_mean_of_the_heads(self) -> None:
        ours, of_wide = self.model.init(jax.random.key(0), TOKENS, LENGTHS), variables(1)
        assert ours["constants"].keys() == {"wide"}
        params = {**ours["params"], "wide": of_wide["params"]}
        both = {"params": params, "constants": {"wide": of_wide["constants"]}}
        mean, (deep, wide) = self.model.apply(both, TOKENS, LENGTHS, method="heads")
        alone = Classifier(5, 4, encoder=[LSTM(3)], pooling="max")
        of_encoder = {name: leaf for name, leaf in params.items() if name != "wide"}
        np.testing.assert_array_equal(deep, alone.apply({"params": of_encoder}, TOKENS, LENGTHS))
        np.testing.assert_array_equal(wide, Wide(1, 2, BUCKETS).apply(of_wide, TOKENS, LENGTHS))
        np.testing.assert_array_equal(self.model.apply(both, TOKENS, LENGTHS), mean)
        np.testing.assert_allclose(mean, 0.25 * deep + 0.75 * wide, rtol=1e-6)


@pytest.mark.parametrize("classes", [1, 3])
def test_the_terms_of_all_ngrams_and_the_bias_are_the_logits(classes: int) -> None:
    given = variables(classes)
    logits = Wide(classes, 3, BUCKETS).apply(given, TOKENS, LENGTHS)
    for tokens, length, expected in zip(TOKENS, LENGTHS, logits, strict=True):
        padded = np.where(np.arange(9) < length, tokens, 0)
        terms = ngram_terms(given, padded, 3)
        assert terms.shape == (3, 9, classes)
        total = terms.sum(axis=(0, 1)) + given["params"]["bias"]
        np.testing.assert_allclose(total, expected, rtol=1e-4, atol=1e-4)
