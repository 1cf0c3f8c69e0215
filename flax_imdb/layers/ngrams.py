"""Hashed n-grams of tokens."""

import jax.numpy as jnp
from jaxtyping import Array, Int, UInt


def hash_ngrams(tokens: Int[Array, "batch time"], n: int, buckets: int) -> Int[Array, "batch time"]:
    """The bucket of the `n` tokens that end at each step, int32 in [0, buckets).

    Steps before the first count as token 0. A bucket depends on no later token, so padding at the
    end changes none.

    The hash is MurmurHash3 (x86, 32 bits, seed 0) of the tokens as 32-bit integers, the oldest
    first, modulo `buckets`. Different n-grams may share a bucket: "the hashing trick" (Weinberger
    et al. 2009), used for word n-grams by fastText (Joulin et al. 2017).
    """
    time = tokens.shape[1]
    padded = jnp.pad(tokens.astype(jnp.uint32), ((0, 0), (n - 1, 0)))
    state = jnp.zeros(tokens.shape, jnp.uint32)
    for start in range(n):
        block = _rotate(padded[:, start : start + time] * jnp.uint32(0xCC9E2D51), 15)
        state = _rotate(state ^ (block * jnp.uint32(0x1B873593)), 13)
        state = state * jnp.uint32(5) + jnp.uint32(0xE6546B64)
    state ^= jnp.uint32(4 * n)  # The number of bytes.
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        state = (state ^ (state >> jnp.uint32(shift))) * jnp.uint32(factor)
    return ((state ^ (state >> jnp.uint32(16))) % jnp.uint32(buckets)).astype(jnp.int32)


def _rotate(bits: UInt[Array, "..."], left: int) -> UInt[Array, "..."]:
    return (bits << jnp.uint32(left)) | (bits >> jnp.uint32(32 - left))
