"""The classifier: embedding, encoder, pooling, head."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float, Int, Key

from flax_imdb.layers import (
    Dropout,
    PerExample,
    SequenceLayer,
    Window,
    global_pool,
    hash_ngrams,
    mean_of_windows,
    normalize_lengths,
    split_windows,
)
from flax_imdb.layers.sequence import ids_or_positions
from flax_imdb.models.wide import Wide


def keras_uniform(
    key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = jnp.float32
) -> Float[Array, "..."]:
    """Uniform in [-0.05, 0.05), the initializer of Keras's ``Embedding``."""
    return jax.random.uniform(key, shape, dtype, -0.05, 0.05)


Inputs = Int[Array, "batch time"] | Float[Array, "batch time features"]
"""Token ids, or the steps of numeric sequences."""


class Heads(NamedTuple):
    """The logits of the heads of a :class:`Classifier`, each [batch, classes].

    Attributes:
      mean: their weighted mean, which is the classifier's answer.
      each: those of the encoder, and of the n-grams if there is such a head.
    """

    mean: Float[Array, "batch classes"]
    each: tuple[Float[Array, "batch classes"], ...]


class Classifier(nn.Module):
    """Maps token ids to logits: embedding, encoder layers, pooling, dense head.

    It maps numeric sequences to logits, too: without an embedding, the encoder reads their steps.

    Attributes:
      vocab_size: number of token ids; None: it reads numeric sequences.
      embedding_features: width of the embedding.
      encoder: the layers between embedding and pooling, in order.
      pooling: ``"max"``, ``"mean"`` or ``"max_mean"`` (both) over the valid time steps; None if the
        last encoder layer returns one vector per row.
      num_classes: number of logits. 1 is a binary classifier whose logit is that of label 1.
      dropout: dropout rate of the embedded tokens, or of the steps, and of the head's inputs.
      head_dropout: that of the head's inputs, if it is another.
      word_dropout: rate at which whole tokens or steps are dropped: all of a step's features.
      ngrams: to the embedding of each token, add those of the n-grams of 2 to `ngrams` tokens that
        end with it. 1: none.
      ngram_buckets: number of embeddings for the n-grams of each length (see
        `flax_imdb.layers.hash_ngrams`).
      wide_ngrams: a second head reads the n-grams of 1 to `wide_ngrams` tokens alone (see
        `flax_imdb.models.Wide`). 0: none.
      wide_buckets: number of its buckets.
      wide_weight: its weight in the mean of both heads; that of the encoder is the rest up to 1.
      window: the encoder reads longer texts in windows that overlap, and the mean of their vectors
        goes to the head. The head is linear, so its logits are the mean of those of the windows.
        Tokens are embedded, and dropped, before the text is cut; the encoder's masks are the same
        in all windows of a text. None: it reads all texts in one piece.
      dtype: dtype of the computation of embedding and head (default: inferred from inputs and
        parameters; float32 even if the encoder computes in bfloat16).
      param_dtype: dtype of the parameters of embedding and head.
    """

    vocab_size: int | None
    embedding_features: int
    encoder: Sequence[SequenceLayer]
    pooling: str | None = None
    num_classes: int = 1
    dropout: float = 0.0
    head_dropout: float | None = None
    word_dropout: float = 0.0
    ngrams: int = 1
    ngram_buckets: int = 2**18
    wide_ngrams: int = 0
    wide_buckets: int = 2**20
    wide_weight: float = 0.5
    window: Window | None = None
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    def __call__(
        self,
        inputs: Inputs,
        lengths: PerExample | None = None,
        *,
        deterministic: bool = True,
        example_ids: PerExample | None = None,
    ) -> Float[Array, "batch classes"]:
        """Classify right-padded sequences.

        Args:
          inputs: ids in [0, vocab_size), or steps of numeric sequences. Values at padding do not
            matter.
          lengths: number of valid steps of each example. None: all steps.
          deterministic: if False, apply dropout, with the ``"dropout"`` key.
          example_ids: a number for each example, which determines its dropout masks (see
            `flax_imdb.layers.SequenceLayer`).

        Returns:
          Logits [batch, num_classes]: the weighted mean of those of the heads.
        """
        return self.heads(
            inputs, lengths, deterministic=deterministic, example_ids=example_ids
        ).mean

    @nn.compact
    def heads(
        self,
        inputs: Inputs,
        lengths: PerExample | None = None,
        *,
        deterministic: bool = True,
        example_ids: PerExample | None = None,
    ) -> Heads:
        """The logits of each head, and their mean.

        The arguments are those of a call. In training each head has a loss of its own, so that none
        leaves to another what it could learn itself.
        """
        drawn: dict[str, Any] = {"deterministic": deterministic, "example_ids": example_ids}
        lengths = normalize_lengths(lengths, *inputs.shape[:2])
        valid = lengths
        x = inputs if self.vocab_size is None else self._embedded(inputs, self.vocab_size)
        if not self.is_initializing():  # It would make a variable of this shape.
            # Adversarial training and explanations differentiate with respect to this, and add to
            # it.
            self.sow("intermediates", "embedded", x)
            x = self.perturb("embedded", x)
        x = Dropout(self.word_dropout, broadcast_dims=(-1,), name="word_dropout")(
            x, seq_lengths=lengths, **drawn
        )
        x = Dropout(self.dropout, name="Dropout_0")(x, seq_lengths=lengths, **drawn)
        # A symbolic size, in an export, is no int: it may be longer.
        time = x.shape[1]
        if self.window is None or (isinstance(time, int) and time <= self.window.length):
            x = self._encode(x, lengths, **drawn)
        else:
            x = self._encode_windows(x, lengths, self.window, **drawn)
        rate = self.dropout if self.head_dropout is None else self.head_dropout
        x = Dropout(rate, name="Dropout_1")(x, **drawn)
        deep = nn.Dense(
            self.num_classes,
            kernel_init=nn.initializers.glorot_uniform(),
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="head",
        )(x)
        if self.wide_ngrams == 0:
            return Heads(deep, (deep,))
        read = Wide(
            self.num_classes,
            self.wide_ngrams,
            self.wide_buckets,
            param_dtype=self.param_dtype,
            name="wide",
        )
        wide = read(inputs, valid).astype(deep.dtype)
        return Heads((1 - self.wide_weight) * deep + self.wide_weight * wide, (deep, wide))

    def _encode(
        self, x: Float[Array, "batch time features"], lengths: Any, **drawn: Any
    ) -> Float[Array, "batch vector"]:
        """One vector for each sequence."""
        for layer in self.encoder:
            x = layer(x, seq_lengths=lengths, **drawn)
            lengths = layer.output_lengths(lengths)
        return x if self.pooling is None else global_pool(x, lengths, self.pooling)

    def _encode_windows(
        self,
        x: Float[Array, "batch time features"],
        lengths: Int[Array, " batch"],
        window: Window,
        *,
        deterministic: bool,
        example_ids: PerExample | None,
    ) -> Float[Array, "batch vector"]:
        """The mean of the vectors of each sequence's windows."""
        windows = split_windows(x, lengths, window)
        batch, number, time, features = windows.inputs.shape
        ids = jnp.asarray(ids_or_positions(example_ids, batch))
        vectors = self._encode(
            windows.inputs.reshape(batch * number, time, features),
            windows.lengths.reshape(batch * number),
            deterministic=deterministic,
            example_ids=jnp.broadcast_to(ids[:, None], (batch, number)).reshape(batch * number),
        )
        return mean_of_windows(vectors.reshape(batch, number, vectors.shape[-1]), windows.exists)

    def _embedded(
        self, tokens: Int[Array, "batch time"], vocab_size: int
    ) -> Float[Array, "batch time features"]:
        x = self._embed("embedding", vocab_size)(tokens)
        for n in range(2, self.ngrams + 1):
            buckets = hash_ngrams(tokens, n, self.ngram_buckets)
            x = x + self._embed(f"embedding_of_{n}_grams", self.ngram_buckets)(buckets)
        return x

    def _embed(self, name: str, rows: int) -> nn.Embed:
        return nn.Embed(
            rows,
            self.embedding_features,
            embedding_init=keras_uniform,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name=name,
        )
