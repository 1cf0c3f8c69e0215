"""Dropout masks in matrix products."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def mask_of_gate(mask: Float[Array, "batch gates width"], gate: int) -> Float[Array, "batch width"]:
    """The mask of one gate, from masks per gate or from one shared by all gates."""
    return mask[:, gate if mask.shape[1] == 4 else 0]


def masked_product(
    inputs: Float[Array, "batch width"],
    kernel: Float[Array, "width gates_features"],
    mask: Float[Array, "batch gates width"] | None,
) -> Float[Array, "batch gates_features"]:
    """``(inputs * mask) @ kernel``, gate by gate if there are four masks."""
    if mask is None:
        return inputs @ kernel
    if mask.shape[1] == 1:
        return (inputs * mask[:, 0]) @ kernel
    products = [
        (inputs * gate_mask) @ gate_kernel
        for gate_mask, gate_kernel in zip(
            jnp.unstack(mask, axis=1), jnp.split(kernel, 4, axis=1), strict=True
        )
    ]
    return jnp.concatenate(products, axis=-1)
