"""The layers and the classifier in nnx."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from small_lstm import BATCH, FEATURES, IN_FEATURES, LENGTHS, TIME, inputs

from flax_imdb import models
from flax_imdb.layers import LSTM, RNN, Bidirectional, Conv, Dropout, LSTMCell, MaxPool


@pytest.mark.parametrize(
    "module",
    [
        LSTM(FEATURES),
        RNN(nn.GRUCell(FEATURES)),
        Bidirectional(LSTM(FEATURES)),
        Conv(FEATURES, 3),
        MaxPool(2),
        Dropout(0.5),
        LSTMCell(FEATURES),
        models.Classifier(9, 2, encoder=(LSTM(FEATURES, return_sequences=False),)),
    ],
    ids=lambda module: type(module).__name__,
)
def test_in_nnx_a_module_gives_what_it_gives_in_linen(module: Any) -> None:
    args: tuple[Any, ...] = (inputs(),)
    if isinstance(module, LSTMCell):
        args = (module.initialize_carry(jax.random.key(0), (BATCH, IN_FEATURES)), inputs()[:, 0])
    elif isinstance(module, models.Classifier):
        args = (jnp.ones((BATCH, TIME), int), LENGTHS)
    bridged = nnx.bridge.ToNNX(module, rngs=nnx.Rngs(0)).lazy_init(*args)
    params = nnx.to_pure_dict(nnx.state(bridged, nnx.Param))
    shapes = jax.eval_shape(module.init, jax.random.key(0), *args).get("params", {})
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes)
    jax.tree.map(
        np.testing.assert_array_equal, bridged(*args), module.apply({"params": params}, *args)
    )
