"""Two passes over a sequence, one per direction."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from flax_imdb.layers.lstm import LSTM, run_together
from flax_imdb.layers.sequence import RowNumbers, SequenceLayer
from flax_imdb.ops import ONE_LAUNCH

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
        lengths: RowNumbers | None = None,
        *,
        initial_carry: tuple[Any, Any] | None = None,
        deterministic: bool = True,
        rows: RowNumbers | None = None,
    ) -> Any:
        """Run in both directions; arguments and results as the layer's own.

        Carries are pairs (forward, backward).

        Raises:
          ValueError: an unknown `merge`.
        """
        if self.merge not in _MERGES:
            raise ValueError(f"merge {self.merge!r} is unknown: one of {', '.join(_MERGES)}")
        layers = (
            self.layer.clone(parent=self, name="forward"),
            self.layer.clone(parent=self, name="backward", reverse=not self.layer.reverse),
        )
        carries = initial_carry or (None, None)
        # A subclass may compute something else.
        if type(self.layer) is LSTM and self.layer.implementation in ONE_LAUNCH:
            results = run_together(
                layers, inputs, lengths, carries, deterministic=deterministic, rows=rows
            )
        else:
            results = [
                layer(inputs, lengths, initial_carry=carry, deterministic=deterministic, rows=rows)
                for layer, carry in zip(layers, carries, strict=True)
            ]
        if not self.layer.return_carry:
            return _MERGES[self.merge](*results)
        final_carries, outputs = zip(*results, strict=True)
        return final_carries, _MERGES[self.merge](*outputs)
