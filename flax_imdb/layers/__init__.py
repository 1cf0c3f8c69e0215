"""Layers over right-padded sequences, for this project's classifiers and for any other Flax code.

Every layer is called as ``layer(inputs, lengths, *, deterministic=True, rows=None)`` with `inputs`
[batch, time, features] and `lengths` [batch]: positions from ``lengths[b]`` on are padding, which
never has an effect on an output or a gradient. See :class:`SequenceLayer`.
"""

from flax_imdb.layers.bidirectional import Bidirectional
from flax_imdb.layers.convolution import Conv, MaxPool
from flax_imdb.layers.dropout import Dropout, dropout_mask
from flax_imdb.layers.lstm import LSTM
from flax_imdb.layers.lstm_cell import LSTMCell, LSTMMasks, unit_forget_bias
from flax_imdb.layers.sequence import (
    RowNumbers,
    SequenceLayer,
    global_pool,
    lengths_or_full,
    padding_mask,
)

__all__ = [
    "LSTM",
    "Bidirectional",
    "Conv",
    "Dropout",
    "LSTMCell",
    "LSTMMasks",
    "MaxPool",
    "RowNumbers",
    "SequenceLayer",
    "dropout_mask",
    "global_pool",
    "lengths_or_full",
    "padding_mask",
    "unit_forget_bias",
]
