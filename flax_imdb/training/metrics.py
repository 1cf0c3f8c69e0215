"""Loss and accuracy as weighted sums, which can be added over batches and devices."""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from flax_imdb.errors import InputError

Monitor = Literal["accuracy", "loss", "macro_f1", "roc_auc"]
"""What may decide on the best epoch."""


class Metrics(TypedDict):
    """Weighted sums over examples, each a float32 scalar.

    Keys:
      loss: summed cross-entropy, in nats.
      correct: number of examples with the right prediction.
      examples: number of examples.
      rows: number of examples whose weight is not 0, each counted as 1.
    """

    loss: Float[Array, ""]
    correct: Float[Array, ""]
    examples: Float[Array, ""]
    rows: Float[Array, ""]


class StepMetrics(Metrics):
    """`Metrics` of a training step's batch, before the update.

    Keys:
      loss: summed cross-entropy, in nats.
      correct: number of examples with the right prediction.
      examples: number of examples.
      rows: number of examples whose weight is not 0, each counted as 1.
      gradient_norm: global norm of the gradient of the mean loss, before clipping.
    """

    gradient_norm: Float[Array, ""]


class EvalMetrics(Metrics):
    """`Metrics` of a batch, and what was predicted for each of its rows.

    Keys:
      loss: summed cross-entropy, in nats.
      correct: number of examples with the right prediction.
      examples: number of examples.
      rows: number of examples whose weight is not 0, each counted as 1.
      predicted: the most likely label, int32 [batch].
      probability: that of the predicted label; with one logit, that of label 1. float32 [batch].
    """

    predicted: Int[Array, " batch"]
    probability: Float[Array, " batch"]


class Evaluation(NamedTuple):
    """An evaluation of a whole split.

    Attributes:
      loss: mean cross-entropy in nats.
      accuracy: in [0, 1].
      predicted: the most likely label of each example, int32 [examples].
      probability: that of the predicted label; with two classes, that of label 1. float32
        [examples].
    """

    loss: float
    accuracy: float
    predicted: np.ndarray
    probability: np.ndarray


def monitored(evaluation: Evaluation, labels: np.ndarray, classes: int, monitor: Monitor) -> float:
    """The value to monitor, as `flax_imdb.scores.score` has it.

    Args:
      evaluation: of examples with these labels.
      labels: int32 [examples].
      classes: their number.
      monitor: which value.
    """
    from sklearn.metrics import f1_score, roc_auc_score

    if monitor == "macro_f1":
        numbers = range(classes)
        return float(
            f1_score(labels, evaluation.predicted, labels=numbers, average="macro", zero_division=0)
        )
    if monitor == "roc_auc":
        return float(roc_auc_score(labels, evaluation.probability))
    return evaluation.loss if monitor == "loss" else evaluation.accuracy


def check_monitor(monitor: Monitor, labels: np.ndarray, classes: int) -> None:
    """Raise InputError if a value is not defined for validation examples with these labels."""
    if monitor == "roc_auc" and classes != 2:
        raise InputError(
            f"`monitor` roc_auc is for two classes, and there are {classes}: one of accuracy, loss "
            "and macro_f1 is for any number"
        )
    if monitor == "roc_auc" and len(np.unique(labels)) < 2:
        raise InputError(
            f"`monitor` roc_auc needs both classes among the {len(labels)} validation texts: more "
            "`validation_examples` may have both"
        )


def class_probabilities(logits: Float[Array, "batch classes"]) -> Float[Array, "batch classes"]:
    """Probabilities in float32; with one logit, that of label 1."""
    logits = logits.astype(jnp.float32)
    return jax.nn.sigmoid(logits) if logits.shape[-1] == 1 else jax.nn.softmax(logits)


def of_each_class(probabilities: Any) -> Any:
    """A column for each class, of JAX or NumPy: two of the one that `class_probabilities` gives."""
    if probabilities.shape[-1] > 1:
        return probabilities
    xp = jnp if isinstance(probabilities, jax.Array) else np
    return xp.concatenate([1 - probabilities, probabilities], axis=-1)


def predict_labels(logits: Float[Array, "batch classes"]) -> Int[Array, " batch"]:
    """The most likely label; with one logit, 1 where it is above 0."""
    if logits.shape[-1] == 1:
        return (logits[:, 0] > 0).astype(jnp.int32)
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def cross_entropy(
    logits: Float[Array, "batch classes"],
    labels: Int[ArrayLike, " batch"],
    label_smoothing: float = 0.0,
) -> Float[Array, " batch"]:
    """Sigmoid (one logit) or softmax cross-entropy of each example, in nats.

    With `label_smoothing` a the target is 1 - a of the label, and a of all classes alike.
    """
    if label_smoothing == 0:
        if logits.shape[-1] == 1:
            return optax.sigmoid_binary_cross_entropy(logits[:, 0], labels)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    if logits.shape[-1] == 1:
        targets = jnp.asarray(labels) * (1 - label_smoothing) + label_smoothing / 2
        return optax.sigmoid_binary_cross_entropy(logits[:, 0], targets)
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), label_smoothing)
    return optax.softmax_cross_entropy(logits, targets)


def compute_metrics(
    logits: Float[Array, "batch classes"],
    labels: Int[ArrayLike, " batch"],
    weights: Float[ArrayLike, " batch"],
) -> Metrics:
    """Metrics of a batch. The loss is sigmoid (one logit) or softmax cross-entropy.

    A label that is no class makes the loss NaN if `labels` is traced.

    Raises:
      ValueError: a label is no class, and `labels` is not traced.
    """
    logits = logits.astype(jnp.float32)
    classes = max(logits.shape[-1], 2)
    valid = (labels >= 0) & (labels < classes)  # type: ignore[operator]
    if not isinstance(valid, jax.core.Tracer) and not np.all(valid):
        wrong = np.asarray(labels)[~np.asarray(valid)][0]
        raise ValueError(f"label {wrong} is none of the {classes} classes, 0 to {classes - 1}")
    losses = jnp.where(valid, cross_entropy(logits, labels), jnp.nan)
    return {
        "loss": jnp.sum(losses * weights),
        "correct": jnp.sum((predict_labels(logits) == labels).astype(jnp.float32) * weights),
        "examples": jnp.sum(weights),
        "rows": jnp.sum(jnp.asarray(weights) != 0, dtype=jnp.float32),
    }


def merge(sums: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, float]:
    """Add the metrics of `part` to `sums`, in double precision on the host."""
    return {name: sums[name] + float(np.sum(part[name], dtype=np.float64)) for name in sums}


def compute(sums: Mapping[str, Any]) -> tuple[float, float]:
    """Mean loss in nats and accuracy from summed metrics."""
    examples = float(sums["examples"]) or math.nan
    return float(sums["loss"]) / examples, float(sums["correct"]) / examples
