"""What training minimizes, and its gradient."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from flax_imdb.data.batching import Batch, inputs_of
from flax_imdb.training.metrics import Metrics, compute_metrics, cross_entropy

Apply = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Objective:
    """Cross-entropy of the labels, or variants of it.

    Attributes:
      label_smoothing: train towards targets that are mixed with this much of a uniform distribution
        (Szegedy et al. 2016).
      adversarial_norm: add the loss at the worst perturbation of the embedded tokens, or of
        numeric sequences of the standardized inputs, one of this
        norm over all steps and features of an example, to first order (Miyato et al. 2017,
        equations 1 to 3). 0: do not.
    """

    label_smoothing: float = 0.0
    adversarial_norm: float = 0.0

    def gradients(
        self, apply: Apply, params: Any, batch: Batch, key: Key[Array, ""]
    ) -> tuple[Any, Metrics]:
        """Gradient of the summed objective with respect to `params`, and the batch's metrics.

        Both are sums over examples. The objective is summed over the classifier's heads, too. The
        metrics are those of the heads' mean and of the labels as they are, without perturbation.

        Args:
          apply: that of a `flax_imdb.models.Classifier`.
          params: its parameters.
          batch: the batch.
          key: the dropout key. The perturbed examples have the same masks.
        """

        def loss(params: Any, perturbations: dict[str, Any]) -> tuple[Float[Array, ""], Metrics]:
            heads = apply(
                {"params": params} | perturbations,
                inputs_of(batch),
                batch["lengths"],
                deterministic=False,
                example_ids=batch["example_ids"],
                rngs={"dropout": key},
                method="heads",
            )
            labels, weights = batch["labels"], batch["weights"]
            metrics = compute_metrics(heads.mean, labels, weights)
            losses = [self._loss(logits, labels, weights) for logits in heads.each]
            return sum(losses[1:], losses[0]), metrics

        if self.adversarial_norm == 0:
            return jax.grad(loss, has_aux=True)(params, {})
        none = {"perturbations": self._no_perturbation(apply, params, batch)}
        (grads, slopes), metrics = jax.grad(loss, (0, 1), has_aux=True)(params, none)
        worst = jax.tree.map(lambda slope: perturbation(slope, self.adversarial_norm), slopes)
        more, _ = jax.grad(loss, has_aux=True)(params, worst)
        return jax.tree.map(jnp.add, grads, more), metrics

    def _loss(self, logits: Any, labels: Any, weights: Any) -> Float[Array, ""]:
        if self.label_smoothing == 0:
            return compute_metrics(logits, labels, weights)["loss"]
        return jnp.sum(cross_entropy(logits, labels, self.label_smoothing) * weights)

    def _no_perturbation(self, apply: Apply, params: Any, batch: Batch) -> Any:
        """Zeros in the shape of the classifier's ``perturbations``."""
        _, made = jax.eval_shape(
            lambda params: apply(
                {"params": params}, inputs_of(batch), batch["lengths"], mutable="perturbations"
            ),
            params,
        )
        return optax.tree.zeros_like(made["perturbations"])


def perturbation(
    slope: Float[Array, "batch time features"], norm: float
) -> Float[Array, "batch time features"]:
    """The step of this `norm` along each example's slope, along which its loss grows fastest.

    It is 0 where the slope is 0. Source: Miyato et al. 2017, equation 3.
    """
    axes = tuple(range(1, slope.ndim))
    # Divided by the largest first, so that no square underflows.
    largest = jnp.max(jnp.abs(slope), axis=axes, keepdims=True)
    unit = slope / jnp.where(largest == 0, 1, largest)
    length = jnp.sqrt(jnp.sum(unit**2, axis=axes, keepdims=True))
    return norm * unit / jnp.where(largest == 0, 1, length)
