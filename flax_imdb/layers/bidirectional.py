"""Bidirectional recurrent layers."""

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
    """Runs a recurrent layer in both directions (Schuster and Paliwal 1997).

    The directions have separate parameters, ``forward`` and ``backward``. The two directions of an
    :class:`LSTM` are computed in one call. `flax.linen.Bidirectional` also accepts these layers.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax_imdb.layers import LSTM, Bidirectional
      >>> inputs = jnp.ones((2, 5, 3))
      >>> layer = Bidirectional(LSTM(4))
      >>> params = layer.init(jax.random.key(0), inputs)
      >>> layer.apply(params, inputs, seq_lengths=[5, 2]).shape
      (2, 5, 8)

    Attributes:
      layer: the layer to run in both directions, for example ``LSTM(100)``.
      merge: how to combine the outputs: ``"concat"`` (2 * features), ``"sum"``, ``"average"`` or
        ``"product"``.
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
        """Run in both directions. Arguments and results are those of the layer.

        Carries are pairs (forward, backward). Outputs are in the order of the inputs.

        Raises:
          ValueError: `merge` is unknown.
        """
        if self.merge not in _MERGES:
            raise ValueError(f"merge {self.merge!r} is unknown: one of {', '.join(_MERGES)}")
        # A shallow clone of an `RNN` would share its cell.
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
