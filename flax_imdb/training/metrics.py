"""Loss and accuracy as weighted sums, which can be added over batches and devices."""

import math
from collections.abc import Mapping
from typing import Any, TypedDict

import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int


class Metrics(TypedDict):
    """Weighted sums over examples, each a float32 scalar.

    Keys:
      loss: summed cross-entropy, in nats.
      correct: number of examples with the right prediction.
      examples: number of examples.
    """

    loss: Float[Array, ""]
    correct: Float[Array, ""]
    examples: Float[Array, ""]


class StepMetrics(Metrics):
    """`Metrics` of a training step's batch, before the update.

    Keys:
      loss: summed cross-entropy, in nats.
      correct: number of examples with the right prediction.
      examples: number of examples.
      gradient_norm: global norm of the gradient of the mean loss, before clipping.
    """

    gradient_norm: Float[Array, ""]


def predict_labels(logits: Float[Array, "batch classes"]) -> Int[Array, " batch"]:
    """The most likely label; with one logit, 1 where it is above 0."""
    if logits.shape[-1] == 1:
        return (logits[:, 0] > 0).astype(jnp.int32)
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def compute_metrics(
    logits: Float[Array, "batch classes"],
    labels: Int[ArrayLike, " batch"],
    weights: Float[ArrayLike, " batch"],
) -> Metrics:
    """Metrics of a batch. The loss is sigmoid (one logit) or softmax cross-entropy."""
    logits = logits.astype(jnp.float32)
    if logits.shape[-1] == 1:
        losses = optax.sigmoid_binary_cross_entropy(logits[:, 0], labels)
    else:
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return {
        "loss": jnp.sum(losses * weights),
        "correct": jnp.sum((predict_labels(logits) == labels).astype(jnp.float32) * weights),
        "examples": jnp.sum(weights),
    }


def merge(sums: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, float]:
    """Add the metrics of `part` to `sums`, in double precision on the host."""
    return {name: sums[name] + float(np.sum(part[name], dtype=np.float64)) for name in sums}


def compute(sums: Mapping[str, Any]) -> tuple[float, float]:
    """Mean loss in nats and accuracy from summed metrics."""
    examples = float(sums["examples"]) or math.nan
    return float(sums["loss"]) / examples, float(sums["correct"]) / examples
