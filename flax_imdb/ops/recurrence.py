"""An LSTM over right-padded sequences, with a choice of implementations."""

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax.typing import Dtype
from jax import lax
from jaxtyping import Array, Float, Int

from flax_imdb.errors import UnsupportedError
from flax_imdb.ops.sequences import in_chunks, padding_mask

_MODULES = {
    "scan": "reference",
    "fused": "fused",
    "cudnn": "cudnn",
    "pallas": "experimental.pallas",
}

IMPLEMENTATIONS = ("auto", *_MODULES)
"""The implementations that `lstm` accepts."""

Carry = tuple[Float[Array, "batch features"], Float[Array, "batch features"]]
Result = tuple[Carry, Float[Array, "batch *time features"]]


class LSTMWeights(NamedTuple):
    """The parameters of an LSTM, with columns in gate order i, f, g, o.

    Attributes:
      kernel: [in_features, 4 * features].
      recurrent_kernel: [features, 4 * features].
      bias: [4 * features].
    """

    kernel: Float[Array, "in_features gates_features"]
    recurrent_kernel: Float[Array, "features gates_features"]
    bias: Float[Array, " gates_features"]


class LSTMMasks(NamedTuple):
    """Dropout masks, constant over the steps of a sequence. None means no dropout.

    Attributes:
      inputs: [batch, gates, in_features]. `gates` is 1 if all gates share a mask, or 4 with
        recurrent dropout.
      state: [batch, 4, features], one mask per gate.
    """

    inputs: Float[Array, "batch gates in_features"] | None = None
    state: Float[Array, "batch 4 features"] | None = None


class Direction(NamedTuple):
    """The weights, initial carry and dropout masks of an LSTM that runs in one direction.

    Attributes:
      carry: c and h before the first step. The final carry has the same dtypes.
      weights: the parameters, in any dtype. Gradients have the same dtype.
      masks: the dropout masks.
      reverse: run from the last valid step of each sequence to the first.
    """

    carry: Carry
    weights: LSTMWeights
    masks: LSTMMasks = LSTMMasks()
    reverse: bool = False


def lstm(
    inputs: Float[Array, "batch time in_features"],
    seq_lengths: Int[Array, " batch"],
    directions: Sequence[Direction],
    *,
    dtype: Dtype | None = None,
    implementation: str = "auto",
    return_sequences: bool = True,
    remat_steps: int | None = None,
    recurrent_dropout: bool = False,
) -> list[Result]:
    """Run one or more LSTMs over the same right-padded sequences.

    The equations are those of Keras (see `flax_imdb.ops.reference.step`). Inputs at padding
    affect neither results nor gradients.

    Args:
      inputs: one vector per time step.
      seq_lengths: int32, the number of valid steps of each sequence, from 0 to time.
      directions: the LSTMs, all with the same number of features. GPU implementations compute them
        in one launch.
      dtype: the dtype of the matrix products and outputs (default: the dtype of the inputs). Sums
        are accumulated in at least float32.
      implementation: one of `IMPLEMENTATIONS`. Results differ only by rounding. ``"auto"`` is
        ``"fused"`` on every platform; the GPU implementations have not been timed yet.
      return_sequences: return the outputs of all steps instead of only the one computed last.
      remat_steps: store only every `remat_steps`-th state for the backward pass and recompute the
        others (``jax.checkpoint``; Chen et al. 2016), which trades time for memory.
      recurrent_dropout: also raise `UnsupportedError` if the implementation has no recurrent
        dropout and this call has no state masks, so that a model fails before training.

    Returns:
      The final carry and the outputs for each direction. Outputs are [batch, time, features], 0 at
      padding, or [batch, features], 0 for an empty sequence.

    Raises:
      ValueError: `implementation` is unknown.
      UnsupportedError: the implementation cannot compute these LSTMs.
    """
    batch, time, _ = inputs.shape
    dtype = jnp.dtype(dtype or inputs.dtype)
    features = len(directions[0].weights.recurrent_kernel)
    recurrent_dropout |= any(direction.masks.state is not None for direction in directions)
    module = _module(implementation, dtype, features, recurrent_dropout)
    if batch == 0 or time == 0:
        shape = (batch, time, features) if return_sequences else (batch, features)
        return [(direction.carry, jnp.zeros(shape, dtype)) for direction in directions]
    # A NaN or infinity at padding would make gradients NaN, even when multiplied by zero.
    inputs = jnp.where(padding_mask(seq_lengths, time)[..., None], inputs, 0)
    run = functools.partial(module.lstm, dtype=dtype, return_sequences=return_sequences)
    if remat_steps is None:
        results: list[Result] = run(inputs, seq_lengths, directions)
        return results

    def run_in_chunks(direction: Direction) -> Result:
        def run_chunk(carry: Carry, inputs: Any, seq_lengths: Any) -> Result:
            return run(inputs, seq_lengths, [direction._replace(carry=carry)])[0]

        def scan(body: Callable[..., Any], state: Any, chunks: Any) -> Any:
            step = jax.checkpoint(functools.partial(body, run_chunk), prevent_cse=False)
            return lax.scan(step, state, chunks, reverse=direction.reverse)

        last = jnp.zeros((batch, features), dtype)
        return in_chunks(
            scan, direction.carry, inputs, seq_lengths, last, remat_steps, return_sequences
        )

    return [run_in_chunks(direction) for direction in directions]


def one_by_one(
    run: Callable[[Array, Array, Direction, bool], Result],
) -> Callable[..., list[Result]]:
    """Make an implementation's `lstm` from `run`, which computes a single direction."""

    def lstm(
        inputs: Float[Array, "batch time in_features"],
        seq_lengths: Int[Array, " batch"],
        directions: Sequence[Direction],
        *,
        dtype: Dtype,
        return_sequences: bool,
    ) -> list[Result]:
        # One cast per direction, so that their gradients are added in the dtype of the inputs.
        return [
            run(inputs.astype(dtype), seq_lengths, direction, return_sequences)
            for direction in directions
        ]

    return lstm


def _module(implementation: str, dtype: Dtype, features: int, recurrent_dropout: bool) -> Any:
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(
            f"implementation {implementation!r} is unknown: one of {', '.join(IMPLEMENTATIONS)}"
        )
    name = "fused" if implementation == "auto" else implementation
    # Imported here: some platforms lack what the GPU implementations import.
    module = importlib.import_module(f"flax_imdb.ops.{_MODULES[name]}")
    unsupported = getattr(module, "unsupported", None)  # Only modules with limits have one.
    if unsupported and (reason := unsupported(dtype, features, recurrent_dropout)):
        raise UnsupportedError(name, reason)
    return module
