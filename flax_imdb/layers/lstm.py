"""A long short-term memory over right-padded sequences."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from flax.typing import Dtype, Initializer
from jaxtyping import Array, Bool, Float

from flax_imdb.layers.lstm_cell import LSTMCell, LSTMMasks, orthogonal
from flax_imdb.layers.sequence import RowNumbers, SequenceLayer, lengths_or_full
from flax_imdb.ops import Direction, Op, choose
from flax_imdb.ops.sequences import padding_mask


class LSTM(SequenceLayer):
    """Runs an :class:`LSTMCell` over the time steps of right-padded sequences.

    Padding is skipped: the carry does not move there and the outputs are 0, so a row gives the
    same numbers in any batch, padded to any length.

    Attributes:
      features: size of the state and of each output.
      dropout: share of the inputs dropped in training, in [0, 1); see :class:`LSTMCell`.
      recurrent_dropout: share of the state dropped in training, in [0, 1).
      reverse: True runs from each row's last valid step to its first. Outputs keep the order of
        the inputs.
      return_sequences: True returns the output of every step [batch, time, features]; False the
        one computed last [batch, features] (at a row's last valid step, or its first in reverse).
      return_carry: True returns ``(carry, outputs)``, with the carry after the last computed step.
      implementation: how the recurrence is computed: ``"scan"``, the reference, which scans the
        cell; ``"fused"``, which has a backward pass of its own; for NVIDIA's GPUs ``"cudnn"`` and
        ``"pallas"``, a kernel of this project; or ``"auto"``, which takes ``"fused"`` wherever it
        can. The parameters do not depend on it, and the results only by rounding.
      remat_steps: keep the state of each so-manieth step alone for the backward pass, which then
        computes what lies between again: less memory for long sequences, more time
        (``jax.checkpoint``; Chen et al. 2016). None keeps all.
      cell: constructor of the cell: another of flax's, such as ``flax.linen.GRUCell``, or
        ``functools.partial(LSTMCell, bias_init=...)``.
      kernel_init: initializer of the cell's kernel.
      recurrent_kernel_init: initializer of the cell's recurrent kernel.
      dtype: of the matrix products and outputs (default: inferred from inputs and parameters).
      param_dtype: of the parameters.
    """

    features: int
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    reverse: bool = False
    return_sequences: bool = True
    return_carry: bool = False
    implementation: str = "auto"
    remat_steps: int | None = None
    # By a factory: a default in the class would be a method to flax.nnx.bridge.ToNNX, which then
    # cannot hold the parameters "cell".
    cell: Callable[..., nn.RNNCellBase] = dataclasses.field(default_factory=lambda: LSTMCell)
    kernel_init: Initializer = nn.initializers.glorot_uniform()
    recurrent_kernel_init: Initializer = orthogonal
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    def __call__(
        self,
        inputs: Float[Array, "batch time in_features"],
        lengths: RowNumbers | None = None,
        *,
        initial_carry: Any = None,
        deterministic: bool = True,
        rows: RowNumbers | None = None,
    ) -> Any:
        """Run over the sequences.

        Args:
          inputs: one vector per time step. What stands at padding does not matter.
          lengths: number of valid time steps of each row, 0 to time. None: all of them.
          initial_carry: the cell's carry before the first step; for :class:`LSTMCell` (c, h),
            each [batch, features]. None: zeros.
          deterministic: False draws dropout masks, with the ``"dropout"`` key.
          rows: which example of the data each row holds (see :class:`SequenceLayer`).

        Returns:
          Outputs [batch, time, features], 0 at padding, or [batch, features] without
          `return_sequences` (0 for a row of length 0); with `return_carry` the final carry before
          them.

        Raises:
          ValueError: an `implementation` that is unknown or cannot compute this, a rate outside
            [0, 1), or `remat_steps` below 1.
        """
        carries = (initial_carry,)
        return run_together(
            (self,), inputs, lengths, carries, deterministic=deterministic, rows=rows
        )[0]

    @nn.compact
    def _begin(self, inputs: Any, carry: Any, deterministic: bool, rows: Any) -> Any:
        """The cell, its first carry, and its masks."""
        cell = self._make_cell()
        step = _step_like(inputs)
        if carry is None:
            carry = cell.initialize_carry(jax.random.key(0), step.shape)
        masks = None
        if not deterministic and (self.dropout or self.recurrent_dropout):
            masks = cell.draw_masks(step, rows)
        return cell, carry, masks

    def _in_chunks(
        self,
        run: Callable[..., tuple[Any, Any]],
        cell: nn.RNNCellBase,
        carry: Any,
        inputs: Any,
        lengths: Any,
        masks: LSTMMasks | None,
    ) -> tuple[Any, Any]:
        """What `run` computes, on chunks of steps in turn, each forgotten until it is needed."""
        batch, time, in_features = inputs.shape
        assert self.remat_steps is not None
        chunk = min(self.remat_steps, time)
        chunks = -(-time // chunk)
        inputs = jnp.pad(inputs, ((0, 0), (0, chunks * chunk - time), (0, 0)))

        def run_chunk(cell: nn.RNNCellBase, state: Any, chunk_inputs: Any, start: Any) -> Any:
            carry, last = state
            chunk_lengths = jnp.clip(lengths - start, 0, chunk)
            carry, outputs = run(cell, carry, chunk_inputs, chunk_lengths, masks)
            if self.return_sequences:
                return (carry, last), outputs
            return (carry, jnp.where((chunk_lengths > 0)[:, None], outputs, last)), None

        dtype = self.dtype or jnp.promote_types(inputs.dtype, self.param_dtype)
        (carry, last), outputs = nn.scan(
            nn.remat(run_chunk, prevent_cse=False),
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=(1, 0),
            out_axes=1,
            reverse=self.reverse,
        )(
            cell,
            (carry, jnp.zeros((batch, self.features), dtype)),
            inputs.reshape(batch, chunks, chunk, in_features),
            chunk * jnp.arange(chunks),
        )
        if self.return_sequences:
            return carry, outputs.reshape(batch, chunks * chunk, -1)[:, :time]
        return carry, last

    def _by(
        self,
        op: Op,
        cell: nn.RNNCellBase,
        carry: Any,
        inputs: Any,
        lengths: Any,
        masks: LSTMMasks | None,
    ) -> tuple[Any, Any]:
        return _compute(op, [(self, cell, carry, masks)], inputs, lengths)[0]

    def _nothing(
        self, cell: nn.RNNCellBase, carry: Any, inputs: Any, lengths: Any, masks: LSTMMasks | None
    ) -> tuple[Any, Any]:
        """The results where there are no rows or no steps."""
        # For the parameters, and for what an output is.
        _, outputs = cell(carry, _step_like(inputs), *(() if masks is None else (masks,)))
        shape = inputs.shape[: 2 if self.return_sequences else 1] + outputs.shape[1:]
        return carry, jnp.zeros_like(outputs, shape=shape)

    def _scan(
        self, cell: nn.RNNCellBase, carry: Any, inputs: Any, lengths: Any, masks: LSTMMasks | None
    ) -> tuple[Any, Any]:
        # Only where something is dropped: flax's own cells take no masks.
        drop = () if masks is None else (masks,)

        def step(
            cell: nn.RNNCellBase,
            carry: Any,
            step_inputs: Float[Array, "batch in_features"],
            step_valid: Bool[Array, " batch"],
        ) -> tuple[Any, Float[Array, "batch features"]]:
            new_carry, outputs = cell(carry, step_inputs, *drop)
            hold = step_valid[:, None]
            carry = jax.tree.map(lambda new, old: jnp.where(hold, new, old), new_carry, carry)
            return carry, jnp.where(hold, outputs, 0)

        carry, outputs = nn.scan(
            step,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=1,
            out_axes=1,
            reverse=self.reverse,
        )(cell, carry, inputs, padding_mask(lengths, inputs.shape[1]))
        if not self.return_sequences:
            last = jnp.zeros_like(lengths) if self.reverse else jnp.maximum(lengths - 1, 0)
            outputs = jnp.take_along_axis(outputs, last[:, None, None], axis=1)[:, 0]
        return carry, outputs

    def _make_cell(self) -> nn.RNNCellBase:
        rates = {"dropout": self.dropout, "recurrent_dropout": self.recurrent_dropout}
        return self.cell(
            self.features,
            kernel_init=self.kernel_init,
            recurrent_kernel_init=self.recurrent_kernel_init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="cell",
            **{name: rate for name, rate in rates.items() if rate},
        )


def run_together(
    layers: Sequence[LSTM],
    inputs: Float[Array, "batch time in_features"],
    lengths: RowNumbers | None,
    initial_carries: Sequence[Any],
    *,
    deterministic: bool,
    rows: RowNumbers | None,
) -> list[Any]:
    """What each of the layers returns for these arguments, computed at once where that can be.

    They differ in their parameters and their direction alone.
    """
    layer = layers[0]
    batch, time, _ = inputs.shape
    if layer.remat_steps is not None and layer.remat_steps < 1:
        raise ValueError(f"remat_steps is {layer.remat_steps}: 1 or more is needed")
    lengths = lengths_or_full(lengths, batch, time)
    # Even an infinity at padding must not reach a gradient, where it would meet a zero.
    inputs = jnp.where(padding_mask(lengths, time)[..., None], inputs, 0)
    begun = [
        (each, *each._begin(inputs, carry, deterministic, rows))
        for each, carry in zip(layers, initial_carries, strict=True)
    ]
    cell = begun[0][1]
    op = choose(
        layer.implementation,
        dtype=layer.dtype or jnp.promote_types(inputs.dtype, layer.param_dtype),
        features=layer.features,
        recurrent_dropout=layer.recurrent_dropout,
        keras_cell=type(cell) is LSTMCell  # a subclass may compute something else
        and cell.gate_fn is nn.sigmoid
        and cell.activation_fn is nn.tanh,
    )
    nothing = batch == 0 or time == 0
    if op is not None and layer.remat_steps is None and not nothing:
        results = _compute(op, begun, inputs, lengths)
    else:
        results = []
        for each, cell, carry, masks in begun:
            run = each._scan if op is None else functools.partial(each._by, op)
            if layer.remat_steps is not None:
                run = functools.partial(each._in_chunks, run)
            if nothing:
                run = each._nothing
            results.append(run(cell, carry, inputs, lengths, masks))
    return results if layer.return_carry else [outputs for _, outputs in results]


def _step_like(inputs: Any) -> Any:
    """Zeros of a step's shape; there may be no step to take."""
    return jnp.zeros((inputs.shape[0], *inputs.shape[2:]), inputs.dtype)


def _compute(op: Op, begun: Sequence[tuple[LSTM, Any, Any, Any]], inputs: Any, lengths: Any) -> Any:
    """Run layers with their cells, first carries and masks."""
    directions = [
        Direction(
            carry,
            *cell.weights(inputs.shape[-1]),
            *(masks or LSTMMasks()),
            reverse=layer.reverse,  # type: ignore[misc]
        )
        for layer, cell, carry, masks in begun
    ]
    layer = begun[0][0]
    # The weights stay as they are, and so do their gradients.
    inputs, *_ = promote_dtype(inputs, *directions[0][1:4], dtype=layer.dtype)
    return op(inputs, lengths, directions, return_sequences=layer.return_sequences)
