"""Flax layers for right-padded sequences.

All layers are called as ``layer(inputs, seq_lengths=..., deterministic=..., example_ids=...)`` with
`inputs` [batch, time, features] (see :class:`SequenceLayer`). Steps from ``seq_lengths[b]`` on are
padding, which affects neither outputs nor gradients. :class:`LSTM` also takes all arguments of
`flax.linen.RNN`.
"""

from flax_imdb.layers.bidirectional import Bidirectional
from flax_imdb.layers.convolution import Conv, MaxPool
from flax_imdb.layers.dropout import Dropout, dropout_mask
from flax_imdb.layers.lstm import LSTM
from flax_imdb.layers.lstm_cell import LSTMCell, unit_forget_bias
from flax_imdb.layers.ngrams import hash_ngrams
from flax_imdb.layers.recurrent import RNN
from flax_imdb.layers.sequence import (
    PerExample,
    SequenceLayer,
    global_pool,
    normalize_lengths,
    padding_mask,
)
from flax_imdb.layers.windows import Window, mean_of_windows, split_windows

__all__ = [
    "LSTM",
    "RNN",
    "Bidirectional",
    "Conv",
    "Dropout",
    "LSTMCell",
    "MaxPool",
    "PerExample",
    "SequenceLayer",
    "Window",
    "dropout_mask",
    "global_pool",
    "hash_ngrams",
    "mean_of_windows",
    "normalize_lengths",
    "padding_mask",
    "split_windows",
    "unit_forget_bias",
]
