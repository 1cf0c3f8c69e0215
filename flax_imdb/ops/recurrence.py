"""An LSTM over right-padded sequences as one function of arrays, whatever computes it."""

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
"""The names that `lstm` knows."""

Carry = tuple[Float[Array, "batch features"], Float[Array, "batch features"]]
Result = tuple[Carry, Float[Array, "batch *time features"]]


class LSTMWeights(NamedTuple):
    """The parameters of an LSTM; columns in gate order i, f, g, o.

    Attributes:
      kernel: [in_features, 4 * features].
      recurrent_kernel: [features, 4 * features].
      bias: [4 * features].
    """

    kernel: Float[Array, "in_features gates_features"]
    recurrent_kernel: Float[Array, "features gates_features"]
    bias: Float[Array, " gates_features"]


class LSTMMasks(NamedTuple):
    """Dropout masks, held over all steps of a sequence; None where that kind of dropout is off.

    Attributes:
      inputs: [batch, gates, in_features], where `gates` is 1 (one mask for all gates), or 4 where
        recurrent dropout is on too.
      state: [batch, 4, features], one for each gate.
    """

    inputs: Float[Array, "batch gates in_features"] | None = None
    state: Float[Array, "batch 4 features"] | None = None


class Direction(NamedTuple):
    """An LSTM that reads sequences in one direction, and where it starts.

    Attributes:
      carry: c and h before the first step, in the dtype they are carried in.
      weights: in any dtype, which their gradients have too.
      masks: dropout masks.
      reverse: read from each sequence's last valid step to its first.
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

    The equations are Keras's (see `flax_imdb.ops.reference.step`). What stands at padding has no
    effect on a result or a gradient.

    Args:
      inputs: one vector per time step.
      seq_lengths: int32, the number of valid steps of each sequence, 0 to time.
      directions: the LSTMs, of one size. Implementations for GPUs compute them in one launch.
      dtype: of the matrix products and outputs (default: that of the inputs). Sums are kept in
        float32 at least.
      implementation: one of `IMPLEMENTATIONS`; the results differ by rounding alone. ``"auto"`` is
        ``"fused"`` on every platform: what is faster on a GPU has not been measured.
      return_sequences: return the outputs of all steps, or the one computed last.
      remat_steps: keep only every `remat_steps`-th state for the backward pass, which computes the
        others again (``jax.checkpoint``; Chen et al. 2016): less memory, more time.
      recurrent_dropout: raise an error if the implementation has no recurrent dropout, even if this
        call has no masks, so that a model is refused before it is trained.

    Returns:
      For each direction the final carry and the outputs: [batch, time, features] with 0 at padding,
      or [batch, features] with 0 for a sequence without steps.

    Raises:
      ValueError: the implementation is unknown.
      UnsupportedError: the implementation does not compute this.
    """
    batch, time, _ = inputs.shape
    dtype = jnp.dtype(dtype or inputs.dtype)
    features = len(directions[0].weights.recurrent_kernel)
    recurrent_dropout |= any(direction.masks.state is not None for direction in directions)
    module = _module(implementation, dtype, features, recurrent_dropout)
    if batch == 0 or time == 0:
        shape = (batch, time, features) if return_sequences else (batch, features)
        return [(direction.carry, jnp.zeros(shape, dtype)) for direction in directions]
    # Even an infinity at padding must not reach a gradient, where it would meet a zero.
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
    """The `lstm` of an implementation whose `run` computes one direction."""

    def lstm(
        inputs: Float[Array, "batch time in_features"],
        seq_lengths: Int[Array, " batch"],
        directions: Sequence[Direction],
        *,
        dtype: Dtype,
        return_sequences: bool,
    ) -> list[Result]:
        # Cast for each by itself, so that their gradients are added in the dtype of the inputs.
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
