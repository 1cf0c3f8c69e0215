"""Two passes over a sequence, one per direction."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from flax_imdb.layers.recurrent import RecurrentLayer, run
from flax_imdb.layers.sequence import PerExample, SequenceLayer

_MERGES: dict[str, Callable[[Array, Array], Array]] = {
    "concat": lambda forward, backward: jnp.concatenate([forward, backward], axis=-1),
    "sum": lambda forward, backward: forward + backward,
    "average": lambda forward, backward: (forward + backward) / 2,
    "product": lambda forward, backward: forward * backward,
}


class Bidirectional(SequenceLayer):
    """Runs a layer forward, and a copy of it with parameters of its own in reverse.

    Source: Schuster and Paliwal 1997. The parameters are under ``forward`` and ``backward``. Two
    :class:`LSTM` are computed in one call. `flax.linen.Bidirectional` takes this project's layers
    as well.

    Attributes:
      layer: the layer to run in both directions, such as ``LSTM(100)``.
      merge: how the two outputs become one: ``"concat"`` (2 * features wide), ``"sum"``,
        ``"average"`` or ``"product"``.
    """

    layer: RecurrentLayer
    merge: str = "concat"

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "*batch time in_features"],
        *,
        initial_carry: tuple[Any, Any] | None = None,
        init_key: Any = None,
        seq_lengths: PerExample | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        deterministic: bool | None = None,
        example_ids: PerExample | None = None,
    ) -> Any:
        """Run in both directions; arguments and results as the layer's own.

        Carries are pairs (forward, backward), and outputs have the order of the inputs.

        Raises:
          ValueError: an unknown `merge`.
        """
        if self.merge not in _MERGES:
            raise ValueError(f"merge {self.merge!r} is unknown: one of {', '.join(_MERGES)}")
        # Deep, or the two directions of an `RNN` would share its cell.
        layers = [
            self.layer.clone(parent=self, name=name, _deep_clone=True)
            for name in ("forward", "backward")
        ]
        results = run(
            layers,
            inputs,
            initial_carries=initial_carry or (None, None),
            init_keys=[None, None] if init_key is None else list(jax.random.split(init_key)),
            seq_lengths=seq_lengths,
            time_major=self.layer.time_major if time_major is None else time_major,
            reverse=(False, True),
            keep_order=True,
            deterministic=deterministic,
            example_ids=example_ids,
        )
        carries, outputs = zip(*results, strict=True)
        merged = _MERGES[self.merge](*outputs)
        return_carry = self.layer.return_carry if return_carry is None else return_carry
        return (carries, merged) if return_carry else merged
