"""Keras, on the backend that $KERAS_BACKEND names, compiled by its defaults."""

from collections.abc import Sequence

import keras
import numpy as np

from flax_imdb.data import Examples, Planned
from flax_imdb.devices import DeviceName, select_devices
from flax_imdb.errors import InputError
from peers import ARCHITECTURES, LEARNING_RATE, Contestant, Task, front_padded


class Peer(Contestant):
    """The tutorial's models as they stand there."""

    def __init__(self, task: Task):
        self._backend = _backend(task.device)
        self._task = task
        self._model = build(task)
        self._model.compile(
            loss="binary_crossentropy",
            optimizer=keras.optimizers.Adam(LEARNING_RATE),
            metrics=["accuracy"],
        )

    def versions(self) -> dict[str, str]:
        """Of Keras and its backend."""
        return {"keras": keras.__version__, **self._backend}

    def load(self, examples: Examples, plan: Sequence[Planned]) -> None:
        """Make the batches, which are all of one length."""
        batches = front_padded(self._task, examples, plan)
        if keras.backend.backend() == "jax":
            tokens, labels = zip(*batches, strict=True)
            self._epoch = np.concatenate(tokens), np.concatenate(labels)
        else:
            self._batches = keras.tree.map_structure(keras.ops.convert_to_tensor, batches)

    def train(self) -> None:
        """Train one step on each batch, in the way that is faster."""
        if keras.backend.backend() == "jax":
            tokens, labels = self._epoch
            size = self._task.batch_size
            self._model.fit(tokens, labels, batch_size=size, shuffle=False, verbose=0)
        else:
            # What `fit` compiles; on TensorFlow a call of `fit` itself takes 0.1 s to begin.
            for tokens, labels in self._batches:
                self._model.train_on_batch(tokens, labels)


def build(task: Task) -> keras.Model:
    """The tutorial's model of an architecture."""
    arch = ARCHITECTURES[task.arch]
    layers = keras.layers
    dropout = [layers.Dropout(arch.dropout)] if arch.dropout else []
    convolution = [
        layers.Conv1D(32, 3, padding="same", activation="relu"),
        layers.MaxPooling1D(2),
    ]
    lstm = layers.LSTM(
        task.features,
        go_backwards=arch.reverse,
        dropout=arch.recurrent_dropout,
        recurrent_dropout=arch.recurrent_dropout,
    )
    return keras.Sequential(
        [
            layers.Embedding(task.vocab_size, task.embedding_features),
            *dropout,
            *(convolution if arch.conv else []),
            layers.Bidirectional(lstm) if arch.bidirectional else lstm,
            *dropout,
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def _backend(device: DeviceName) -> dict[str, str]:
    """The version of the backend, once it is known to have the device."""
    if keras.backend.backend() == "jax":
        import jax

        select_devices(device)
        return {"jax": jax.__version__}
    import tensorflow as tf

    if not tf.config.list_logical_devices(device.upper()):
        raise InputError(f"`device` {device} is not there: this TensorFlow finds none")
    return {"tensorflow": tf.__version__}
