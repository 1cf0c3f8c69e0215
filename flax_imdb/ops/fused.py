"""The recurrence with a backward pass of its own, for CPUs and as a baseline elsewhere.

What makes it faster than differentiating a scan:

- One matrix product per step, on the inputs and the state side by side; one in the backward pass.
- Steps are feature-major: all of a step's rows stand side by side, and so the four gates one after
  the other. XLA vectorises arithmetic on flat arrays; on columns of [batch, 4 * features] it does
  it badly.
- The gradient of the kernels is taken out of the time loop: one product for a chunk of steps, few
  enough that what it reads is still in the cache.
- No masks in the loops: rows are right-padded, so what is computed at padding is not looked at.
  A reversed row is flipped by its length first.
- On CPUs the loops end with the longest row, not with the padding.
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

# The gradient of the kernels is a product for each chunk of so many steps. A batch of more rows
# than `_FEW_ROWS` has one for each step: that fills a product, and XLA is slow to lay steps of so
# many rows side by side.
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
        # A product for each gate, of inputs and state that are masked for it.
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
    # Sizes that are not known, as when exporting for any batch, are no ints.
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
    """What a compilation depends on beside shapes.

    Attributes:
      chunk: steps whose gradients are held back for one product; `time` is a multiple of it.
      return_sequences: whether all outputs are wanted.
    """

    chunk: int
    return_sequences: bool


class _Fixed(NamedTuple):
    """What has no gradient.

    Attributes:
      seq_lengths: number of valid steps of each row.
      masks: dropout masks of the inputs and the state together, one for each gate; or None. They
        are drawn, not computed from anything that has a gradient.
    """

    seq_lengths: Int[Array, " batch"]
    masks: tuple[Float[Array, " width*batch"], ...] | None


class _Operands(NamedTuple):
    """What has a gradient.

    Attributes:
      inputs: feature-major.
      carry: c and h before the first step.
      weights: one matrix for all gates (`outputs` is 4 * features), or with masks one for each
        (`outputs` is features). `width` is that of the inputs and the state together.
      bias: of the gates in order.
    """

    inputs: Float[Array, "time in_features batch"]
    carry: tuple[Float[Array, "features batch"], Float[Array, "features batch"]]
    weights: tuple[Float[Array, "width outputs"], ...]
    bias: Float[Array, " gates_features"]


def _forward(static: _Static, fixed: _Fixed, operands: _Operands, save: bool) -> Any:
    """The final carry, and all outputs [time, features, batch] or None; then the residuals."""
    inputs, carry, weights, _ = operands
    time = inputs.shape[0]
    inputs = inputs.reshape(time, -1)
    # Behind a barrier, or XLA multiplies by a transpose in place, which is slow.
    transposed = lax.optimization_barrier([matrix.T.astype(inputs.dtype) for matrix in weights])
    gates_of = _gates(transposed, fixed, operands)

    def step(t, states):  # type: ignore[no-untyped-def]
        gates, cs, hs = states
        at_step = gates_of(_row(inputs, t), _row(hs, t))
        if save:
            # Read back, so that XLA computes each in its place and copies nothing.
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
    """What `_forward` computes, by a scan, which JAX differentiates."""
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
    """A function of a step's inputs and the state before it, to the gates i, f, g, o."""
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
    """The final carry and the outputs, of the states before the first step and after each."""
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
    time = len(inputs)
    inputs = inputs.reshape(time, -1)
    matrices = lax.optimization_barrier([matrix.astype(inputs.dtype) for matrix in weights])
    final_dc, final_dh = final_dc.reshape(-1), final_dh.reshape(-1)
    # The last step of the row that an element of the state belongs to.
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
        d_inputs = _put(d_inputs, t, d_x.astype(inputs.dtype))
        return dc, d_h.astype(dh.dtype), d_inputs, d_gates

    def steps_of_chunk(n, carry):  # type: ignore[no-untyped-def]
        *carry, d_weights, d_bias = carry
        first = chunk * (chunks - 1 - n)
        d_gates = jnp.zeros((4 * chunk, features * batch), final_dc.dtype)
        *carry, d_gates = lax.fori_loop(0, chunk, functools.partial(step, first), (*carry, d_gates))
        parts = [lax.dynamic_slice_in_dim(rows, first, chunk) for rows in (inputs, hs)]
        xh = jnp.concatenate([part.astype(inputs.dtype) for part in parts], axis=1)
        d_weights = _add_chunk(d_weights, masks, xh, d_gates, batch)
        d_bias += d_gates.reshape(chunk, -1).sum(axis=0, dtype=d_bias.dtype)
        return *carry, d_weights, d_bias

    sums = jnp.promote_types(inputs.dtype, jnp.float32)
    carry = (
        jnp.zeros_like(final_dc),
        jnp.zeros_like(final_dh),
        jnp.zeros_like(inputs),
        [jnp.zeros(matrix.shape, sums) for matrix in weights],
        jnp.zeros(4 * features * batch, sums),
    )
    dc, dh, d_inputs, d_weights, d_bias = lax.fori_loop(0, chunks, steps_of_chunk, carry)
    # The carry of a row without steps passes through unchanged.
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
    """The gradients of c before step `t`, and of the four sums that its activations are applied to.

    `dc` and `dh` are the gradients of the state after the step.
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
    """The gradient of the inputs and state of a chunk's step `k`, side by side."""
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
    d_weights: Sequence[Array], masks: Any, xh: Array, d_gates: Array, batch: int
) -> list[Array]:
    """`d_weights` plus the gradients from a chunk of steps: one product for each matrix."""
    chunk = len(xh)
    product = _product(xh.dtype)

    def side_by_side(rows):  # type: ignore[no-untyped-def]
        return rows.reshape(chunk, -1, batch).swapaxes(0, 1).reshape(-1, chunk * batch)

    d_zs = jnp.unstack(d_gates.reshape(chunk, len(d_weights), -1), axis=1)
    return [
        d_matrix + product(side_by_side(masked), side_by_side(d_z).T.astype(xh.dtype))
        for d_matrix, masked, d_z in zip(d_weights, _masked(xh, masks), d_zs, strict=True)
    ]


def _longest(seq_lengths: Int[Array, " batch"], time: int) -> Int[Array, ""]:
    """Number of steps to run; accelerators want to know it when they compile."""
    return lax.platform_dependent(
        seq_lengths,
        cpu=lambda seq_lengths: jnp.max(seq_lengths, initial=0),
        default=lambda seq_lengths: jnp.full((), time, seq_lengths.dtype),
    )


def _product(dtype: Dtype) -> Callable[[Array, Array], Array]:
    """The product of matrices of `dtype`, with sums in float32 at least."""
    return functools.partial(
        jnp.matmul, preferred_element_type=jnp.promote_types(dtype, jnp.float32)
    )


def _masked(rows: Any, masks: Any) -> Any:
    """What each of the products is of: all of it, or what a gate's mask leaves."""
    return (
        (rows,) if masks is None else [rows * jnp.broadcast_to(mask, rows.shape) for mask in masks]
    )


def _row(rows: Float[Array, "rows width"], index: ArrayLike) -> Float[Array, " width"]:
    return lax.dynamic_index_in_dim(rows, index, keepdims=False)


def _put(
    rows: Float[Array, "rows width"], index: ArrayLike, row: Float[Array, " width"]
) -> Float[Array, "rows width"]:
    return lax.dynamic_update_index_in_dim(rows, row, index, axis=0)
