"""Training, evaluation and prediction steps, as pure functions."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from flax_imdb.data.batching import Batch, inputs_of
from flax_imdb.training.metrics import (
    EvalMetrics,
    Metrics,
    StepMetrics,
    class_probabilities,
    compute_metrics,
    predict_labels,
)
from flax_imdb.training.objectives import Objective
from flax_imdb.training.state import TrainState


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    axis_name: str | None = None,
    microbatches: int = 1,
    objective: Objective = Objective(),
) -> tuple[TrainState, StepMetrics]:
    """Update the state with the gradient of the batch's mean objective.

    If the loss or its gradient is not finite, only the step counter advances; parameters and
    optimizer state are unchanged. The metrics show it.

    ``jax.jit`` runs it on one device, or, with a sharded batch, on all devices of a mesh.
    ``jax.pmap(partial(train_step, axis_name="batch"), axis_name="batch")`` and ``jax.shard_map``
    replicate it: each device then gets a share of the batch, and gradients and metrics are summed
    over devices.

    Args:
      state: the state to update.
      batch: the batch, or the device's share of it.
      axis_name: the mapped axis to sum over; None without a mapped axis.
      microbatches: compute the gradients of the batch (or share) in this many parts, one after
        another, which needs less memory, and update once with their sum. It must divide the number
        of rows.
      objective: what to minimize.

    Returns:
      The updated state, and the batch's metrics before the update.
    """
    grads, metrics = sum_gradients(state, batch, microbatches, objective)
    if axis_name is not None:
        grads, metrics = lax.psum((grads, metrics), axis_name)
    return apply_gradients(state, grads, metrics)


def sum_gradients(
    state: TrainState, batch: Batch, microbatches: int = 1, objective: Objective = Objective()
) -> tuple[Any, Metrics]:
    """The first half of a step: gradients of the summed objective by what is trained; the metrics.

    Both are sums over examples, so the sums over parts of a batch add up to those of the batch.
    """
    key = jax.random.fold_in(state.dropout_key, state.step)

    def gradients(params: Any, batch: Batch) -> tuple[Any, Metrics]:
        return objective.gradients(state.apply, params, batch, key)

    if microbatches == 1:
        return gradients(state.trained, batch)

    def add(sums: Any, part: Batch) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, sums, gradients(state.trained, part)), None

    # A part is every `microbatches`-th row, so that the parts of a sharded batch are sharded, too.
    parts = jax.tree.map(
        lambda rows: rows.reshape(-1, microbatches, *rows.shape[1:]).swapaxes(0, 1), batch
    )
    shapes = jax.eval_shape(gradients, state.trained, jax.tree.map(lambda rows: rows[0], parts))
    zeros = jax.tree.map(lambda sum: jnp.zeros(sum.shape, sum.dtype), shapes)
    return lax.scan(add, zeros, parts)[0]


def apply_gradients(
    state: TrainState, grads: Any, metrics: Metrics
) -> tuple[TrainState, StepMetrics]:
    """The second half of a step: divide the summed gradients and update the state.

    They are divided by the number of rows, and not by the sum of their weights: a batch that has
    more weight than others must move the parameters more.
    """
    rows = jnp.maximum(metrics["rows"], 1)
    grads = jax.tree.map(lambda grad: (grad / rows).astype(grad.dtype), grads)
    norm = optax.tree.norm(grads).astype(jnp.float32)
    finite = jnp.isfinite(norm) & jnp.isfinite(metrics["loss"])
    updated = state.apply_gradients(grads=grads)
    trained, opt_state = jax.tree.map(
        lambda new, old: jnp.where(finite, new, old),
        (updated.trained, updated.opt_state),
        (state.trained, state.opt_state),
    )
    params = {**state.params, **trained}
    return updated.replace(params=params, opt_state=opt_state), {**metrics, "gradient_norm": norm}


def eval_step(state: TrainState, batch: Batch, *, axis_name: str | None = None) -> EvalMetrics:
    """The batch's metrics and predictions, without dropout; can be mapped like `train_step`."""
    logits, multi_label = _logits(state, batch), batch["labels"].ndim == 2
    metrics = compute_metrics(logits, batch["labels"], batch["weights"])
    if axis_name is not None:
        metrics = lax.psum(metrics, axis_name)
    probabilities = class_probabilities(logits, multi_label)
    return {
        **metrics,
        "predicted": predict_labels(logits, multi_label),
        "probability": probabilities if multi_label else jnp.max(probabilities, axis=-1),
    }


def predict_step(
    state: TrainState, batch: Batch, multi_label: bool = False
) -> Float[Array, "batch classes"]:
    """Class probabilities; with one logit, the probability of label 1.

    With `multi_label` it is the probability of each label.
    """
    return class_probabilities(_logits(state, batch), multi_label)


def _logits(state: TrainState, batch: Batch) -> Float[Array, "batch classes"]:
    return state.apply({"params": state.params}, inputs_of(batch), batch["lengths"])
