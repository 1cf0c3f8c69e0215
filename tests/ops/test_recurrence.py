"""The choice of an implementation."""

import jax
import pytest
from lstm_problems import problem

from flax_imdb.layers import LSTM


def test_an_unknown_implementation_is_refused() -> None:
    with pytest.raises(
        ValueError, match="implementation 'magic' is unknown: one of auto, scan, fused"
    ):
        LSTM(5, implementation="magic").init(jax.random.key(0), problem()[1])
