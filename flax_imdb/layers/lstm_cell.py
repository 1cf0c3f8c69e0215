"""One step of a long short-term memory, with Keras's semantics."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from flax.typing import Dtype, Initializer
from jaxtyping import Array, Float, Key

from flax_imdb.layers.dropout import check_rate, dropout_mask
from flax_imdb.layers.sequence import RowNumbers, rows_or_positions
from flax_imdb.ops.masks import masked_product

Activation = Callable[[Array], Array]


def unit_forget_bias(
    key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = jnp.float32
) -> Float[Array, " gates_features"]:
    """Initializer of the bias [4 * features]: 1 for the forget gate, 0 for the others.

    Source: Jozefowicz et al. 2015; Keras's ``unit_forget_bias``.
    """
    del key
    return jnp.zeros(shape, dtype).reshape(4, -1).at[1].set(1).reshape(shape)


def orthogonal(
    key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = jnp.float32
) -> Float[Array, "rows columns"]:
    """Initializer of orthonormal rows (Saxe et al. 2014), in any precision.

    It is drawn in float32 at least: flax's own needs a decomposition that bfloat16 has not.
    """
    drawn = nn.initializers.orthogonal()(key, shape, jnp.promote_types(dtype, jnp.float32))
    return drawn.astype(dtype)


class LSTMMasks(NamedTuple):
    """Dropout masks of a whole sequence; None where that kind of dropout is off.

    Attributes:
      inputs: [batch, gates, in_features], `gates` being 1 (one mask for all gates), or 4 where
        recurrent dropout is on too.
      state: [batch, 4, features].
    """

    inputs: Float[Array, "batch gates in_features"] | None = None
    state: Float[Array, "batch 4 features"] | None = None


class LSTMWeights(NamedTuple):
    """The parameters of a cell; columns in gate order i, f, g, o.

    Attributes:
      kernel: [in_features, 4 * features].
      recurrent_kernel: [features, 4 * features].
      bias: [4 * features].
    """

    kernel: Float[Array, "in_features gates_features"]
    recurrent_kernel: Float[Array, "features gates_features"]
    bias: Float[Array, " gates_features"]


class LSTMCell(nn.RNNCellBase):
    """A long short-term memory cell (Hochreiter and Schmidhuber 1997) as Keras computes it.

    With ``*`` elementwise and the columns of the kernels in gate order i, f, g, o (Keras calls the
    candidate ``c``)::

        i, f, g, o = split(x @ kernel + h @ recurrent_kernel + bias, 4)
        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h' = sigmoid(o) * tanh(c')

    Parameters are ``kernel`` [in_features, 4 * features], ``recurrent_kernel``
    [features, 4 * features] and ``bias`` [4 * features], as in Keras, so its weights carry over.
    It is a ``flax.linen.RNNCellBase``: it works in ``flax.linen.RNN`` as well as in
    :class:`flax_imdb.layers.LSTM`.

    Dropout follows Gal and Ghahramani 2016 as in Keras: masks are drawn once per sequence and held
    over its time steps; with recurrent dropout each gate has a mask of its own, for the inputs too.
    In ``flax.linen.RNN``, where the cell draws its own masks, pass
    ``split_rngs={"params": False, "dropout": False}``, which gives every step the same key.

    Attributes:
      features: size of the state and of the output.
      dropout: share of the inputs dropped in training, in [0, 1).
      recurrent_dropout: share of the state dropped in training, in [0, 1).
      deterministic: True never drops. Masks that are passed to the call are applied regardless.
      gate_fn: activation of the gates i, f and o.
      activation_fn: activation of the candidate and of the output.
      kernel_init: initializer of ``kernel``.
      recurrent_kernel_init: initializer of ``recurrent_kernel``.
      bias_init: initializer of ``bias``.
      dtype: of the matrix products and the outputs (default: inferred from inputs and parameters).
        The carry stays at least float32.
      param_dtype: of the parameters.
    """

    features: int
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    deterministic: bool = True
    gate_fn: Activation = nn.sigmoid
    activation_fn: Activation = nn.tanh
    kernel_init: Initializer = nn.initializers.glorot_uniform()
    recurrent_kernel_init: Initializer = orthogonal
    bias_init: Initializer = unit_forget_bias
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def weights(self, in_features: int) -> LSTMWeights:
        """The parameters, made when they are first asked for."""
        width = 4 * self.features
        shapes = ((in_features, width), (self.features, width), (width,))
        inits = (self.kernel_init, self.recurrent_kernel_init, self.bias_init)
        return LSTMWeights(
            *(
                self.param(name, init, shape, self.param_dtype)
                for name, init, shape in zip(LSTMWeights._fields, inits, shapes, strict=True)
            )
        )

    def __call__(
        self,
        carry: tuple[Float[Array, "batch features"], Float[Array, "batch features"]],
        inputs: Float[Array, "batch in_features"],
        masks: LSTMMasks | None = None,
    ) -> tuple[
        tuple[Float[Array, "batch features"], Float[Array, "batch features"]],
        Float[Array, "batch features"],
    ]:
        """One time step.

        Args:
          carry: the cell state c and the hidden state h, both [batch, features].
          inputs: [batch, in_features].
          masks: dropout masks to apply. None: drawn here unless `deterministic`.

        Returns:
          The new carry (c, h), and h in the compute dtype.
        """
        kernel, recurrent_kernel, bias = self.weights(inputs.shape[-1])
        if masks is None:
            masks = LSTMMasks() if self.deterministic else self.draw_masks(inputs)

        c, h = carry
        inputs, kernel, recurrent_kernel, bias = promote_dtype(
            inputs, kernel, recurrent_kernel, bias, dtype=self.dtype
        )
        gates = (
            masked_product(inputs, kernel, masks.inputs)
            + masked_product(h.astype(inputs.dtype), recurrent_kernel, masks.state)
            + bias.reshape((1,) * (inputs.ndim - 1) + (-1,))
        )
        i, f, g, o = jnp.split(gates.astype(c.dtype), 4, axis=-1)
        c = self.gate_fn(f) * c + self.gate_fn(i) * self.activation_fn(g)
        h = self.gate_fn(o) * self.activation_fn(c)
        return (c, h), h.astype(inputs.dtype)

    @nn.nowrap
    def initialize_carry(
        self, rng: Key[Array, ""], input_shape: tuple[Any, ...]
    ) -> tuple[Float[Array, "batch features"], Float[Array, "batch features"]]:
        """A carry of zeros for inputs of `input_shape` (batch, in_features); `rng` is unused."""
        del rng
        dtype = jnp.promote_types(self.param_dtype, jnp.float32)
        zeros = jnp.zeros((*input_shape[:-1], self.features), dtype)
        return zeros, zeros

    def draw_masks(
        self, inputs: Float[Array, "batch in_features"], rows: RowNumbers | None = None
    ) -> LSTMMasks:
        """Draw the masks of a sequence with the ``"dropout"`` key, whatever `deterministic` says.

        Args:
          inputs: a step of the sequence, for its shape.
          rows: the example that each row holds (see `dropout_mask`). None: its position.
        """
        check_rate("dropout", self.dropout)
        check_rate("recurrent_dropout", self.recurrent_dropout)
        batch, in_features = inputs.shape
        rows = rows_or_positions(rows, batch)
        dtype = self.dtype or jnp.promote_types(inputs.dtype, self.param_dtype)
        input_mask = state_mask = None
        if self.dropout:
            shape = (4 if self.recurrent_dropout else 1, in_features)
            input_mask = dropout_mask(self.make_rng("dropout"), rows, shape, self.dropout, dtype)
        if self.recurrent_dropout:
            shape = (4, self.features)
            key = self.make_rng("dropout")
            state_mask = dropout_mask(key, rows, shape, self.recurrent_dropout, dtype)
        return LSTMMasks(input_mask, state_mask)

    @property
    def num_feature_axes(self) -> int:
        """Number of feature axes of the inputs, for ``flax.linen.RNN``."""
        return 1
