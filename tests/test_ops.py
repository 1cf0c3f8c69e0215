"""The choice of an implementation."""

from functools import partial

import jax
import pytest
from flax import linen as nn
from lstm_problems import problem

from flax_imdb.layers import LSTM, LSTMCell


def test_an_unknown_implementation_is_refused() -> None:
    with pytest.raises(
        ValueError, match="implementation 'magic' is unknown: one of auto, scan, fused"
    ):
        LSTM(5, implementation="magic").init(jax.random.key(0), problem()[1])


def test_fused_refuses_a_cell_that_it_does_not_compute_and_auto_scans_it() -> None:
    x = problem()[1]
    for cell in (nn.GRUCell, partial(LSTMCell, activation_fn=nn.relu)):
        with pytest.raises(ValueError, match="this cell needs 'scan', which 'auto' takes"):
            LSTM(5, cell=cell, implementation="fused").init(jax.random.key(0), x)
        LSTM(5, cell=cell).init(jax.random.key(0), x)
