"""Logistic regression on n-grams, beside the encoder."""

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float, Int

from flax_imdb.layers import hash_ngrams, padding_mask

NGRAM_HASHES = 2**31
"""Number of hashes, which tell n-grams in the same bucket from each other."""

# Adam moves a weight by about the learning rate at each step, whatever its gradient's scale. The
# weights of so many features need not move far; with this factor they keep pace with an LSTM's.
_SCALE = 30.0


class Wide(nn.Module):
    """Logistic regression on which n-grams a text has, scaled by their log-count ratios.

    The features are those of the NB-SVM (Wang and Manning 2012), divided by the square root of how
    many a text has; beside an encoder they are the wide part of a wide and deep model (Cheng et al.
    2016). N-grams of all lengths share the buckets, of which each is for one n-gram: another one
    whose hash has the same remainder does not count.

    Its parameters are ``weights`` [buckets, classes] and ``bias``. Its collection ``"constants"``
    has what is not trained: ``owners`` [buckets] and ``log_ratios`` [buckets, classes]. It comes
    from the training texts, counted by `flax_imdb.training.count_ngrams`. Until it is set, no
    n-gram counts.

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
        owners = self.variable("constants", "owners", jnp.full, shape[:1], -1, jnp.int32).value
        ratios = self.variable("constants", "log_ratios", jnp.zeros, shape, self.param_dtype).value
        weights = self.param("weights", nn.initializers.zeros, shape, self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, shape[1:], self.param_dtype)
        # Keras's padding is in front, and part of the length.
        valid = padding_mask(lengths, tokens.shape[1]) & (tokens != 0)
        total = jnp.zeros((tokens.shape[0], self.num_classes), self.param_dtype)
        number = jnp.zeros((tokens.shape[0], 1), jnp.int32)
        for n in range(1, self.ngrams + 1):
            hashes = hash_ngrams(tokens, n, NGRAM_HASHES)
            found = hashes % self.buckets
            found = jnp.where(valid & (owners[found] == hashes), found, self.buckets)
            found = jnp.sort(found, axis=1)  # One that comes again stands beside the first.
            is_first = jnp.diff(found, axis=1, prepend=-1) != 0
            counts = (is_first & (found < self.buckets))[..., None]
            found = jnp.minimum(found, self.buckets - 1)
            terms = ratios[found] * weights[found]
            total += jnp.sum(jnp.where(counts, terms, 0), axis=1)
            number += jnp.sum(counts, axis=1)
        return bias + _SCALE * total / jnp.sqrt(jnp.maximum(number, 1))
