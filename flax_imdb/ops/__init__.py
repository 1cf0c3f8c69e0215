"""The recurrence of an LSTM as pure functions on arrays, one file per implementation.

Each has a function ``lstm`` of the signature that :class:`Direction` tells, and ``refusal``, which
says what it cannot compute. The reference that they are tested against is `flax_imdb.layers.LSTM`
with ``implementation="scan"``, which scans the cell.
"""

import importlib
from collections.abc import Callable

import jax.numpy as jnp
from flax.typing import Dtype

from flax_imdb.errors import RefusalError
from flax_imdb.ops.sequences import Direction, Result

__all__ = ["IMPLEMENTATIONS", "ONE_LAUNCH", "Direction", "Op", "Result", "choose"]

Op = Callable[..., list[Result]]

IMPLEMENTATIONS = ("auto", "scan", "fused", "cudnn", "pallas")
"""The names that `choose` knows."""

ONE_LAUNCH = ("cudnn", "pallas")
"""Those that compute both directions at once."""


def choose(
    name: str, *, dtype: Dtype, features: int, recurrent_dropout: float, keras_cell: bool
) -> Op | None:
    """The function ``lstm`` of the implementation of that name; None where the cell is scanned.

    Args:
      name: one of `IMPLEMENTATIONS`. ``"auto"`` is ``"fused"`` on every platform wherever the cell
        allows it; what is faster on a GPU has not been measured.
      dtype: of the matrix products.
      features: size of the state.
      recurrent_dropout: share of the state that is dropped in training.
      keras_cell: whether the cell is an LSTM with sigmoid and tanh, which is what all but
        ``"scan"`` compute.

    Raises:
      ValueError: the name is unknown.
      RefusalError: the implementation does not compute this.
    """
    if name not in IMPLEMENTATIONS:
        raise ValueError(f"implementation {name!r} is unknown: one of {', '.join(IMPLEMENTATIONS)}")
    if name == "auto":
        name = "fused" if keras_cell else "scan"
    if name == "scan":
        return None
    if not keras_cell:
        raise RefusalError(
            f"implementation {name!r} computes an LSTMCell with sigmoid and tanh: "
            "this cell needs 'scan', which 'auto' takes"
        )
    # Imported here, since what those for GPUs import is not there on every platform.
    dtype = jnp.dtype(dtype)
    module = importlib.import_module(f"flax_imdb.ops.{name}")
    if refusal := module.refusal(dtype, features, recurrent_dropout):
        raise RefusalError(f"implementation {name!r} {refusal}: 'auto' takes another")
    return module.lstm
