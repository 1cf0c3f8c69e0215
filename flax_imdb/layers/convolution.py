"""Convolution and pooling over time, correct on right-padded batches."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer
from jaxtyping import Array, Float, Int, Num

from flax_imdb.layers.sequence import PerExample, SequenceLayer, normalize_lengths
from flax_imdb.ops.sequences import padding_mask


class Conv(SequenceLayer):
    """`flax.linen.Conv` over the time steps of right-padded sequences, with its ``"SAME"`` padding.

    Padding is set to 0 before the convolution and after it, so an example sees beyond its end what
    it would see alone in a batch.

    Attributes:
      features: number of filters.
      kernel_size: number of time steps that a filter spans.
      activation: applied to the outputs, such as ``flax.linen.relu``. None: nothing is.
      kernel_init: initializer of the kernel [kernel_size, in_features, features].
      dtype: of the computation (default: inferred from inputs and parameters).
      param_dtype: of the parameters.
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
        """Convolve; the outputs have as many time steps as the inputs, and 0 at padding."""
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
        inputs: Num[Array, "batch time features"],
        *,
        seq_lengths: PerExample | None = None,
        deterministic: bool | None = None,
        example_ids: PerExample | None = None,
    ) -> Num[Array, "batch pooled features"]:
        """Pool to ``ceil(time / window)`` steps; 0 at padding."""
        batch, time, features = inputs.shape
        lengths = normalize_lengths(seq_lengths, batch, time)
        missing = -time % self.window
        windows = (batch, (time + missing) // self.window, self.window)
        inputs = jnp.pad(inputs, ((0, 0), (0, missing), (0, 0)))
        valid = padding_mask(lengths, time + missing)
        # Not flax's max_pool: on CPUs its gradient takes longer than the convolution.
        steps = jnp.unstack(inputs.reshape(*windows, features), axis=2)
        valid_steps = jnp.unstack(valid.reshape(*windows, 1), axis=2)
        # A window has padding at its end, if at all: there the maximum so far stands in for it.
        highest = jnp.where(valid_steps[0], steps[0], 0)
        for step, valid in zip(steps[1:], valid_steps[1:], strict=True):
            highest = jnp.maximum(highest, jnp.where(valid, step, highest))
        return highest

    def output_lengths(self, seq_lengths: PerExample) -> Int[Array, " batch"]:
        """``ceil(seq_lengths / window)``, at least 1."""
        return jnp.maximum(-(-super().output_lengths(seq_lengths) // self.window), 1)
