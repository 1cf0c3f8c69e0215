"""The LSTM with a custom backward pass, optimised for CPUs.

It is faster than differentiating a scan because:

- There is one matrix product per step, of the concatenated inputs and state, and one in the
  backward pass.
- Arrays are feature-major, [features, batch] for each step, so each gate is contiguous. XLA
  vectorises arithmetic on flat arrays well, and on slices of [batch, 4 * features] poorly.
- The gradient of the kernels is computed outside the time loop, with one product per chunk of
  steps. A chunk is small enough to stay in the cache.
- The loops need no masks: sequences are right-padded, and results at padding are never read.
  Reversed sequences are flipped first.
- On CPUs the loops stop after the longest sequence.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax.typing import Dtype
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from flax_imdb.ops.derivatives import with_backward
from flax_imdb.ops.masks import mask_of_gate
from flax_imdb.ops.recurrence import Direction, Result, one_by_one
from flax_imdb.ops.sequences import flip, padding_mask

# Number of steps per product for the gradient of the kernels. With more than `_FEW_ROWS` rows it is
# 1: a single step is then enough work for a product, and XLA is slow to concatenate large steps.
_CHUNK = 10
_FEW_ROWS = 40


def _run(
    inputs: Float[Array, "batch time in_features"],
    seq_lengths: Int[Array, " batch"],
    direction: Direction,
    return_sequences: bool,
) -> Result:
    (c, h), (kernel, recurrent_kernel, bias), (input_mask, state_mask), reverse = direction
    batch, time, in_features = inputs.shape
    features = len(recurrent_kernel)
    weights: tuple[Array, ...] = (jnp.concatenate([kernel, recurrent_kernel]),)
    masks = None
    if state_mask is not None or (input_mask is not None and input_mask.shape[1] > 1):
        # Each gate has its own mask, so each needs a product of its own.
        weights = tuple(jnp.split(weights[0], 4, axis=1))
        if input_mask is None:
            input_mask = jnp.ones((batch, 1, in_features), inputs.dtype)
        if state_mask is None:
            state_mask = jnp.ones((batch, 1, features), inputs.dtype)
        masks = tuple(
            jnp.concatenate(
                [mask_of_gate(mask, gate).T for mask in (input_mask, state_mask)]
            ).reshape(-1)
            for gate in range(4)
        )
    elif input_mask is not None:
        inputs = inputs * input_mask

    steps = (flip(inputs, seq_lengths) if reverse else inputs).transpose(1, 2, 0)
    # Symbolic sizes in an export are not ints.
    known = isinstance(batch, int) and isinstance(time, int)
    chunk = min(_CHUNK, max(1, time)) if known and batch <= _FEW_ROWS else 1
    steps = jnp.pad(steps, ((0, -time % chunk), (0, 0), (0, 0)))
    static = _Static(chunk, return_sequences)
    (c, h), outputs = with_backward(
        functools.partial(_reference, static),
        functools.partial(_forward, static),
        functools.partial(_backward, static),
        _Fixed(seq_lengths, masks),
        _Operands(steps, (c.T, h.T), weights, bias),
    )
    carry = (c.T, h.T)
    if outputs is None:
        return carry, jnp.where((seq_lengths > 0)[:, None], carry[1], 0).astype(inputs.dtype)
    outputs = outputs[:time].transpose(2, 0, 1)
    if reverse:
        outputs = flip(outputs, seq_lengths)
    valid = padding_mask(seq_lengths, time)
    return carry, jnp.where(valid[..., None], outputs, 0).astype(inputs.dtype)


lstm = one_by_one(_run)


class _Static(NamedTuple):
    """The static arguments.

    Attributes:
      chunk: number of steps per product for the gradient of the kernels. It divides `time`.
      return_sequences: whether to return the outputs of all steps.
    """

    chunk: int
    return_sequences: bool


class _Fixed(NamedTuple):
    """The arguments without a gradient.

    Attributes:
      seq_lengths: number of valid steps of each row.
      masks: dropout masks of the concatenated inputs and state, one per gate, or None.
    """

    seq_lengths: Int[Array, " batch"]
    masks: tuple[Float[Array, " width*batch"], ...] | None


class _Operands(NamedTuple):
    """The arguments with a gradient.

    Attributes:
      inputs: the feature-major inputs.
      carry: c and h before the first step.
      weights: one matrix for all gates (`outputs` is 4 * features), or one per gate if there are
        masks (`outputs` is features). `width` is in_features + features.
      bias: the bias of all gates.
    """

    inputs: Float[Array, "time in_features batch"]
    carry: tuple[Float[Array, "features batch"], Float[Array, "features batch"]]
    weights: tuple[Float[Array, "width outputs"], ...]
    bias: Float[Array, " gates_features"]


def _forward(static: _Static, fixed: _Fixed, operands: _Operands, save: bool) -> Any:
    """The final carry and the outputs [time, features, batch] or None, and the residuals."""
    inputs, carry, weights, _ = operands
    time = inputs.shape[0]
    inputs = inputs.reshape(time, -1)
    # Without the barrier XLA fuses the transpose into the product, which is slow.
    transposed = lax.optimization_barrier([matrix.T.astype(inputs.dtype) for matrix in weights])
    gates_of = _gates(transposed, fixed, operands)

    def step(t, states):  # type: ignore[no-untyped-def]
        gates, cs, hs = states
        at_step = gates_of(_row(inputs, t), _row(hs, t))
        if save:
            # Reading them back lets XLA compute the gates in place, without a copy.
            for gate in range(4):
                gates = _put(gates, 4 * t + gate, at_step[gate])
            at_step = [_row(gates, 4 * t + gate) for gate in range(4)]
        i, f, g, o = at_step
        cs = _put(cs, t + 1, f * _row(cs, t) + i * g)
        hs = _put(hs, t + 1, o * jnp.tanh(_row(cs, t + 1)))
        return gates, cs, hs

    # Row t of cs and hs is the state before step t.
    cs, hs = (
        _put(jnp.zeros((time + 1, state.size), state.dtype), 0, state.reshape(-1))
        for state in carry
    )
    gates = jnp.zeros((4 * time if save else 0, carry[0].size), carry[0].dtype)
    gates, cs, hs = lax.fori_loop(0, _longest(fixed.seq_lengths, time), step, (gates, cs, hs))
    return _results(static, fixed, cs, hs), (gates, cs, hs)


def _reference(static: _Static, fixed: _Fixed, operands: _Operands) -> Any:
    """Same as `_forward`, as a scan that JAX can differentiate."""
    inputs, carry, weights, _ = operands
    gates_of = _gates([matrix.T.astype(inputs.dtype) for matrix in weights], fixed, operands)

    def step(states, inputs):  # type: ignore[no-untyped-def]
        c, h = states
        i, f, g, o = gates_of(inputs, h)
        c = f * c + i * g
        states = c, o * jnp.tanh(c)
        return states, states

    first = tuple(state.reshape(-1) for state in carry)
    _, states = lax.scan(step, first, inputs.reshape(inputs.shape[0], -1))
    cs, hs = (
        jnp.concatenate([start[None], after]) for start, after in zip(first, states, strict=True)
    )
    return _results(static, fixed, cs, hs)


def _gates(transposed: Sequence[Array], fixed: _Fixed, operands: _Operands) -> Callable[..., Any]:
    """A function from the inputs of a step and the previous state to the gates i, f, g, o."""
    inputs, (c, _), _, bias = operands
    features, batch = c.shape
    biases = jnp.repeat(bias, batch).reshape(4, -1)
    activations = (jax.nn.sigmoid, jax.nn.sigmoid, jnp.tanh, jax.nn.sigmoid)
    product = _product(inputs.dtype)

    def gates_of(x, h):  # type: ignore[no-untyped-def]
        xh = jnp.concatenate([x, h.astype(inputs.dtype)])
        z = [
            row
            for matrix, masked in zip(transposed, _masked(xh, fixed.masks), strict=True)
            for row in product(matrix, masked.reshape(-1, batch)).reshape(-1, features * batch)
        ]
        return [
            activation((row + bias).astype(c.dtype))
            for activation, row, bias in zip(activations, z, biases, strict=True)
        ]

    return gates_of


def _results(static: _Static, fixed: _Fixed, cs: Array, hs: Array) -> Any:
    """The final carry and the outputs, from the initial state and the state after each step."""
    (batch,) = fixed.seq_lengths.shape
    cs, hs = (states.reshape(states.shape[0], -1, batch) for states in (cs, hs))
    last = fixed.seq_lengths[None, None, :]
    carry = tuple(jnp.take_along_axis(states, last, axis=0)[0] for states in (cs, hs))
    return carry, hs[1:] if static.return_sequences else None


def _backward(
    static: _Static, fixed: _Fixed, operands: _Operands, residuals: Any, cotangents: Any
) -> _Operands:
    """The gradients of the operands."""
    seq_lengths, masks = fixed
    inputs, _, weights, bias = operands
    gates, cs, hs = residuals
    (final_dc, final_dh), d_outputs = cotangents
    chunk, (batch,), features = static.chunk, seq_lengths.shape, len(final_dc)
    time = inputs.shape[0]  # Symbolic in an export, where len would fail.
    inputs = inputs.reshape(time, -1)
    matrices = lax.optimization_barrier([matrix.astype(inputs.dtype) for matrix in weights])
    final_dc, final_dh = final_dc.reshape(-1), final_dh.reshape(-1)
    # For each element of the flattened state, the last step of its row.
    last = jnp.tile(seq_lengths - 1, features)
    chunks = (_longest(seq_lengths, time) + chunk - 1) // chunk

    def step(first, n, carry):  # type: ignore[no-untyped-def]
        dc, dh, d_inputs, d_gates = carry
        k = chunk - 1 - n
        t = first + k
        dc = jnp.where(t == last, final_dc, dc)
        dh = jnp.where(t == last, final_dh, dh)
        if static.return_sequences:
            dh = dh + d_outputs[t].reshape(-1)
        dc, of_gates = _through_cell(gates, cs, t, dc, dh)
        for gate, d_gate in enumerate(of_gates):
            d_gates = _put(d_gates, 4 * k + gate, d_gate)
        d_xh = _through_products(matrices, masks, d_gates, k, batch)
        d_x, d_h = jnp.split(d_xh, [inputs.shape[1]])
        return dc, d_h.astype(dh.dtype), _put(d_inputs, t, d_x.astype(inputs.dtype)), d_gates

    def steps_of_chunk(n, carry):  # type: ignore[no-untyped-def]
        *carry, d_weights, d_bias = carry
        first = chunk * (chunks - 1 - n)
        d_gates = jnp.zeros((4 * chunk, features * batch), final_dc.dtype)
        *carry, d_gates = lax.fori_loop(0, chunk, functools.partial(step, first), (*carry, d_gates))
        xh = [lax.dynamic_slice_in_dim(rows, first, chunk) for rows in (inputs, hs)]
        return *carry, *_add_chunk(d_weights, d_bias, masks, xh, d_gates, batch)

    sums = jnp.promote_types(inputs.dtype, jnp.float32)
    carry = (
        jnp.zeros_like(final_dc),
        jnp.zeros_like(final_dh),
        jnp.zeros_like(inputs),
        [jnp.zeros(matrix.shape, sums) for matrix in weights],
        jnp.zeros(4 * features * batch, sums),
    )
    dc, dh, d_inputs, d_weights, d_bias = lax.fori_loop(0, chunks, steps_of_chunk, carry)
    # An empty row returns its initial carry.
    d_c, d_h = (
        jnp.where(last < 0, final, first).reshape(features, batch)
        for final, first in ((final_dc, dc), (final_dh, dh))
    )
    return _Operands(
        d_inputs.reshape(time, -1, batch),
        (d_c, d_h),
        tuple(d.astype(matrix.dtype) for d, matrix in zip(d_weights, weights, strict=True)),
        d_bias.reshape(-1, batch).sum(axis=1).astype(bias.dtype),
    )


def _through_cell(gates: Array, cs: Array, t: ArrayLike, dc: Array, dh: Array) -> Any:
    """The gradients of c before step `t` and of the gates' pre-activations.

    `dc` and `dh` are the gradients of c and h after the step.
    """
    i, f, g, o = (_row(gates, 4 * t + gate) for gate in range(4))
    tanh_c = jnp.tanh(_row(cs, t + 1))
    dc = dc + dh * o * (1 - tanh_c * tanh_c)
    of_gates = (
        dc * g * i * (1 - i),
        dc * _row(cs, t) * f * (1 - f),
        dc * i * (1 - g * g),
        dh * tanh_c * o * (1 - o),
    )
    return dc * f, of_gates


def _through_products(
    matrices: Sequence[Array], masks: Any, d_gates: Array, k: ArrayLike, batch: int
) -> Any:
    """The gradient of the concatenated inputs and state of step `k` of a chunk."""
    dtype = matrices[0].dtype
    count = 4 // len(matrices)
    d_xh = []
    for m, matrix in enumerate(matrices):
        d_z = lax.dynamic_slice_in_dim(d_gates, 4 * k + m * count, count).astype(dtype)
        d_xh.append(_product(dtype)(matrix, d_z.reshape(-1, batch)).reshape(-1))
    if masks is not None:
        d_xh = [part * mask for part, mask in zip(d_xh, masks, strict=True)]
    return sum(d_xh)


def _add_chunk(
    d_weights: Sequence[Array],
    d_bias: Array,
    masks: Any,
    xh: Sequence[Array],
    d_gates: Array,
    batch: int,
) -> tuple[list[Array], Array]:
    """Add the gradients from a chunk of steps, with one product per matrix.

    `xh` are the inputs and the states before the steps of the chunk.
    """
    chunk, dtype = len(xh[0]), xh[0].dtype
    product = _product(dtype)

    def side_by_side(rows):  # type: ignore[no-untyped-def]
        return rows.reshape(chunk, -1, batch).swapaxes(0, 1).reshape(-1, chunk * batch)

    d_zs = jnp.unstack(d_gates.reshape(chunk, len(d_weights), -1), axis=1)
    rows = _masked(jnp.concatenate([part.astype(dtype) for part in xh], axis=1), masks)
    d_weights = [
        d_matrix + product(side_by_side(masked), side_by_side(d_z).T.astype(dtype))
        for d_matrix, masked, d_z in zip(d_weights, rows, d_zs, strict=True)
    ]
    return d_weights, d_bias + d_gates.reshape(chunk, -1).sum(axis=0, dtype=d_bias.dtype)


def _longest(seq_lengths: Int[Array, " batch"], time: int) -> Int[Array, ""]:
    """The number of steps to run. Off CPUs it is static, which compiles to faster loops."""
    return lax.platform_dependent(
        seq_lengths,
        cpu=lambda seq_lengths: jnp.max(seq_lengths, initial=0),
        default=lambda seq_lengths: jnp.full((), time, seq_lengths.dtype),
    )


def _product(dtype: Dtype) -> Callable[[Array, Array], Array]:
    """The matrix product for `dtype`, accumulated in at least float32."""
    return functools.partial(
        jnp.matmul, preferred_element_type=jnp.promote_types(dtype, jnp.float32)
    )


def _masked(rows: Any, masks: Any) -> Any:
    """The left operand of each product: `rows`, or `rows` masked for each gate."""
    return (
        (rows,) if masks is None else [rows * jnp.broadcast_to(mask, rows.shape) for mask in masks]
    )


def _row(rows: Float[Array, "rows width"], index: ArrayLike) -> Float[Array, " width"]:
    return lax.dynamic_index_in_dim(rows, index, keepdims=False)


def _put(
    rows: Float[Array, "rows width"], index: ArrayLike, row: Float[Array, " width"]
) -> Float[Array, "rows width"]:
    return lax.dynamic_update_index_in_dim(rows, row, index, axis=0)
