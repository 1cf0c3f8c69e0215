"""The LSTM layer."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

from flax_imdb import ops
from flax_imdb.layers.lstm_cell import LSTMCell, orthogonal, unit_forget_bias
from flax_imdb.layers.recurrent import Batch, RecurrentLayer


class LSTM(RecurrentLayer):
    """An LSTM over right-padded sequences.

    Equivalent to ``RNN(LSTMCell(features))``, but faster and with dropout masks that depend on the
    example's id. The carry is unchanged and outputs are 0 at padding, so the results for an example
    do not depend on its batch or the padded length. The parameters are under ``cell``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax_imdb.layers import LSTM
      >>> inputs = jnp.ones((2, 5, 3))  # [batch, time, in_features]
      >>> layer = LSTM(4, return_carry=True)
      >>> params = layer.init(jax.random.key(0), inputs)
      >>> (c, h), outputs = layer.apply(params, inputs, seq_lengths=[5, 2])
      >>> outputs.shape, h.shape
      ((2, 5, 4), (2, 4))
      >>> bool((outputs[1, 2:] == 0).all())  # padding
      True

    Attributes:
      features: size of the state and outputs.
      dropout: fraction of the inputs dropped in training, in [0, 1). See :class:`LSTMCell`.
      recurrent_dropout: fraction of the state dropped in training, in [0, 1).
      implementation: ``"scan"`` (the reference), ``"fused"`` (a custom backward pass), ``"cudnn"``
        or ``"pallas"`` (for NVIDIA GPUs), or ``"auto"``. Implementations have the same parameters,
        and their results differ only by rounding.
      kernel_init: initializer of the kernel.
      recurrent_kernel_init: initializer of the recurrent kernel.
      bias_init: initializer of the bias.
      dtype: the dtype of the matrix products and outputs (default: inferred from inputs and
        parameters).
      param_dtype: the dtype of the parameters.
    """

    features: int
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    implementation: str = "auto"
    kernel_init: Initializer = nn.initializers.glorot_uniform()
    recurrent_kernel_init: Initializer = orthogonal
    bias_init: Initializer = unit_forget_bias
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    @staticmethod
    def compute(
        layers: Sequence["LSTM"],
        batch: Batch,
        carries: Sequence[Any],
        keys: Sequence[Any],
        reverse: Sequence[bool],
        deterministic: bool,
    ) -> list[tuple[Any, Any]]:
        """See `RecurrentLayer.compute`. All layers are computed in one call."""
        first = layers[0]
        directions = [
            layer._direction(batch, carry, key, back, deterministic)
            for layer, carry, key, back in zip(layers, carries, keys, reverse, strict=True)
        ]
        dtype = first.dtype or jnp.result_type(batch.inputs, *directions[0].weights)
        return ops.lstm(
            batch.inputs,
            batch.seq_lengths,
            directions,
            dtype=dtype,
            implementation=first.implementation,
            return_sequences=first.return_sequences,
            remat_steps=first.remat_steps,
            recurrent_dropout=first.recurrent_dropout > 0,
        )

    @nn.compact
    def _direction(
        self, batch: Batch, carry: Any, key: Any, reverse: bool, deterministic: bool
    ) -> ops.Direction:
        cell = LSTMCell(
            self.features,
            dropout=self.dropout,
            recurrent_dropout=self.recurrent_dropout,
            kernel_init=self.kernel_init,
            recurrent_kernel_init=self.recurrent_kernel_init,
            bias_init=self.bias_init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="cell",
        )
        count, _, in_features = batch.inputs.shape
        step = jnp.zeros((count, in_features), batch.inputs.dtype)  # For its shape and dtype.
        if carry is None:
            carry = cell.initialize_carry(key, step.shape)
        weights = cell.weights(in_features)
        masks = ops.LSTMMasks() if deterministic else cell.draw_masks(step, batch.example_ids)
        return ops.Direction(carry, weights, masks, reverse)
