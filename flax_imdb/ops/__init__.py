"""The recurrence of an LSTM as pure functions on arrays, one file per implementation.

All have the signature and the results of `fused.lstm`. The reference that they are tested against
is `flax_imdb.layers.LSTM` with ``implementation="scan"``, which scans the cell.
"""

from flax_imdb.ops import fused

__all__ = ["fused"]
