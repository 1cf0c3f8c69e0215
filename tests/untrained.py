"""Models with random parameters, as `flax_imdb.load` returns them."""

from typing import Any

import jax
import numpy as np

from flax_imdb.config import ExperimentConfig
from flax_imdb.data import DataConfig, DatasetInfo, Vocabulary
from flax_imdb.devices import select_devices
from flax_imdb.export.check import Question
from flax_imdb.models import ModelConfig
from flax_imdb.predict import TrainedModel
from flax_imdb.training import TrainConfig

WORDS = ("good", "bad", "film", "a", "the", "dull", "ending", "of", "saved")
IDS = len(WORDS) + 3
MAX_LENGTH = 7  # odd, for max pooling


# The architectures that differ in more than dropout.
ARCHITECTURES = ("lstm", "reversed_lstm", "bilstm", "conv_lstm")


def untrained(
    arch: str = "lstm",
    classes: tuple[str, ...] = ("no", "yes"),
    padding: Any = "masked",
    **settings: Any,
) -> TrainedModel:
    """A small model, whose answers are far from uniform."""
    sizes = {"embedding_features": 3, "features": 4}
    config = ExperimentConfig(
        model=ModelConfig(arch, **(sizes | settings)),
        data=DataConfig("imported", padding=padding, vocab_size=IDS, max_length=MAX_LENGTH),
        training=TrainConfig(averaging=None, batch_size=8),
    )
    info = DatasetInfo("imported", "not known", classes, Vocabulary(WORDS))
    rng = np.random.default_rng(0)
    state = config.create_state(len(classes))
    noisy = jax.tree.map(
        lambda leaf: leaf + rng.normal(size=leaf.shape).astype(np.float32) / 2, state.params
    )
    trainer = config.trainer(select_devices("cpu", 8)[:1])
    return TrainedModel(config, info, trainer.place(state.replace(params=noisy)), trainer)


def a_batch(padding: str = "masked") -> Question:
    """Rows of all kinds of lengths, or that all have the greatest."""
    lengths = np.array([MAX_LENGTH, 1, 0, 3, 4], np.int32)
    tokens = np.random.default_rng(0).integers(1, IDS, (len(lengths), MAX_LENGTH), np.int32)
    tokens[np.arange(MAX_LENGTH) >= lengths[:, None]] = 0
    if padding == "keras":
        return Question(tokens[:, ::-1].copy(), np.full_like(lengths, MAX_LENGTH))
    return Question(tokens, lengths)
