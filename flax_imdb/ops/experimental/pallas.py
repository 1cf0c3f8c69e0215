"""The LSTM as one GPU kernel for all time steps, in Pallas with the Triton backend.

A loop of small kernels spends most of its time on launches and memory traffic. Here a program
instance computes `_ROWS` rows of one direction for all steps, in the forward or backward pass. It

- keeps the recurrent kernel on chip. Triton stores matrices that are loaded before the loop and
  used in products in shared memory, which limits the width (see `unsupported`);
- stops after the longest of its rows, which is fastest if neighbouring rows have similar lengths;
- loads the inputs of the next step before it computes the current one.

All rows and directions are one launch. The products with the inputs and the gradients of the
kernels are computed outside, over all steps at once. Results do not depend on how rows are assigned
to instances.

Triton needs block sizes that are powers of two, and at least 16 in products. If a width rounded up
to a power of two does not fit, it is split into parts (16 + 32 + 64 for 100 in float32). An array
is therefore loaded as a list of blocks, one per part.

Without CUDA the kernels run in interpreter mode, which is slow but gives the same results.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax.typing import Dtype
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Bool, Float, Int

from flax_imdb.ops.masks import mask_of_gate
from flax_imdb.ops.recurrence import Direction, Result

# Rows per instance: the minimum for a product in Triton.
_ROWS = 16

# The activations of the gates i, f, g, o.
_ACTIVATIONS = (jax.nn.sigmoid, jax.nn.sigmoid, jnp.tanh, jax.nn.sigmoid)

# Bytes of shared memory per block on an H100, assumed if the device does not report its own, and
# how many of them are reserved for layout conversions within a step.
_SHARED_MEMORY = 227 * 1024
_SCRATCH = 16 * 1024


def unsupported(dtype: Dtype, features: int, recurrent_dropout: bool) -> str | None:
    """Why this LSTM cannot be computed here, or None if it can."""
    del recurrent_dropout
    if dtype not in (jnp.float32, jnp.bfloat16):
        return f"computes in float32 and bfloat16, not in {jnp.dtype(dtype)}"

    if not _fits(_parts(features, dtype), dtype):
        widest = max(n for n in range(16, 512, 16) if _fits(_parts(n, dtype), dtype))
        return (
            f"holds its recurrent kernel in shared memory, which has room for {widest} features "
            f"in {jnp.dtype(dtype)}, not for {features}"
        )
    return None


def lstm(
    inputs: Float[Array, "batch time in_features"],
    seq_lengths: Int[Array, " batch"],
    directions: Sequence[Direction],
    *,
    dtype: Dtype,
    return_sequences: bool,
) -> list[Result]:
    """See `flax_imdb.ops.lstm`. All directions are one launch."""
    inputs = inputs.astype(dtype)
    in_features = inputs.shape[-1]
    features = len(directions[0].weights.recurrent_kernel)

    def stack(values: Any) -> Any:
        return jax.tree.map(lambda *of_directions: jnp.stack(of_directions), *values)

    steps = inputs.swapaxes(0, 1)
    kernels = stack([d.weights.kernel for d in directions]).reshape(-1, in_features, 4, features)
    kernels = kernels.astype(inputs.dtype)
    product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
    gates = max(1 if d.masks.inputs is None else d.masks.inputs.shape[1] for d in directions)
    rows = [
        steps if d.masks.inputs is None else steps * mask_of_gate(d.masks.inputs, gate)[None]
        for d in directions
        for gate in range(gates)
    ]
    if gates == 1:
        z = product("dtbi,digf->dtbgf", jnp.stack(rows), kernels)
    else:
        of_gates = jnp.stack(rows).reshape(len(directions), gates, *steps.shape)
        z = product("dgtbi,digf->dtbgf", of_gates, kernels)
    bias = stack([d.weights.bias for d in directions]).reshape(-1, 1, 1, 4, features)
    masks = None
    if any(d.masks.state is not None for d in directions):
        masks = jnp.stack(
            [
                jnp.ones((len(seq_lengths), 4, features), inputs.dtype)
                if d.masks.state is None
                else d.masks.state
                for d in directions
            ]
        )
    static = _Static(tuple(d.reverse for d in directions), return_sequences, inputs.dtype)
    (c, h), outputs = _run(
        static,
        z + bias.astype(z.dtype),
        seq_lengths,
        # The kernel carries the state in the dtype of the sums.
        jax.tree.map(lambda state: state.astype(z.dtype), stack([d.carry for d in directions])),
        stack([d.weights.recurrent_kernel for d in directions]),
        masks,
    )
    if outputs is None:
        outputs = jnp.where((seq_lengths > 0)[:, None], h, 0).astype(inputs.dtype)
    else:
        outputs = outputs.swapaxes(1, 2)
    results: list[Result] = []
    for n, direction in enumerate(directions):
        first_c, first_h = direction.carry
        results.append(((c[n].astype(first_c.dtype), h[n].astype(first_h.dtype)), outputs[n]))
    return results


class _Static(NamedTuple):
    """The static arguments.

    Attributes:
      reverse: whether each direction runs from the last valid step to the first.
      return_sequences: whether to return the outputs of all steps.
      dtype: the dtype of the matrix products.
    """

    reverse: tuple[bool, ...]
    return_sequences: bool
    dtype: Any


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(
    static: _Static,
    z: Float[Array, "directions time batch 4 features"],
    seq_lengths: Int[Array, " batch"],
    carry: Any,
    recurrent_kernel: Float[Array, "directions features gates_features"],
    masks: Float[Array, "directions batch 4 features"] | None,
) -> Any:
    """The final carry, and the outputs [directions, time, batch, features] or None.

    `z` is the contribution of the inputs and bias to the gates' pre-activations. Carries are pairs
    (c, h) of [directions, batch, features].
    """
    return _forward(static, z, seq_lengths, carry, recurrent_kernel, masks, save=False)[0]


def _forward(static, z, seq_lengths, carry, recurrent_kernel, masks, save=True):  # type: ignore[no-untyped-def]
    shape = (*z.shape[:3], z.shape[-1])
    given = {"seq_lengths": seq_lengths, "carry": carry, "kernel": recurrent_kernel, "masks": masks}
    wanted = {
        "carry": jax.tree.map(_shape_of, carry),
        "outputs": jax.ShapeDtypeStruct(shape, static.dtype),
        "cs": jax.ShapeDtypeStruct(shape, z.dtype) if save else None,
    }
    if not (save or static.return_sequences):
        del wanted["outputs"]
    kernel = functools.partial(_forward_kernel, static)
    gates, results = _launch(kernel, z, given, wanted, overwrite=save)
    outputs = results.get("outputs")
    residuals = (seq_lengths, carry, recurrent_kernel, masks, outputs, gates, results["cs"])
    return (results["carry"], outputs if static.return_sequences else None), residuals


def _forward_kernel(static, z, given, gates, results):  # type: ignore[no-untyped-def]
    """Write `results`, and overwrite `z` with the gates unless `gates` is None."""
    rows = _Rows(static, z.shape[1], given)
    kernel = rows.recurrent_kernel(transposed=False)
    masks = rows.masks()

    def z_of(n):  # type: ignore[no-untyped-def]
        return [rows.load(z, rows.time(n), gate) for gate in range(4)]

    def step(n, state):  # type: ignore[no-untyped-def]
        cs, hs, zs = state
        next_zs = z_of(n + 1)
        time = rows.time(n)
        valid = rows.valid(time)
        states = [h.astype(static.dtype) for h in hs]
        # Gate by gate, to keep few operands in registers at a time.
        of_gates = []
        for gate, (activation, z_gate) in enumerate(zip(_ACTIVATIONS, zs, strict=True)):
            masked = states if masks is None else _times(states, masks[gate])
            sums = [
                part + _product(masked, of) for part, of in zip(z_gate, kernel[gate], strict=True)
            ]
            of_gates.append([activation(part) for part in sums])
        new_cs, new_hs = [], []
        for i, f, g, o, c, h in zip(*of_gates, cs, hs, strict=True):
            new_c = f * c + i * g
            new_cs.append(jnp.where(valid, new_c, c))
            new_hs.append(jnp.where(valid, o * jnp.tanh(new_c), h))
        if "outputs" in results:
            rows.store(results["outputs"], [jnp.where(valid, h, 0) for h in new_hs], time)
        if gates is not None:
            rows.store(results["cs"], new_cs, time)
            for gate, parts in enumerate(of_gates):
                rows.store(gates, parts, time, gate)
        return new_cs, new_hs, next_zs

    start = [rows.load(state) for state in given["carry"]]
    cs, hs, _ = lax.fori_loop(0, rows.steps, step, (*start, z_of(0)))
    for state, values in zip(results["carry"], (cs, hs), strict=True):
        rows.store(state, values)
    if "outputs" in results:
        rows.clear_padding(results["outputs"])


def _backward(static, residuals, gradients):  # type: ignore[no-untyped-def]
    seq_lengths, carry, recurrent_kernel, masks, outputs, gates, cs = residuals
    d_carry, d_outputs = gradients
    given = {
        "seq_lengths": seq_lengths,
        "carry": carry,
        "kernel": recurrent_kernel,
        "masks": masks,
        "cs": cs,
        "d_carry": d_carry,
        "d_outputs": d_outputs,
    }
    wanted = {"d_carry": jax.tree.map(_shape_of, carry)}
    kernel = functools.partial(_backward_kernel, static)
    d_z, results = _launch(kernel, gates, given, wanted, overwrite=True)

    before = _states_before(static, outputs, seq_lengths, carry[1])
    product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
    of_gates = d_z.astype(static.dtype)
    if masks is None:
        d_kernel = product("dtbk,dtbgf->dkgf", before, of_gates)
    else:  # Masks are constant over time, so they can be applied after the sum over steps.
        d_kernel = product("dtbk,dtbgf->dbkgf", before, of_gates)
        d_kernel = jnp.einsum("dbkgf,dbgk->dkgf", d_kernel, masks.astype(d_kernel.dtype))
    return (
        d_z,
        None,
        results["d_carry"],
        d_kernel.reshape(recurrent_kernel.shape).astype(recurrent_kernel.dtype),
        # Masks are random draws and need no gradient.
        jax.tree.map(jnp.zeros_like, masks),
    )


def _backward_kernel(static, gates, given, d_z, results):  # type: ignore[no-untyped-def]
    """Write `results`, and overwrite `gates` with the gradient of `z`."""
    rows = _Rows(static, gates.shape[1], given)
    kernel = rows.recurrent_kernel(transposed=True)
    masks = rows.masks()
    first_cs = rows.load(given["carry"][0])

    def c_after(n):  # type: ignore[no-untyped-def]
        values = rows.load(given["cs"], rows.time(n))
        return [jnp.where(n < 0, first, c) for first, c in zip(first_cs, values, strict=True)]

    def inputs_of(n):  # type: ignore[no-untyped-def]
        time = rows.time(n)
        of_gates = [rows.load(gates, time, gate) for gate in range(4)]
        d_hs = rows.load(given["d_outputs"], time) if static.return_sequences else None
        return of_gates, c_after(n - 1), d_hs

    def step(backwards, state):  # type: ignore[no-untyped-def]
        dcs, dhs, cs, (of_gates, cs_before, d_outputs) = state
        n = rows.steps - 1 - backwards
        following = inputs_of(n - 1)
        time = rows.time(n)
        valid = rows.valid(time)
        if d_outputs is not None:
            dhs = [dh + jnp.where(valid, d, 0) for dh, d in zip(dhs, d_outputs, strict=True)]
        d_zs, new_dcs = [], []
        for i, f, g, o, c, c_before, dc, dh in zip(*of_gates, cs, cs_before, dcs, dhs, strict=True):
            tanh_c = jnp.tanh(c)
            dc_here = dc + dh * o * (1 - tanh_c * tanh_c)
            d_gates = (
                dc_here * g * i * (1 - i),
                dc_here * c_before * f * (1 - f),
                dc_here * i * (1 - g * g),
                dh * tanh_c * o * (1 - o),
            )
            d_zs.append([jnp.where(valid, d, 0) for d in d_gates])
            new_dcs.append(jnp.where(valid, dc_here * f, dc))
        new_dhs = [jnp.zeros_like(dh) for dh in dhs]
        for gate, parts in enumerate(zip(*d_zs, strict=True)):
            rows.store(d_z, parts, time, gate)
            operands = [part.astype(static.dtype) for part in parts]
            products = [_product(operands, of_part) for of_part in kernel[gate]]
            if masks is not None:
                products = _times(products, masks[gate])
            new_dhs = [dh + product for dh, product in zip(new_dhs, products, strict=True)]
        new_dhs = [jnp.where(valid, new, dh) for new, dh in zip(new_dhs, dhs, strict=True)]
        return new_dcs, new_dhs, cs_before, following

    start = [rows.load(state) for state in given["d_carry"]]
    last = rows.steps - 1
    dcs, dhs, _, _ = lax.fori_loop(0, rows.steps, step, (*start, c_after(last), inputs_of(last)))
    for state, values in zip(results["d_carry"], (dcs, dhs), strict=True):
        rows.store(state, values)
    for gate in range(4):
        rows.clear_padding(d_z, gate)


_run.defvjp(_forward, _backward)


class _Rows:
    """The rows that one instance of a kernel computes.

    It loads an array as a list of blocks [_ROWS, size], one per part of the width.
    """

    def __init__(self, static: _Static, time: int, given: dict[str, Any]):
        seq_lengths, c = given["seq_lengths"], given["carry"][0]
        _, self._batch, self._features = c.shape
        self._static, self._time, self._given = static, time, given
        self._direction = pl.program_id(0)
        self._rows = pl.program_id(1) * _ROWS + jnp.arange(_ROWS)
        sizes = _parts(self._features, static.dtype)
        self._parts = [sum(sizes[:n]) + jnp.arange(size) for n, size in enumerate(sizes)]
        self._seq_lengths = triton.load(
            seq_lengths.at[self._rows], mask=self._rows < self._batch, other=0
        )
        self.steps = jnp.max(self._seq_lengths)

    def time(self, step: Any) -> Any:
        """The time that this direction reads at `step`, counted from the end in reverse."""
        reverse = jnp.bool_(False)
        for n, of_direction in enumerate(self._static.reverse):
            if of_direction:
                reverse |= self._direction == n
        time = jnp.where(reverse, self.steps - 1 - step, step)
        return jnp.clip(time, 0, self._time - 1)  # A prefetch can be out of range.

    def valid(self, time: Any) -> Bool[Array, "rows 1"]:
        """Which rows are valid at `time`."""
        return (time < self._seq_lengths)[:, None]

    def load(self, ref: Any, time: Any = None, gate: int | None = None) -> list[Array]:
        """Load blocks of [directions, batch, features], or at a time and gate if given."""
        return [
            triton.load(ref.at[index], mask=mask, other=0)
            for index, mask in self._indices(time, gate)
        ]

    def store(self, ref: Any, blocks: Sequence[Any], time: Any = None, gate: Any = None) -> None:
        """Store blocks, the inverse of `load`."""
        for block, (index, mask) in zip(blocks, self._indices(time, gate), strict=True):
            triton.store(ref.at[index], block.astype(ref.dtype), mask=mask)

    def _indices(self, time: Any, gate: int | None) -> Any:
        exists = (self._rows < self._batch)[:, None]
        for part in self._parts:
            axes = (self._direction, time, self._rows[:, None], gate, part[None, :])
            index = tuple(axis for axis in axes if axis is not None)
            yield index, exists & (part < self._features)[None, :]

    def clear_padding(self, ref: Any, gate: int | None = None) -> None:
        """Store zeros at all times after the longest row."""
        zeros = [jnp.zeros((_ROWS, len(part)), jnp.float32) for part in self._parts]

        def clear(time, _):  # type: ignore[no-untyped-def]
            self.store(ref, zeros, time, gate)

        lax.fori_loop(self.steps, self._time, clear, None)

    def masks(self) -> list[list[Array]] | None:
        """The state masks of each gate, or None."""
        masks = self._given["masks"]
        return None if masks is None else [self.load(masks, gate=gate) for gate in range(4)]

    def recurrent_kernel(self, *, transposed: bool) -> list[list[list[Array]]]:
        """The blocks of the kernel, indexed by gate, part of the result and part of the operand."""

        def block(gate: int, operand: Array, result: Array) -> Array:
            operand, result = operand[:, None], result[None, :]
            row, column = (result, operand) if transposed else (operand, result)
            inside = (row < self._features) & (column < self._features)
            index = (self._direction, row, gate * self._features + column)
            loaded = triton.load(self._given["kernel"].at[index], mask=inside, other=0)
            return loaded.astype(self._static.dtype)

        parts = self._parts
        return [
            [[block(gate, operand, result) for operand in parts] for result in parts]
            for gate in range(4)
        ]


def _parts(features: int, dtype: Dtype) -> list[int]:
    """Sizes of the parts that cover a width: one if it fits, else several in ascending order.

    In descending order Triton makes every warp compute all columns of the products.
    """
    one = max(16, pl.next_power_of_2(features))
    if _fits([one], dtype):
        return [one]
    sixteens = pl.cdiv(features, 16)
    return [16 << bit for bit in range(sixteens.bit_length()) if sixteens >> bit & 1]


def _fits(parts: Sequence[int], dtype: Dtype) -> bool:
    matrices = 4 * sum(parts) ** 2 * jnp.dtype(dtype).itemsize
    memory = getattr(jax.devices()[0], "shared_memory_per_block_optin", _SHARED_MEMORY)
    return matrices <= memory - _SCRATCH


def _product(blocks: Sequence[Array], kernel: Sequence[Array]) -> Any:
    """The product of a matrix split along its columns and one split along its rows."""
    return sum(
        jnp.dot(block, of_kernel, preferred_element_type=jnp.float32)
        for block, of_kernel in zip(blocks, kernel, strict=True)
    )


def _times(blocks: Sequence[Array], masks: Sequence[Array]) -> list[Array]:
    return [block * mask for block, mask in zip(blocks, masks, strict=True)]


def _launch(
    kernel: Callable[..., None], array: Any, given: Any, wanted: Any, *, overwrite: bool
) -> Any:
    """Run `kernel` once per direction and `_ROWS` rows.

    The kernel is called with references to `array`, `given`, the array that overwrites `array`
    (None unless `overwrite`) and `wanted`. It fills the last two, which are returned.
    """
    directions, _, batch, _, features = array.shape
    in_place = _shape_of(array) if overwrite else None

    def call(interpret: bool) -> Callable[..., Any]:
        return pl.pallas_call(
            kernel,
            out_shape=(in_place, wanted),
            grid=(directions, pl.cdiv(batch, _ROWS)),
            input_output_aliases={0: 0} if overwrite else {},
            compiler_params=triton.CompilerParams(
                num_warps=8 if features > 32 else 4, num_stages=1
            ),
            interpret=interpret,
        )

    return lax.platform_dependent(array, given, cuda=call(False), default=call(True))


def _shape_of(array: Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


def _states_before(
    static: _Static,
    outputs: Float[Array, "directions time batch features"],
    seq_lengths: Int[Array, " batch"],
    h: Float[Array, "directions batch features"],
) -> Float[Array, "directions time batch features"]:
    """The state before each valid step, from the states after each step and the initial one."""
    directions = []
    for reverse, of_steps, first in zip(static.reverse, outputs, h, strict=True):
        if reverse:
            shifted = jnp.pad(of_steps[1:], ((0, 1), (0, 0), (0, 0)))
            at_first = jnp.arange(len(of_steps))[:, None] == seq_lengths - 1
            before = jnp.where(at_first[..., None], first.astype(shifted.dtype), shifted)
        else:
            before = jnp.concatenate([first.astype(of_steps.dtype)[None], of_steps[:-1]])
        directions.append(before)
    return jnp.stack(directions)
