"""Models with random parameters: what they compute matters here, not how well."""

import dataclasses
from typing import Any

import jax
import numpy as np

from flax_imdb.config import ExperimentConfig
from flax_imdb.data import DataConfig, DatasetInfo, Examples, Standardizer, Task, Vocabulary
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
    {"arch": "bilstm", "long": "windows", "pooling": "max_mean", "ngrams": 2, **WIDE},
    {"arch": "lstm", "classes": 2, "multi_label": True, **WIDE},
)
"""Settings of `untrained` in which all comes that a model can have."""


def untrained(
    arch: str = "lstm",
    classes: int = 2,
    padding: Any = "masked",
    long: Any = "tail",
    multi_label: bool = False,
    **settings: Any,
) -> TrainedModel:
    """A model that knows ten words, and the n-grams of 40 texts if it has a head for them."""
    config = ExperimentConfig(
        ModelConfig(arch, **{"embedding_features": 3, "features": 4, **settings}),
        DataConfig(
            dataset="synthetic",
            vocab_size=IDS,
            max_length=MAX_LENGTH,
            padding=padding,
            long=long,
        ),
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


def calibrated(model: TrainedModel, rows: int = 99) -> TrainedModel:
    """The model, as if it had been calibrated with rows of all probabilities."""
    conformity = tuple(np.linspace(0.02, 0.98, rows).tolist())
    return dataclasses.replace(model, info=dataclasses.replace(model.info, conformity=conformity))


def question(
    padding: str = "masked", rows: int = 40, *, lengths: bool = True, time: int = MAX_LENGTH
) -> Question:
    """Random texts, with one that is empty, one of a step, a full one and one of padding alone.

    Without `lengths`, ids alone tell what is padding.
    """
    rng = np.random.default_rng(1)
    sizes = np.append([0, 1, time, 5], rng.integers(0, time + 1, rows - 4))
    tokens = rng.integers(START, IDS, (rows, time))
    tokens[3] = PAD
    padded = np.where(np.arange(time) < sizes[:, None], tokens, PAD)
    if padding == "keras":
        return Question(padded[:, ::-1].astype(np.int32), np.full(rows, time, np.int32))
    if not lengths:
        return Question(
            padded.astype(np.int32), np.where(np.any(padded, 1), sizes, 0).astype(np.int32)
        )
    # What stands at padding does not matter.
    return Question(tokens.astype(np.int32), sizes.astype(np.int32))


# Of a mean that float32 cannot hold.
STANDARDIZER = Standardizer((5.0, -1234567.8, 0.1), (2.0, 30.0, 1.0), ("speed", "height", "mass"))


def untrained_on_sequences(arch: str = "lstm", classes: int = 2, **settings: Any) -> TrainedModel:
    """A model that reads numeric sequences of three features."""
    config = ExperimentConfig(
        ModelConfig(arch, **{"features": 4, **settings}),
        DataConfig(dataset="trips.npz", max_length=MAX_LENGTH),
        TrainConfig(averaging=None),
    )
    rng = np.random.default_rng(0)
    state = empty_state(config.state_creator(Task(classes, features=3)), 0)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype("f"), state.params)
    names = tuple(map(str, range(classes)))
    info = DatasetInfo("trips.npz", "none", names, STANDARDIZER)
    trainer = config.trainer(jax.devices()[:1])
    return TrainedModel(config, info, trainer.place(state.replace(params=params)), trainer)


def raw_sequences(rows: int = 40) -> list[np.ndarray]:
    """Random sequences for such a model, as they are given: one of a step, and a full one."""
    rng = np.random.default_rng(1)
    sizes = np.append([1, MAX_LENGTH], rng.integers(1, MAX_LENGTH + 1, rows - 2))
    mean, scale = STANDARDIZER.mean, STANDARDIZER.scale
    return [rng.normal(mean, scale, (size, 3)).astype(np.float32) for size in sizes]


def padded(sequences: list[np.ndarray], filling: float = 0.0) -> Question:
    """The sequences as an exported model takes them."""
    lengths = np.array([len(sequence) for sequence in sequences], np.int32)
    inputs = np.full((len(sequences), lengths.max(), sequences[0].shape[1]), filling, np.float32)
    for row, sequence in zip(inputs, sequences, strict=True):
        row[: len(sequence)] = sequence
    return Question(inputs, lengths)
