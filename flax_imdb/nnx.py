"""The layers and the classifier as Flax NNX modules.

A module here holds the parameters of a layer of `flax_imdb.layers`, under the same names, and calls
that layer with them. So there is one implementation of the recurrence and of dropout, and results
and masks are those of linen. `flax.nnx.bridge.ToNNX` does the same for any linen module. What it
lacks of an NNX module is here: parameters that exist without a first call, `train` and `eval`, and
a call that draws keys only for dropout, so that every other call can be traced by JAX's transforms.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import errors, nnx
from flax import linen as nn
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Float, Int

from flax_imdb import layers, models
from flax_imdb.layers import PerExample

DropoutRngs: TypeAlias = nnx.Rngs | nnx.RngStream | jax.Array | None
"""Where a key for dropout comes from: the stream ``"dropout"``, a stream, or the key itself."""


class Constant(nnx.Variable):
    """A variable that is not trained, of linen's collection ``"constants"``."""


_KINDS = {"params": nnx.Param, "constants": Constant}


class _FromLinen(nnx.Module):
    """An NNX module with the variables of a linen module, which it calls.

    Args:
      linen: the linen module.
      inputs: of its first call. Their values, and the number of examples, do not matter.
      deterministic: if True, disable dropout.
      rngs: the key of the stream ``"params"`` initializes the parameters as in ``linen.init``;
        ``"dropout"`` is forked if there is any dropout.
    """

    def __init__(
        self, linen: nn.Module, *inputs: Any, deterministic: bool = False, rngs: nnx.Rngs
    ) -> None:
        self.linen = linen
        self.deterministic = deterministic
        variables = linen.init(rngs.params(), *inputs)
        has_dropout = _needs_key(linen, variables, *inputs)
        self.rngs: Any = nnx.data(
            nnx.RngStream(rngs.dropout(), tag="dropout") if has_dropout else None
        )
        for (collection, *path, name), value in flatten_dict(variables).items():
            node = self
            for part in path:
                if not hasattr(node, part):
                    setattr(node, part, nnx.Dict())
                node = getattr(node, part)
            setattr(node, name, _KINDS[collection](value))

    def variables(self) -> dict[str, Any]:
        """The variables of the linen module: ``layer.linen.apply(layer.variables(), ...)``."""
        states = nnx.state(self, *_KINDS.values())
        return dict(zip(_KINDS, map(nnx.to_pure_dict, states), strict=True))

    def set_variables(self, variables: Mapping[str, Any]) -> None:
        """Replace all variables by those of a linen module.

        Args:
          variables: ``{"params": ...}``, and ``"constants"`` if there are any.

        Raises:
          ValueError: the names or shapes are not those of this module.
        """
        own, new = (flatten_dict(tree, sep="/") for tree in (self.variables(), variables))
        for path in sorted(own.keys() | new.keys()):
            if path not in own:
                raise ValueError(f"{type(self).__name__} has no {path}")
            if path not in new:
                raise ValueError(f"{path} is missing")
            if jnp.shape(new[path]) != own[path].shape:
                raise ValueError(
                    f"{path} has shape {jnp.shape(new[path])}: {own[path].shape} is needed"
                )
        nnx.update(self, *(jax.tree.map(jnp.asarray, tree) for tree in variables.values()))

    def set_view(self, deterministic: bool | None = None) -> None:
        """Set what `nnx.view` sets.

        Args:
          deterministic: if True, disable dropout.
        """
        if deterministic is not None:
            self.deterministic = deterministic

    def _apply(
        self, *args: Any, deterministic: bool | None, rngs: DropoutRngs, **options: Any
    ) -> Any:
        if deterministic is None:
            deterministic = self.deterministic
        drops = not deterministic and self.rngs is not None
        return self.linen.apply(
            self.variables(),
            *args,
            deterministic=deterministic,
            rngs={"dropout": self._key(rngs)} if drops else None,
            **options,
        )

    def _key(self, rngs: DropoutRngs) -> jax.Array:
        if isinstance(rngs, jax.Array):
            return rngs
        stream = rngs.dropout if isinstance(rngs, nnx.Rngs) else rngs
        # nnx.Bidirectional passes a stream for carries that are drawn.
        if stream is None or stream.tag == "carry":
            stream = self.rngs
        return stream()


def _needs_key(linen: nn.Module, variables: Any, *inputs: Any) -> bool:
    """Whether a call in training needs a key."""
    try:
        jax.eval_shape(partial(linen.apply, deterministic=False), variables, *inputs)
    except errors.InvalidRngError:
        return True
    return False


class LSTMCell(_FromLinen, nnx.RNNCellBase):
    """`flax_imdb.layers.LSTMCell` in NNX: the LSTM cell of Keras.

    The parameters are ``kernel``, ``recurrent_kernel`` and ``bias``. In `flax.nnx.RNN` pass
    ``broadcast_rngs="dropout"``, so that the masks are the same at every step.

    Args:
      in_features: size of the inputs.
      features: size of the state and output.
      deterministic: if True, disable dropout.
      rngs: see `flax_imdb.nnx.LSTM`.
      options: other attributes of `flax_imdb.layers.LSTMCell`, such as ``dropout``.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        deterministic: bool = False,
        rngs: nnx.Rngs,
        **options: Any,
    ) -> None:
        linen = layers.LSTMCell(features, **options)
        step = jnp.zeros((0, in_features))
        carry = linen.initialize_carry(None, step.shape)
        super().__init__(linen, carry, step, deterministic=deterministic, rngs=rngs)

    def __call__(
        self,
        carry: tuple[Float[Array, "*batch features"], Float[Array, "*batch features"]],
        inputs: Float[Array, "*batch in_features"],
        *,
        deterministic: bool | None = None,
        rngs: DropoutRngs = None,
    ) -> tuple[
        tuple[Float[Array, "*batch features"], Float[Array, "*batch features"]],
        Float[Array, "*batch features"],
    ]:
        """One time step.

        Args:
          carry: the cell state c and the hidden state h, both [batch, features].
          inputs: [batch, in_features].
          deterministic: overrides the attribute.
          rngs: overrides the stream of the cell. With the same key the masks are the same.

        Returns:
          The new carry (c, h), and h in the dtype of the computation.
        """
        return self._apply(carry, inputs, deterministic=deterministic, rngs=rngs)

    def initialize_carry(  # type: ignore[override]
        self, input_shape: tuple[int, ...], rngs: Any = None
    ) -> tuple[Float[Array, "*batch features"], Float[Array, "*batch features"]]:
        """A carry of zeros for inputs of shape (*batch, in_features). `rngs` is unused."""
        return self.linen.initialize_carry(None, input_shape)

    @property
    def num_feature_axes(self) -> int:
        """Number of feature axes of the inputs, for `flax.nnx.RNN`."""
        return 1


class LSTM(_FromLinen):
    """`flax_imdb.layers.LSTM` in NNX: an LSTM over right-padded sequences.

    It can replace ``flax.nnx.RNN(cell)``, including in `flax.nnx.Bidirectional`. The parameters are
    under ``cell``.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from flax_imdb.nnx import LSTM
      >>> layer = LSTM(3, 4, recurrent_dropout=0.2, rngs=nnx.Rngs(0))
      >>> layer.cell.kernel.shape
      (3, 16)
      >>> layer.eval()  # no dropout
      >>> inputs = jnp.ones((2, 5, 3))  # [batch, time, in_features]
      >>> (c, h), outputs = layer(inputs, seq_lengths=jnp.array([5, 2]), return_carry=True)
      >>> outputs.shape, h.shape
      ((2, 5, 4), (2, 4))

    Args:
      in_features: size of the inputs.
      features: size of the state and outputs.
      deterministic: if True, disable dropout.
      rngs: its stream ``"params"`` initializes the parameters. If there is dropout, the keys of its
        masks come from a fork of the stream ``"dropout"``.
      options: other attributes of `flax_imdb.layers.LSTM`, such as ``dropout`` or ``reverse``.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        deterministic: bool = False,
        rngs: nnx.Rngs,
        **options: Any,
    ) -> None:
        linen = layers.LSTM(features, **options)
        inputs = jnp.zeros((0, 1, in_features))
        super().__init__(linen, inputs, deterministic=deterministic, rngs=rngs)

    def __call__(
        self,
        inputs: Float[Array, "*batch time in_features"],
        *,
        initial_carry: Any = None,
        seq_lengths: PerExample | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        deterministic: bool | None = None,
        example_ids: PerExample | None = None,
        rngs: DropoutRngs = None,
    ) -> Any:
        """Run over the sequences. See `flax_imdb.layers.RecurrentLayer`.

        Args:
          inputs: one vector per time step. Values at padding are ignored.
          initial_carry: the carry before the first step. By default zeros.
          seq_lengths: number of valid steps of each example. By default all steps are valid.
          return_carry: also return the final carry.
          time_major: whether time is the leading axis.
          reverse: whether to run from the last valid step to the first.
          keep_order: whether reverse outputs are in the order of the inputs.
          deterministic: overrides the attribute.
          example_ids: one integer per example, which determines its dropout masks.
          rngs: overrides the stream of the layer for the key of the dropout masks.

        Returns:
          The outputs [batch, time, features], 0 at padding, or [batch, features] without
          `return_sequences`. With `return_carry`, ``(carry, outputs)``.
        """
        return self._apply(
            inputs,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            return_carry=return_carry,
            time_major=time_major,
            reverse=reverse,
            keep_order=keep_order,
            deterministic=deterministic,
            example_ids=example_ids,
            rngs=rngs,
        )


class Bidirectional(_FromLinen):
    """`flax_imdb.layers.Bidirectional` in NNX: an LSTM in each direction.

    The two are computed in one call. The parameters are under ``forward`` and ``backward``.

    Args:
      in_features: size of the inputs.
      features: size of the state of each direction.
      merge: how to combine the outputs: ``"concat"`` (2 * features), ``"sum"``, ``"average"`` or
        ``"product"``.
      deterministic: if True, disable dropout.
      rngs: see `LSTM`.
      options: other attributes of `flax_imdb.layers.LSTM`, such as ``dropout``.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        merge: str = "concat",
        deterministic: bool = False,
        rngs: nnx.Rngs,
        **options: Any,
    ) -> None:
        linen = layers.Bidirectional(layers.LSTM(features, **options), merge=merge)
        inputs = jnp.zeros((0, 1, in_features))
        super().__init__(linen, inputs, deterministic=deterministic, rngs=rngs)

    def __call__(
        self,
        inputs: Float[Array, "*batch time in_features"],
        *,
        initial_carry: tuple[Any, Any] | None = None,
        seq_lengths: PerExample | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        deterministic: bool | None = None,
        example_ids: PerExample | None = None,
        rngs: DropoutRngs = None,
    ) -> Any:
        """Run in both directions. Arguments and results are those of :class:`LSTM`.

        Carries are pairs (forward, backward). Outputs are in the order of the inputs.
        """
        return self._apply(
            inputs,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            return_carry=return_carry,
            time_major=time_major,
            deterministic=deterministic,
            example_ids=example_ids,
            rngs=rngs,
        )


class Classifier(_FromLinen):
    """`flax_imdb.models.Classifier` in NNX: token ids to logits.

    Args:
      config: the architecture and its sizes; those registered with `flax_imdb.models.register` are
        known, too.
      vocab_size: number of token ids.
      num_classes: number of logits. 1 is a binary classifier.
      window: longer texts are read in windows (see `flax_imdb.models.Classifier`).
      deterministic: if True, disable dropout.
      rngs: see `LSTM`.

    Raises:
      InputError: settings contradict each other.
    """

    def __init__(
        self,
        config: models.ModelConfig,
        vocab_size: int,
        num_classes: int = 1,
        *,
        window: layers.Window | None = None,
        deterministic: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        linen = models.build(config, vocab_size, num_classes, window)
        tokens = jnp.zeros((0, 1), jnp.int32)
        super().__init__(linen, tokens, deterministic=deterministic, rngs=rngs)

    def __call__(
        self,
        tokens: Int[Array, "batch time"],
        lengths: PerExample | None = None,
        *,
        deterministic: bool | None = None,
        example_ids: PerExample | None = None,
        rngs: DropoutRngs = None,
    ) -> Float[Array, "batch classes"]:
        """Classify right-padded sequences.

        Args:
          tokens: ids in [0, vocab_size). Values at padding do not matter.
          lengths: number of valid steps of each example. None: all steps.
          deterministic: overrides the attribute.
          example_ids: one integer per example, which determines its dropout masks.
          rngs: overrides the stream of the classifier for the key of the dropout masks.

        Returns:
          Logits [batch, num_classes]: the weighted mean of those of the heads.
        """
        return self.heads(
            tokens, lengths, deterministic=deterministic, example_ids=example_ids, rngs=rngs
        ).mean

    def heads(
        self,
        tokens: Int[Array, "batch time"],
        lengths: PerExample | None = None,
        *,
        deterministic: bool | None = None,
        example_ids: PerExample | None = None,
        rngs: DropoutRngs = None,
    ) -> models.Heads:
        """The logits of each head, and their mean. The arguments are those of a call."""
        return self._apply(
            tokens,
            lengths,
            method="heads",
            deterministic=deterministic,
            example_ids=example_ids,
            rngs=rngs,
        )
