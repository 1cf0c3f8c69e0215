"""Logistic regression on n-grams, beside the encoder."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Bool, Float, Int

from flax_imdb.layers import hash_ngrams, padding_mask

NGRAM_HASHES = 2**31
"""Number of hashes, which tell n-grams in the same bucket from each other."""

# Adam moves a weight by about the learning rate at each step, whatever its gradient's scale. The
# weights of so many features need not move far; with this factor they keep pace with an LSTM's.
SCALE = 30.0
"""A factor of all terms."""


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
            # Sorted, so that one that comes again stands beside the first.
            found = jnp.sort(_look_up(owners, tokens, valid, n), axis=1)
            is_first = jnp.diff(found, axis=1, prepend=-1) != 0
            counts = (is_first & (found < self.buckets))[..., None]
            found = jnp.minimum(found, self.buckets - 1)
            terms = ratios[found] * weights[found]
            total += jnp.sum(jnp.where(counts, terms, 0), axis=1)
            number += jnp.sum(counts, axis=1)
        return bias + SCALE * total / jnp.sqrt(jnp.maximum(number, 1))


def _look_up(
    owners: Int[Array, " buckets"],
    tokens: Int[Array, "batch time"],
    valid: Bool[Array, "batch time"],
    n: int,
) -> Int[Array, "batch time"]:
    """The bucket of the `n` tokens that end at each step; the number of buckets if none is."""
    hashes = hash_ngrams(tokens, n, NGRAM_HASHES)
    found = hashes % len(owners)
    return jnp.where(valid & (owners[found] == hashes), found, len(owners))


def ngram_terms(
    variables: Mapping[str, Mapping[str, Any]], tokens: Int[np.ndarray, " time"], ngrams: int
) -> np.ndarray:
    """What each n-gram adds to the logits of :class:`Wide`.

    One that a text has several times counts once; each occurrence has an equal share of it.

    Args:
      variables: the module's ``params`` and ``constants``.
      tokens: of one text; token 0 is padding.
      ngrams: those of `Wide`.

    Returns:
      float64 [ngrams, time, classes]: of the n-gram of 1, 2, ... tokens that ends at each step. The
      sum and the bias are the logits.
    """
    owners = variables["constants"]["owners"]
    # Looked up by NumPy: JAX would compile that for each number of n-grams.
    ratios = np.asarray(variables["constants"]["log_ratios"])
    weights = np.asarray(variables["params"]["weights"])
    terms = np.zeros((ngrams, len(tokens), weights.shape[1]))
    row, number = jnp.asarray(tokens)[None], 0
    for n in range(1, ngrams + 1):
        found = np.asarray(_look_up(owners, row, row != 0, n))[0]
        steps = np.flatnonzero(found < len(owners))
        buckets, owner, times = np.unique(found[steps], return_inverse=True, return_counts=True)
        each = ratios[buckets].astype(float) * weights[buckets].astype(float)
        terms[n - 1, steps] = (each / times[:, None])[owner]
        number += len(buckets)
    return SCALE * terms / np.sqrt(max(number, 1))
