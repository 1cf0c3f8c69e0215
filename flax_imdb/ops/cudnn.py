"""The LSTM by cuDNN through `jax.experimental.rnn`, in float32 on NVIDIA GPUs.

cuDNN supports sequences of different lengths, and one forward direction or both directions at once.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax.typing import Dtype
from jax import lax
from jax.experimental import rnn
from jaxtyping import Array, Float, Int

from flax_imdb.ops.recurrence import Direction, Result
from flax_imdb.ops.sequences import flip, padding_mask


def unsupported(dtype: Dtype, features: int, recurrent_dropout: bool) -> str | None:
    """Why this LSTM cannot be computed here, or None if it can."""
    del features
    if recurrent_dropout:
        return "has no recurrent dropout"
    if dtype != jnp.float32:
        return f"computes in float32, not in {jnp.dtype(dtype)}"
    # The default device can be a device, a platform name or None.
    default = jax.config.jax_default_device  # type: ignore[attr-defined]
    platform = getattr(default, "platform", default) or jax.default_backend()
    if platform not in ("gpu", "cuda"):
        return f"needs an NVIDIA GPU, and JAX computes on {platform} here"
    return None


def lstm(
    inputs: Float[Array, "batch time in_features"],
    seq_lengths: Int[Array, " batch"],
    directions: Sequence[Direction],
    *,
    dtype: Dtype,
    return_sequences: bool,
) -> list[Result]:
    """See `flax_imdb.ops.lstm`.

    Two opposite directions share one cuDNN call unless they have input dropout.
    """
    inputs = inputs.astype(dtype)
    opposite = sorted(direction.reverse for direction in directions) == [False, True]
    if opposite and all(direction.masks.inputs is None for direction in directions):
        forward_first = sorted(directions, key=lambda direction: direction.reverse)
        results = _run(inputs, seq_lengths, forward_first, return_sequences)
        return results[::-1] if directions[0].reverse else results
    return [_one(inputs, seq_lengths, direction, return_sequences) for direction in directions]


def _one(inputs: Any, seq_lengths: Any, direction: Direction, return_sequences: bool) -> Result:
    if direction.masks.inputs is not None:
        inputs = inputs * direction.masks.inputs
    if not direction.reverse:
        return _run(inputs, seq_lengths, [direction], return_sequences)[0]
    flipped = flip(inputs, seq_lengths)
    carry, outputs = _run(flipped, seq_lengths, [direction], return_sequences)[0]
    return carry, flip(outputs, seq_lengths) if return_sequences else outputs


def _run(
    inputs: Any, seq_lengths: Any, directions: Sequence[Direction], return_sequences: bool
) -> list[Result]:
    """Call cuDNN with one forward direction, or with a forward and a reverse one."""
    _, time, in_features = inputs.shape
    features = len(directions[0].weights.recurrent_kernel)
    # All matrices, then all biases, in gate order i, f, g, o. The second of cuDNN's biases is 0.
    parts = [
        matrix.T
        for direction in directions
        for matrix in (direction.weights.kernel, direction.weights.recurrent_kernel)
    ]
    parts += [
        bias
        for direction in directions
        for bias in (direction.weights.bias, jnp.zeros_like(direction.weights.bias))
    ]
    c, h = (
        jnp.stack(states).astype(jnp.float32)
        for states in zip(*(d.carry for d in directions), strict=True)
    )
    # cuDNN reads all arrays as float32 without a check, and multiplies in float32 or in TF32.
    products = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    exact = products in ("highest", "float32")
    outputs, final_h, final_c = rnn.lstm(
        inputs,
        h,
        c,
        jnp.concatenate([part.reshape(-1) for part in parts]).astype(jnp.float32),
        jnp.maximum(seq_lengths, 1),  # cuDNN does not allow length 0.
        input_size=in_features,
        hidden_size=features,
        num_layers=1,
        dropout=0.0,
        bidirectional=len(directions) == 2,
        precision=lax.Precision.HIGHEST if exact else lax.Precision.HIGH,
    )
    some = (seq_lengths > 0)[:, None]
    valid = padding_mask(seq_lengths, time)[..., None]
    results: list[Result] = []
    for n, direction in enumerate(directions):
        last_h = final_h[n]
        first_c, first_h = direction.carry
        carry = (
            jnp.where(some, final_c[n].astype(first_c.dtype), first_c),
            jnp.where(some, last_h.astype(first_h.dtype), first_h),
        )
        if return_sequences:
            of_direction = outputs[..., n * features : (n + 1) * features]
            results.append((carry, jnp.where(valid, of_direction, 0)))
        else:
            results.append((carry, jnp.where(some, last_h, 0)))
    return results
