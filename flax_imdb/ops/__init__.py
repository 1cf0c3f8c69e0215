"""The LSTM recurrence as a function of arrays, with one module per implementation.

`lstm` is the entry point and dispatches to the ``lstm`` function of an implementation's module. A
module with limits also has ``unsupported``, which returns why it cannot compute an LSTM.
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
