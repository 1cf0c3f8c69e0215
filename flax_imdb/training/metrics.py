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

Labels = Int[ArrayLike, " batch"] | Float[ArrayLike, "batch classes"]


class Metrics(TypedDict):
    """Weighted sums over examples, each a float32 scalar.

    Keys:
      loss: summed cross-entropy, in nats; where an example may have several labels, it is the mean
        over the labels.
      correct: number of examples with the right prediction: where they may have several labels, of
        those with all labels right.
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
      predicted: the most likely label, int32 [batch]; where an example may have several, 1 for each
        that is likelier than not, int32 [batch, classes].
      probability: that of the predicted label; with one logit, that of label 1. float32 [batch].
        Where there may be several, that of each label, float32 [batch, classes].
    """

    predicted: Int[Array, "batch ..."]
    probability: Float[Array, "batch ..."]


class Evaluation(NamedTuple):
    """An evaluation of a whole split.

    Attributes:
      loss: mean cross-entropy in nats.
      accuracy: in [0, 1]; where an example may have several labels, it is the share of the examples
        with all labels right.
      predicted: the most likely label of each example, int32 [examples]; where it may have several,
        1 for each that is predicted, int32 [examples, classes].
      probability: that of the predicted label; with two classes, that of label 1. float32
        [examples]. Where there may be several, that of each label, float32 [examples, classes].
    """

    loss: float
    accuracy: float
    predicted: np.ndarray
    probability: np.ndarray


def monitored(evaluation: Evaluation, labels: np.ndarray, classes: int, monitor: Monitor) -> float:
    """The value to monitor, as `flax_imdb.scores.score` has it.

    Args:
      evaluation: of examples with these labels.
      labels: int32 [examples]; or, where an example may have several, float32 [examples, classes].
      classes: their number.
      monitor: which value.
    """
    from sklearn.metrics import f1_score, roc_auc_score

    if monitor == "macro_f1":
        predicted, numbers = evaluation.predicted, range(classes)
        if classes == 1:  # Which scikit-learn takes for that of two classes, 0 and 1.
            labels, predicted, numbers = labels[:, 0], predicted[:, 0], range(1, 2)
        return float(f1_score(labels, predicted, labels=numbers, average="macro", zero_division=0))
    if monitor == "roc_auc":
        return float(roc_auc_score(labels, evaluation.probability))
    return evaluation.loss if monitor == "loss" else evaluation.accuracy


def check_monitor(monitor: Monitor, labels: np.ndarray, classes: int) -> None:
    """Raise InputError if a value is not defined for validation examples with these labels."""
    if monitor == "roc_auc" and labels.ndim == 2:
        raise InputError(
            "`monitor` roc_auc is for two classes, and a text may have several labels here: one of "
            "loss, accuracy and macro_f1 is for these"
        )
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


def class_probabilities(
    logits: Float[Array, "batch classes"], multi_label: bool = False
) -> Float[Array, "batch classes"]:
    """Probabilities in float32; with one logit, that of label 1.

    With `multi_label` each label has one of its own.
    """
    logits = logits.astype(jnp.float32)
    is_binary = multi_label or logits.shape[-1] == 1
    return jax.nn.sigmoid(logits) if is_binary else jax.nn.softmax(logits)


def of_each_class(probabilities: Any, multi_label: bool = False) -> Any:
    """A column for each class, of JAX or NumPy: two of the one that `class_probabilities` gives."""
    if multi_label or probabilities.shape[-1] > 1:
        return probabilities
    xp = jnp if isinstance(probabilities, jax.Array) else np
    return xp.concatenate([1 - probabilities, probabilities], axis=-1)


def predict_labels(
    logits: Float[Array, "batch classes"], multi_label: bool = False
) -> Int[Array, " batch"] | Int[Array, "batch classes"]:
    """The most likely label; with one logit, 1 where it is above 0.

    With `multi_label` it is 1 for each label whose logit is above 0.
    """
    if multi_label:
        return (logits > 0).astype(jnp.int32)
    if logits.shape[-1] == 1:
        return (logits[:, 0] > 0).astype(jnp.int32)
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def cross_entropy(
    logits: Float[Array, "batch classes"],
    labels: Labels,
    label_smoothing: float = 0.0,
) -> Float[Array, " batch"]:
    """Sigmoid (one logit) or softmax cross-entropy of each example, in nats.

    Where an example may have several labels, it is the mean of their sigmoid cross-entropies. So
    its size does not depend on their number, and nor does what a learning rate or `clip_norm` does.

    With `label_smoothing` a the target is 1 - a of the label, and a of all classes alike; of each
    of several labels, of it and its absence alike.
    """
    if jnp.ndim(labels) == 2:
        targets = jnp.asarray(labels) * (1 - label_smoothing) + label_smoothing / 2
        return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, targets), axis=-1)
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
    labels: Labels,
    weights: Float[ArrayLike, " batch"],
) -> Metrics:
    """Metrics of a batch. See `cross_entropy` for the loss.

    A label that is no class makes the loss NaN if `labels` is traced.

    Args:
      logits: the model's.
      labels: of each example; where it may have several, 1 for those that it has and 0 for others.
      weights: of the examples.

    Raises:
      ValueError: a label is no class, and `labels` is not traced.
    """
    logits = logits.astype(jnp.float32)
    multi_label = jnp.ndim(labels) == 2
    classes = 2 if multi_label else max(logits.shape[-1], 2)
    valid = (labels >= 0) & (labels < classes)  # type: ignore[operator]
    if not isinstance(valid, jax.core.Tracer) and not np.all(valid):
        wrong = np.asarray(labels)[~np.asarray(valid)][0]
        raise ValueError(f"label {wrong} is none of the {classes} classes, 0 to {classes - 1}")
    right = predict_labels(logits, multi_label) == labels
    if multi_label:
        valid, right = jnp.all(valid, axis=-1), jnp.all(right, axis=-1)
    losses = jnp.where(valid, cross_entropy(logits, labels), jnp.nan)
    return {
        "loss": jnp.sum(losses * weights),
        "correct": jnp.sum(right.astype(jnp.float32) * weights),
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
