"""The LSTM cell."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from flax.typing import Dtype, Initializer
from jaxtyping import Array, Float, Key

from flax_imdb.layers.dropout import check_rate, dropout_mask
from flax_imdb.layers.sequence import PerExample, ids_or_positions
from flax_imdb.ops import LSTMMasks, LSTMWeights
from flax_imdb.ops.reference import Activation, step


def unit_forget_bias(
    key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = jnp.float32
) -> Float[Array, " gates_features"]:
    """Initialize the bias [4 * features] to 1 for the forget gate and 0 for the other gates.

    See Jozefowicz et al. 2015, and ``unit_forget_bias`` in Keras.
    """
    del key
    return jnp.zeros(shape, dtype).reshape(4, -1).at[1].set(1).reshape(shape)


def orthogonal(
    key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = jnp.float32
) -> Float[Array, "rows columns"]:
    """Initialize with orthonormal rows (Saxe et al. 2014), in any dtype.

    The matrix is drawn in at least float32, because the QR decomposition does not support bfloat16.
    """
    drawn = nn.initializers.orthogonal()(key, shape, jnp.promote_types(dtype, jnp.float32))
    return drawn.astype(dtype)


class LSTMCell(nn.RNNCellBase):
    """The LSTM cell of Keras (Hochreiter and Schmidhuber 1997).

    See `flax_imdb.ops.reference.step` for the equations. The parameters ``kernel``
    [in_features, 4 * features], ``recurrent_kernel`` [features, 4 * features] and ``bias``
    [4 * features] have the layout of Keras, so Keras weights can be used unchanged.

    Dropout follows Gal and Ghahramani 2016, as in Keras: a mask is drawn once per sequence and used
    at all its steps. With recurrent dropout each gate has its own masks, for the inputs too. In
    ``flax.linen.RNN`` pass ``split_rngs={"params": False, "dropout": False}``, so that the cell
    draws the same masks at every step.

    Attributes:
      features: size of the state and output.
      dropout: fraction of the inputs dropped in training, in [0, 1).
      recurrent_dropout: fraction of the state dropped in training, in [0, 1).
      deterministic: if True, draw no masks. Masks passed to the call are still applied.
      gate_fn: activation of the gates i, f and o.
      activation_fn: activation of the candidate and the output.
      kernel_init: initializer of ``kernel``.
      recurrent_kernel_init: initializer of ``recurrent_kernel``.
      bias_init: initializer of ``bias``.
      dtype: the dtype of the matrix products and outputs (default: inferred from inputs and
        parameters). The carry is at least float32.
      param_dtype: the dtype of the parameters.
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
        """The parameters, created on first use."""
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
        carry: tuple[Float[Array, "*batch features"], Float[Array, "*batch features"]],
        inputs: Float[Array, "*batch in_features"],
        masks: LSTMMasks | None = None,
        deterministic: bool | None = None,
    ) -> tuple[
        tuple[Float[Array, "*batch features"], Float[Array, "*batch features"]],
        Float[Array, "*batch features"],
    ]:
        """One time step.

        Args:
          carry: the cell state c and the hidden state h, both [batch, features].
          inputs: [batch, in_features].
          masks: the dropout masks. If None, they are drawn unless `deterministic`.
          deterministic: overrides the attribute.

        Returns:
          The new carry (c, h), and h in the dtype of the computation.
        """
        weights = self.weights(inputs.shape[-1])
        if deterministic is None:
            deterministic = self.deterministic
        if masks is None:
            masks = LSTMMasks() if deterministic else self.draw_masks(inputs)
        inputs, *promoted = promote_dtype(inputs, *weights, dtype=self.dtype)
        return step(carry, inputs, LSTMWeights(*promoted), masks, self.gate_fn, self.activation_fn)

    @nn.nowrap
    def initialize_carry(
        self, rng: Key[Array, ""] | None, input_shape: tuple[Any, ...]
    ) -> tuple[Float[Array, "*batch features"], Float[Array, "*batch features"]]:
        """A carry of zeros for inputs of shape (*batch, in_features). `rng` is unused."""
        del rng
        dtype = jnp.promote_types(self.param_dtype, jnp.float32)
        zeros = jnp.zeros((*input_shape[:-1], self.features), dtype)
        return zeros, zeros

    def draw_masks(
        self,
        inputs: Float[Array, "*batch in_features"],
        example_ids: PerExample | None = None,
    ) -> LSTMMasks:
        """Draw the masks of a sequence with the ``"dropout"`` key, even if `deterministic`.

        Args:
          inputs: the inputs of one step. Only the shape and dtype are used.
          example_ids: one integer per example (see `dropout_mask`). Defaults to the position in
            the batch.

        Raises:
          ValueError: a rate is outside [0, 1), or `inputs` have more than one batch axis.
        """
        check_rate("dropout", self.dropout)
        check_rate("recurrent_dropout", self.recurrent_dropout)
        if inputs.ndim != 2:
            raise ValueError(f"inputs have shape {inputs.shape}: [batch, in_features] is needed")
        batch, in_features = inputs.shape
        ids = ids_or_positions(example_ids, batch)
        dtype = self.dtype or jnp.promote_types(inputs.dtype, self.param_dtype)
        input_mask = state_mask = None
        if self.dropout:
            shape = (4 if self.recurrent_dropout else 1, in_features)
            input_mask = dropout_mask(self.make_rng("dropout"), ids, shape, self.dropout, dtype)
        if self.recurrent_dropout:
            shape = (4, self.features)
            key = self.make_rng("dropout")
            state_mask = dropout_mask(key, ids, shape, self.recurrent_dropout, dtype)
        return LSTMMasks(input_mask, state_mask)

    @property
    def num_feature_axes(self) -> int:
        """Number of feature axes of the inputs, for ``flax.linen.RNN``."""
        return 1
