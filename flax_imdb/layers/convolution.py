"""Convolution and pooling over time, correct on right-padded batches."""

import functools

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer
from jaxtyping import Array, Float, Int

from flax_imdb.layers.sequence import SequenceLayer, lengths_or_full, padding_mask


class Conv(SequenceLayer):
    """Convolution over time with zeros beyond both ends (``"SAME"``), then relu.

    Padding is set to 0 before the convolution and after it, so a row sees beyond its end what it
    would see alone in a batch.

    Attributes:
      features: number of filters.
      kernel_size: number of time steps that a filter spans.
      kernel_init: initializer of the kernel [kernel_size, in_features, features].
      dtype: of the computation (default: inferred from inputs and parameters).
      param_dtype: of the parameters.
    """

    features: int
    kernel_size: int
    kernel_init: Initializer = nn.initializers.glorot_uniform()
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "batch time in_features"],
        lengths: Int[Array, " batch"] | None = None,
        *,
        deterministic: bool = True,
        rows: Int[Array, " batch"] | None = None,
    ) -> Float[Array, "batch time features"]:
        """Convolve; the outputs have as many time steps as the inputs, and 0 at padding."""
        batch, time, _ = inputs.shape
        lengths = lengths_or_full(lengths, batch, time)
        valid = padding_mask(lengths, time)[..., None]
        outputs = nn.Conv(
            self.features,
            (self.kernel_size,),
            kernel_init=self.kernel_init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="conv",
        )(jnp.where(valid, inputs, 0))
        return jnp.where(valid, nn.relu(outputs), 0)


class MaxPool(SequenceLayer):
    """The maximum over windows of time steps that do not overlap.

    A last window that is not full counts its valid steps alone, so a pooled length is rounded up
    (Keras's ``padding="same"``). Of elements that are equally high each gets a part of the
    gradient.

    Attributes:
      window: number of time steps in a window.
    """

    window: int

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "batch time features"],
        lengths: Int[Array, " batch"] | None = None,
        *,
        deterministic: bool = True,
        rows: Int[Array, " batch"] | None = None,
    ) -> Float[Array, "batch pooled features"]:
        """Pool to ``ceil(time / window)`` steps; 0 at padding."""
        batch, time, features = inputs.shape
        lengths = lengths_or_full(lengths, batch, time)
        valid = padding_mask(lengths, time)[..., None]
        inputs = jnp.where(valid, inputs, -jnp.inf)
        missing = -time % self.window
        inputs = jnp.pad(inputs, ((0, 0), (0, missing), (0, 0)), constant_values=-jnp.inf)
        # Not flax's max_pool: on CPUs its gradient takes longer than the convolution.
        inputs = inputs.reshape(batch, (time + missing) // self.window, self.window, features)
        windows = jnp.unstack(inputs, axis=2)
        outputs = functools.reduce(jnp.maximum, windows)
        return jnp.where(jnp.isneginf(outputs), 0, outputs)

    def output_lengths(self, lengths: Int[Array, " batch"]) -> Int[Array, " batch"]:
        """``ceil(lengths / window)``, at least 1."""
        return jnp.maximum(-(-lengths // self.window), 1)
