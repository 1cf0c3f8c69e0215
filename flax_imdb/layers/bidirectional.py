"""Two passes over a sequence, one per direction."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from flax_imdb.layers.lstm import LSTM
from flax_imdb.layers.sequence import SequenceLayer

_MERGES: dict[str, Callable[[Array, Array], Array]] = {
    "concat": lambda forward, backward: jnp.concatenate([forward, backward], axis=-1),
    "sum": lambda forward, backward: forward + backward,
    "average": lambda forward, backward: (forward + backward) / 2,
    "product": lambda forward, backward: forward * backward,
}


class Bidirectional(SequenceLayer):
    """Runs a layer forward and a copy of it, with parameters of its own, in reverse.

    Source: Schuster and Paliwal 1997. The parameters are under ``forward`` and ``backward``.

    Attributes:
      layer: the layer to run in both directions, such as ``LSTM(100)``.
      merge: how the two outputs become one: ``"concat"`` (2 * features wide), ``"sum"``,
        ``"average"`` or ``"product"``.
    """

    layer: LSTM
    merge: str = "concat"

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "batch time in_features"],
        lengths: Int[Array, " batch"] | None = None,
        *,
        initial_carry: tuple[Any, Any] | None = None,
        deterministic: bool = True,
        rows: Int[Array, " batch"] | None = None,
    ) -> Any:
        """Run in both directions; arguments and results as the layer's own.

        Carries are pairs (forward, backward).

        Raises:
          ValueError: an unknown `merge`.
        """
        if self.merge not in _MERGES:
            raise ValueError(f"merge {self.merge!r} is unknown: one of {', '.join(_MERGES)}")
        results = [
            layer(inputs, lengths, initial_carry=carry, deterministic=deterministic, rows=rows)
            for layer, carry in zip(
                (
                    self.layer.clone(parent=self, name="forward"),
                    self.layer.clone(parent=self, name="backward", reverse=not self.layer.reverse),
                ),
                initial_carry or (None, None),
                strict=True,
            )
        ]
        if not self.layer.return_carry:
            return _MERGES[self.merge](*results)
        carries, outputs = zip(*results, strict=True)
        return carries, _MERGES[self.merge](*outputs)
