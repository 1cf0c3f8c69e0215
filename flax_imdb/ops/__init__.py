"""The recurrence of an LSTM as a function of arrays, with a file for each implementation.

`lstm` is the entry. Each implementation has a function ``lstm`` of its own, of the same arguments
less those that `lstm` has dealt with, and ``unsupported``, which says what it cannot compute.
"""

from flax_imdb.ops.recurrence import (
    IMPLEMENTATIONS,
    Carry,
    Direction,
    LSTMMasks,
    LSTMWeights,
    Result,
    lstm,
)

__all__ = [
    "IMPLEMENTATIONS",
    "Carry",
    "Direction",
    "LSTMMasks",
    "LSTMWeights",
    "Result",
    "lstm",
]
