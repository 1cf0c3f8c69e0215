"""Convolution and pooling over time for right-padded sequences."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer
from jaxtyping import Array, Float, Int, Num

from flax_imdb.layers.sequence import PerExample, SequenceLayer, normalize_lengths
from flax_imdb.ops.sequences import padding_mask


class Conv(SequenceLayer):
    """`flax.linen.Conv` over time with ``"SAME"`` padding, for right-padded sequences.

    Padding is set to 0 before and after the convolution, so the outputs of an example do not depend
    on the length it is padded to.

    Attributes:
      features: number of filters.
      kernel_size: number of time steps per filter.
      activation: function applied to the outputs, for example ``flax.linen.relu``, or None.
      kernel_init: initializer of the kernel [kernel_size, in_features, features].
      dtype: the dtype of the computation (default: inferred from inputs and parameters).
      param_dtype: the dtype of the parameters.
    """

    features: int
    kernel_size: int
    activation: Callable[[Array], Array] | None = None
    kernel_init: Initializer = nn.initializers.glorot_uniform()
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "batch time in_features"],
        *,
        seq_lengths: PerExample | None = None,
        deterministic: bool | None = None,
        example_ids: PerExample | None = None,
    ) -> Float[Array, "batch time features"]:
        """Convolve over time. The number of steps is unchanged, and outputs are 0 at padding."""
        batch, time, _ = inputs.shape
        lengths = normalize_lengths(seq_lengths, batch, time)
        valid = padding_mask(lengths, time)[..., None]
        outputs = nn.Conv(
            self.features,
            (self.kernel_size,),
            kernel_init=self.kernel_init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="conv",
        )(jnp.where(valid, inputs, 0))
        if self.activation is not None:
            outputs = self.activation(outputs)
        return jnp.where(valid, outputs, 0)


class MaxPool(SequenceLayer):
    """Max pooling over non-overlapping windows of time steps.

    The last window of an example uses only its valid steps, so lengths are rounded up, as with
    ``padding="same"`` in Keras. Elements that share the maximum split the gradient.

    Attributes:
      window: number of time steps per window.
    """

    window: int

    @nn.compact
    def __call__(
        self,
        inputs: Num[Array, "batch time features"],
        *,
        seq_lengths: PerExample | None = None,
        deterministic: bool | None = None,
        example_ids: PerExample | None = None,
    ) -> Num[Array, "batch pooled features"]:
        """Pool to ``ceil(time / window)`` steps. Outputs are 0 at padding."""
        batch, time, features = inputs.shape
        lengths = normalize_lengths(seq_lengths, batch, time)
        missing = -time % self.window
        windows = (batch, (time + missing) // self.window, self.window)
        inputs = jnp.pad(inputs, ((0, 0), (0, missing), (0, 0)))
        valid = padding_mask(lengths, time + missing)
        # On CPUs the gradient of flax's max_pool takes longer than the convolution.
        steps = jnp.unstack(inputs.reshape(*windows, features), axis=2)
        valid_steps = jnp.unstack(valid.reshape(*windows, 1), axis=2)
        # Padding is always at the end of a window, so it can be replaced by the maximum so far.
        highest = jnp.where(valid_steps[0], steps[0], 0)
        for step, valid in zip(steps[1:], valid_steps[1:], strict=True):
            highest = jnp.maximum(highest, jnp.where(valid, step, highest))
        return highest

    def output_lengths(self, seq_lengths: PerExample) -> Int[Array, " batch"]:
        """``ceil(seq_lengths / window)``, at least 1."""
        return jnp.maximum(-(-super().output_lengths(seq_lengths) // self.window), 1)
