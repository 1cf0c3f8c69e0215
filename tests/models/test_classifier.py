"""The classifier as research code uses it."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from flax_imdb.layers import LSTM
from flax_imdb.models import Classifier


class TestClassifier:
    """What research code can do with it."""

    def test_layers_may_be_stacked_and_classes_several(self) -> None:
        model = Classifier(
            vocab_size=20,
            embedding_features=4,
            encoder=[LSTM(6), LSTM(5, reverse=True)],
            pooling="max",
            num_classes=3,
        )
        tokens = jnp.arange(14).reshape(2, 7)
        logits, variables = model.init_with_output(jax.random.key(0), tokens, [4, 7])
        assert logits.shape == (2, 3)
        assert variables["params"]["encoder_1"]["cell"]["kernel"].shape == (6, 20)

    @pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
    def test_dtype_is_that_of_the_computation(self, dtype: Any) -> None:
        model = Classifier(20, 4, encoder=[LSTM(6, dtype=dtype)], pooling="mean", dtype=dtype)
        logits, variables = model.init_with_output(jax.random.key(0), jnp.ones((2, 5), jnp.int32))
        assert logits.dtype == dtype
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
