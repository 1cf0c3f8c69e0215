"""Models with random parameters: what they compute matters here, not how well."""

from typing import Any

import jax
import numpy as np

from flax_imdb.config import ExperimentConfig
from flax_imdb.data import DataConfig, DatasetInfo, Examples, Task, Vocabulary
from flax_imdb.data.tokenizer import PAD, START
from flax_imdb.export.check import Question
from flax_imdb.models import ModelConfig
from flax_imdb.predict import TrainedModel
from flax_imdb.training import TrainConfig
from flax_imdb.training.state import empty_state

WORDS = ["good", "bad", "a", "film", "the", "story", "of", "people", "time", "day"]
IDS = 3 + len(WORDS)
MAX_LENGTH = 13  # odd, for max pooling

# The architectures that differ in more than dropout.
ARCHITECTURES = ("lstm", "reversed_lstm", "bilstm", "conv_lstm")

# So few buckets that n-grams share them.
WIDE = {"wide_ngrams": 3, "wide_buckets": 60}

SETTINGS: tuple[dict[str, Any], ...] = (
    {"arch": "lstm_recurrent_dropout", "padding": "keras"},
    {"arch": "reversed_lstm", "classes": 4, "layers": 2, "pooling": "max"},
    {"arch": "bilstm", "layers": 2, "pooling": "mean", "ngrams": 3, "ngram_buckets": 30},
    {"arch": "conv_lstm", "padding": "keras", **WIDE},
    {"arch": "conv_lstm", "classes": 3, "pooling": "max_mean", "precision": "bfloat16", **WIDE},
    {"arch": "lstm", "classes": 2, "multi_label": True, **WIDE},
)
"""Settings of `untrained` in which all comes that a model can have."""


def untrained(
    arch: str = "lstm",
    classes: int = 2,
    padding: Any = "masked",
    multi_label: bool = False,
    **settings: Any,
) -> TrainedModel:
    """A model that knows ten words, and the n-grams of 40 texts if it has a head for them."""
    config = ExperimentConfig(
        ModelConfig(arch, **{"embedding_features": 3, "features": 4, **settings}),
        DataConfig(dataset="synthetic", vocab_size=IDS, max_length=MAX_LENGTH, padding=padding),
        TrainConfig(averaging=None),
    )
    rng = np.random.default_rng(0)
    state = empty_state(config.state_creator(Task(classes, multi_label)), 0)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype("f"), state.params)
    if "wide" in params:  # So that both heads matter.
        params["wide"]["weights"] *= 0.02
    texts = [rng.integers(START, IDS, MAX_LENGTH) for _ in range(40)]
    labels = rng.integers(0, 2, (40, classes)) if multi_label else rng.integers(0, classes, 40)
    counted = config.count_ngrams(state.replace(params=params), Examples.build(texts, labels))
    names = ("negative", "positive") if classes == 2 else tuple(map(str, range(classes)))
    thresholds = tuple(np.linspace(0.3, 0.7, classes).tolist()) if multi_label else ()
    vocabulary = Vocabulary(WORDS, "unicode")
    info = DatasetInfo("synthetic", "none", names, vocabulary, multi_label, thresholds)
    trainer = config.trainer(jax.devices()[:1])
    return TrainedModel(config, info, trainer.place(counted), trainer)


def question(padding: str = "masked", rows: int = 40, *, lengths: bool = True) -> Question:
    """Random texts, with one that is empty, one of a step, a full one and one of padding alone.

    Without `lengths`, ids alone tell what is padding.
    """
    rng = np.random.default_rng(1)
    sizes = np.append([0, 1, MAX_LENGTH, 5], rng.integers(0, MAX_LENGTH + 1, rows - 4))
    tokens = rng.integers(START, IDS, (rows, MAX_LENGTH))
    tokens[3] = PAD
    padded = np.where(np.arange(MAX_LENGTH) < sizes[:, None], tokens, PAD)
    if padding == "keras":
        return Question(padded[:, ::-1].astype(np.int32), np.full(rows, MAX_LENGTH, np.int32))
    if not lengths:
        return Question(
            padded.astype(np.int32), np.where(np.any(padded, 1), sizes, 0).astype(np.int32)
        )
    # What stands at padding does not matter.
    return Question(tokens.astype(np.int32), sizes.astype(np.int32))
