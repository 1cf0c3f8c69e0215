"""The LSTM as a scan over single steps, the reference for all other implementations."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from flax_imdb.ops.masks import masked_product
from flax_imdb.ops.recurrence import (
    Carry,
    Direction,
    LSTMMasks,
    LSTMWeights,
    Result,
    one_by_one,
)
from flax_imdb.ops.sequences import padding_mask, select_step

Activation = Callable[[Array], Array]


def step(
    carry: Carry,
    inputs: Float[Array, "batch in_features"],
    weights: LSTMWeights,
    masks: LSTMMasks,
    gate_fn: Activation = jax.nn.sigmoid,
    activation_fn: Activation = jnp.tanh,
) -> tuple[Carry, Float[Array, "batch features"]]:
    """One time step of an LSTM (Hochreiter and Schmidhuber 1997), as in Keras.

    With elementwise ``*`` and kernel columns in gate order i, f, g, o (Keras calls g ``c``)::

        i, f, g, o = split(x @ kernel + h @ recurrent_kernel + bias, 4)
        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h' = sigmoid(o) * tanh(c')

    Returns:
      The carry (c', h') in the dtype of `carry`, and h' in the dtype of `inputs`.
    """
    c, h = carry
    kernel, recurrent_kernel, bias = (leaf.astype(inputs.dtype) for leaf in weights)
    gates = (
        masked_product(inputs, kernel, masks.inputs)
        + masked_product(h.astype(inputs.dtype), recurrent_kernel, masks.state)
        + bias.reshape((1,) * (inputs.ndim - 1) + (-1,))
    )
    i, f, g, o = jnp.split(gates.astype(c.dtype), 4, axis=-1)
    c = gate_fn(f) * c + gate_fn(i) * activation_fn(g)
    h = gate_fn(o) * activation_fn(c)
    return (c, h), h.astype(inputs.dtype)


def _run(
    inputs: Float[Array, "batch time in_features"],
    seq_lengths: Int[Array, " batch"],
    direction: Direction,
    return_sequences: bool,
) -> Result:
    def scanned(carry: Carry, at_step: Any) -> tuple[Carry, Array]:
        step_inputs, valid = at_step
        new_carry, outputs = step(carry, step_inputs, direction.weights, direction.masks)
        carry = jax.tree.map(lambda new, old: jnp.where(valid, new, old), new_carry, carry)
        return carry, jnp.where(valid, outputs, 0)

    valid = padding_mask(seq_lengths, inputs.shape[1])
    carry, outputs = lax.scan(
        scanned,
        direction.carry,
        (inputs.swapaxes(0, 1), valid.T[..., None]),
        reverse=direction.reverse,
    )
    outputs = outputs.swapaxes(0, 1)
    if return_sequences:
        return carry, outputs
    return carry, select_step(outputs, seq_lengths, direction.reverse)


lstm = one_by_one(_run)
