"""Logistic regression on n-grams, beside the encoder."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float, Int

from flax_imdb.layers import hash_ngrams, padding_mask

# Adam moves a weight by about the learning rate at each step, whatever its gradient's scale. The
# weights of so many features need not move far; with this factor they keep pace with an LSTM's.
_SCALE = 3.0


class Wide(nn.Module):
    """Logistic regression on which n-grams a text has, scaled by their log-count ratios.

    The features are those of the NB-SVM (Wang and Manning 2012); beside an encoder they are the
    wide part of a wide and deep model (Cheng et al. 2016). N-grams of all lengths share the buckets
    of `flax_imdb.layers.hash_ngrams`.

    Its parameters are ``log_ratios`` and ``weights``, both [buckets, classes], and ``bias``. The
    ratios are not trained: they come from the training texts, counted by
    `flax_imdb.training.log_count_ratios`. Until they are set they are 1.

    Attributes:
      num_classes: number of logits.
      ngrams: the longest n-grams; all from single tokens on are used.
      buckets: number of buckets.
      param_dtype: dtype of the parameters and the result.
    """

    num_classes: int
    ngrams: int
    buckets: int
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "batch time"], lengths: Int[Array, " batch"]
    ) -> Float[Array, "batch classes"]:
        """Logits of texts. An n-gram counts once in each; token 0 is padding."""
        shape = (self.buckets, self.num_classes)
        ratios = self.param("log_ratios", nn.initializers.ones, shape, self.param_dtype)
        weights = self.param("weights", nn.initializers.zeros, shape, self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, shape[1:], self.param_dtype)
        # Keras's padding is in front, and part of the length.
        valid = padding_mask(lengths, tokens.shape[1]) & (tokens != 0)
        logits = jnp.broadcast_to(bias, (tokens.shape[0], self.num_classes))
        for n in range(1, self.ngrams + 1):
            found = jnp.where(valid, hash_ngrams(tokens, n, self.buckets), self.buckets)
            found = jnp.sort(found, axis=1)  # One that comes again stands beside the first.
            is_first = jnp.diff(found, axis=1, prepend=-1) != 0
            counts = (is_first & (found < self.buckets))[..., None]
            found = jnp.minimum(found, self.buckets - 1)
            terms = jax.lax.stop_gradient(ratios)[found] * weights[found]
            logits = logits + _SCALE * jnp.sum(jnp.where(counts, terms, 0), axis=1)
        return logits
