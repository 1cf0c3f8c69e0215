"""Logistic regression on n-grams, against sums over sets of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_imdb.errors import InputError
from flax_imdb.layers import LSTM, hash_ngrams
from flax_imdb.models import Classifier, ModelConfig, Wide, build

BUCKETS = 40
TOKENS = jax.random.randint(jax.random.key(0), (4, 9), 1, 5)
LENGTHS = jnp.array([9, 4, 1, 0])


def variables(classes: int) -> Any:
    drawn = jax.random.normal(jax.random.key(1), (2, BUCKETS + 1, classes))
    log_ratios, weights = drawn[:, :BUCKETS]
    return {"params": {"log_ratios": log_ratios, "weights": weights, "bias": drawn[0, BUCKETS]}}


@pytest.mark.parametrize("classes", [1, 3])
def test_logits_are_sums_over_the_distinct_ngrams(classes: int) -> None:
    params = variables(classes)["params"]
    terms = np.asarray(params["log_ratios"], np.float64) * np.asarray(params["weights"])
    expected = np.tile(np.asarray(params["bias"], np.float64), (4, 1))
    for n in (1, 2, 3):
        buckets = np.asarray(hash_ngrams(TOKENS, n, BUCKETS))
        for row, length in enumerate(LENGTHS):
            found = sorted(set(buckets[row, :length].tolist()))
            expected[row] += 3 * terms[found].sum(axis=0)
    logits = Wide(classes, ngrams=3, buckets=BUCKETS).apply(variables(classes), TOKENS, LENGTHS)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


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


def test_the_ratios_are_not_trained() -> None:
    wide = Wide(1, ngrams=2, buckets=BUCKETS)
    grads = jax.grad(lambda of: jnp.sum(wide.apply(of, TOKENS, LENGTHS) ** 2))(variables(1))
    assert not jnp.any(grads["params"]["log_ratios"])
    assert jnp.any(grads["params"]["weights"])


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
        params = self.model.init(jax.random.key(0), TOKENS, LENGTHS)["params"]
        params["wide"] = variables(1)["params"]
        mean, (deep, wide) = self.model.apply({"params": params}, TOKENS, LENGTHS, method="heads")
        alone = Classifier(5, 4, encoder=[LSTM(3)], pooling="max")
        of_encoder = {name: leaf for name, leaf in params.items() if name != "wide"}
        np.testing.assert_array_equal(deep, alone.apply({"params": of_encoder}, TOKENS, LENGTHS))
        np.testing.assert_array_equal(
            wide, Wide(1, 2, BUCKETS).apply(variables(1), TOKENS, LENGTHS)
        )
        np.testing.assert_array_equal(self.model.apply({"params": params}, TOKENS, LENGTHS), mean)
        np.testing.assert_allclose(mean, 0.25 * deep + 0.75 * wide, rtol=1e-6)
