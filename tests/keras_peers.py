"""The tutorial's models in Keras, and conversion of their parameters to Flax."""

from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

VOCAB_SIZE, EMBEDDING_FEATURES, FEATURES = 50, 6, 5


def build(
    arch: str,
    *,
    mask: bool,
    vocab_size: int = VOCAB_SIZE,
    embedding_features: int = EMBEDDING_FEATURES,
    features: int = FEATURES,
) -> keras.Model:
    """The tutorial's model for `arch`, by default small, without its final sigmoid.

    With `mask`, token 0 is padding, which Keras's LSTM skips.
    """
    model = keras.Sequential(
        [
            keras.layers.Embedding(vocab_size, embedding_features, mask_zero=mask),
            *_encoder(arch, features),
            keras.layers.Dense(1),
        ]
    )
    model.build((None, None))
    return model


def build_of_sequences(arch: str, features: int) -> keras.Model:
    """The same for numeric sequences of so many features, without an embedding."""
    model = keras.Sequential([*_encoder(arch, FEATURES), keras.layers.Dense(1)])
    model.build((None, None, features))
    return model


def _encoder(arch: str, features: int) -> list[keras.Layer]:
    dropping = {"dropout": 0.2, "recurrent_dropout": 0.2}
    convolution = [
        keras.layers.Conv1D(32, 3, padding="same", activation="relu"),
        # For the tutorial's even lengths this equals its "valid".
        keras.layers.MaxPooling1D(2, padding="same"),
    ]
    return {
        "lstm": [keras.layers.LSTM(features)],
        "lstm_dropout": [keras.layers.LSTM(features)],
        "lstm_recurrent_dropout": [keras.layers.LSTM(features, **dropping)],
        "reversed_lstm": [keras.layers.LSTM(features, go_backwards=True)],
        "bilstm": [keras.layers.Bidirectional(keras.layers.LSTM(features, **dropping))],
        "conv_lstm": [*convolution, keras.layers.LSTM(features)],
        "conv_lstm_dropout": [*convolution, keras.layers.LSTM(features)],
    }[arch]


def to_flax(arch: str, arrays: list[Any]) -> dict[str, Any]:
    """Convert Keras's parameters (or their gradients), in its order, to our classifier's tree."""
    embedding, *encoder, kernel, bias = arrays
    tree: dict[str, Any] = {
        "embedding": {"embedding": embedding},
        "head": {"kernel": kernel, "bias": bias},
    }
    if arch.startswith("conv"):
        tree["encoder_0"] = {"conv": {"kernel": encoder[0], "bias": encoder[1]}}
        tree["encoder_2"] = {"cell": cell(encoder[2:])}
    elif arch == "bilstm":
        tree["encoder_0"] = {
            "forward": {"cell": cell(encoder[:3])},
            "backward": {"cell": cell(encoder[3:])},
        }
    else:
        tree["encoder_0"] = {"cell": cell(encoder)}
    return tree


def cell(arrays: list[Any]) -> dict[str, Any]:
    """Convert an LSTM's parameters."""
    return dict(zip(("kernel", "recurrent_kernel", "bias"), arrays, strict=True))


def logits_and_gradients(
    model: keras.Model, tokens: np.ndarray, labels: np.ndarray
) -> tuple[jax.Array, list[jax.Array]]:
    """Keras's logits, and the gradients of its mean binary cross-entropy, without dropout."""

    def loss(variables: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
        logits, _ = model.stateless_call(
            variables,
            [variable.value for variable in model.non_trainable_variables],
            jnp.asarray(tokens),
            training=False,
        )
        losses = keras.losses.binary_crossentropy(labels[:, None], logits, from_logits=True)
        return jnp.mean(losses), logits

    gradients, logits = jax.jit(jax.grad(loss, has_aux=True))(
        [variable.value for variable in model.trainable_variables]
    )
    return logits, gradients
