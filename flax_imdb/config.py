"""The configuration of an experiment, and its JSON form."""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from flax_imdb import models
from flax_imdb.data import (
    Batching,
    DataConfig,
    Dataset,
    Examples,
    OnRead,
    Task,
    WordVectors,
    read_word_vectors,
)
from flax_imdb.devices import make_mesh
from flax_imdb.errors import InputError, UnsupportedError, check_between
from flax_imdb.layers import Window
from flax_imdb.models import Classifier, ModelConfig
from flax_imdb.paths import unreadable
from flax_imdb.training import (
    TrainConfig,
    Trainer,
    TrainState,
    count_ngrams,
    restarted,
    state_creator,
)

T = TypeVar("T", ModelConfig, DataConfig, TrainConfig)

# Settings that `--resume` may change. `skip_nonfinite` is one of them because it has made no
# difference to a run without non-finite steps. Texts, word vectors and the run that another one
# started from may move; a fingerprint tells whether they are the same.
MAY_CHANGE = (
    *("epochs", "dataset", "test_dataset", "data_dir", "embeddings", "init_from"),
    *("skip_nonfinite", "implementation"),
)

# How versions without a setting behaved, if that differs from its default.
_BEFORE: dict[str, dict[str, Any]] = {"training": {"averaging": None}, "data": {"text": "keras"}}


class Recipe(NamedTuple):
    """Settings that go together.

    Attributes:
      about: what they are for, in a line.
      settings: those that differ from the defaults, by name.
    """

    about: str
    settings: dict[str, Any]


RECIPES: dict[str, Recipe] = {
    "tutorial": Recipe(
        "the Keras tutorial's words and optimizer, for any architecture; padding stays masked",
        {"text": "keras", "clip_norm": None, "averaging": None},
    ),
    "strong": Recipe(
        "for accuracy: an LSTM over a convolution, and logistic regression on n-grams",
        {
            **{"arch": "conv_lstm", "features": 64, "embedding_features": 64},
            **{"pooling": "max_mean", "vocab_size": 30_000, "max_length": 1000},
            **{"wide_ngrams": 3, "wide_weight": 0.8},
            **{"dropout": 0.2, "word_dropout": 0.2, "head_dropout": 0.5},
            **{"epochs": 3, "learning_rate": 2e-3, "schedule": "cosine", "adversarial_norm": 0.2},
            "averaging": None,
        },
    ),
}
"""The recipes, by name."""


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """Everything that decides the numbers of an experiment.

    Attributes:
      model: The classifier.
      data: The texts, and how they become tokens.
      training: How to train.
      runs: Train this many times, with seeds seed, seed + 1, ..., and report mean and standard
        deviation.
      init_from: Start from the parameters, the vocabulary and the classes of the finished run in
        this directory, or of an exported model; its other settings are the defaults.
      init_fingerprint: SHA-256 of what init-from holds; the run finds it, and another one that is
        given is refused.
      new_head: With init-from, the classes are those of the texts, and the layers that tell them
        apart are initialized anew.
      recipe: The recipe that these settings started from: tutorial or strong. In Python it is a
        name alone: the function `recipe` returns the settings.
    """

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    training: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    runs: int = 1
    init_from: str | None = None
    init_fingerprint: str | None = None
    new_head: bool = False
    recipe: str | None = None

    def __post_init__(self) -> None:
        if self.recipe is not None and self.recipe not in RECIPES:
            raise InputError(f"`recipe` {self.recipe} is unknown: one of {', '.join(RECIPES)}")
        check_between("runs", self.runs, 1)
        if isinstance(self.init_from, os.PathLike):
            object.__setattr__(self, "init_from", os.fspath(self.init_from))
        for setting, value in (
            ("new_head", self.new_head),
            ("init_fingerprint", self.init_fingerprint),
        ):
            if value and self.init_from is None:
                raise InputError(f"`{setting}` {value} has no effect without `init_from`")
        embeddings = self.training.embeddings
        if embeddings is not None and self.init_from is not None:
            raise InputError(
                f"`embeddings` {embeddings} has no effect: `init_from` gives the embedding"
            )
        if self.training.freeze_embeddings and embeddings is None and self.init_from is None:
            raise InputError(
                "`freeze_embeddings` has no effect: `embeddings` must name a file of word vectors, "
                "or `init_from` a run"
            )
        if self.data.validation_examples == 0:
            if self.training.patience is not None:
                raise InputError(
                    f"`patience` {self.training.patience} needs `validation_examples`: the number "
                    "of training texts to hold out"
                )
            if self.training.monitor != TrainConfig.monitor:
                raise InputError(
                    f"`monitor` {self.training.monitor} has no effect without `validation_examples`"
                )
        if self.data.multi_label and self.training.class_weights is not None:
            raise InputError(
                f"`class_weights` {self.training.class_weights} makes no sense with `multi_label`: "
                "a text is not of one class; `validation_examples` choose each label's threshold"
            )
        if self.training.seed + self.runs > 2**32:
            raise InputError(
                f"`runs` {self.runs} with `seed` {self.training.seed} needs seeds that are too "
                "large: seeds must be below 2**32"
            )

    def classifier(self, task: Task = Task()) -> Classifier:
        """The classifier of a task."""
        stride = self.data.stride
        window = None if stride is None else Window(self.data.max_length, stride)
        return models.build(self.model, self.vocab_size(task), task.num_logits, window)

    def batching(self, devices: int) -> Batching:
        """The batching for this many devices."""
        return Batching(
            self.training.batch_size,
            self.data.max_length,
            self.data.padding,
            multiple_of=devices * self.training.microbatches,
            stride=self.data.stride,
        )

    def vocab_size(self, task: Task) -> int | None:
        """Number of token ids; None: the classifier of this task reads numeric sequences."""
        return self.data.vocab_size if task.features is None else None

    def trainer(self, devices: list[jax.Device]) -> Trainer:
        """What trains and evaluates on these devices."""
        return Trainer(
            make_mesh(devices),
            self.batching(len(devices)),
            self.training.microbatches,
            self.training.objective,
        )

    def state_creator(self, task: Task = Task(), steps: int = 1) -> Callable[[int], TrainState]:
        """What creates the training state of a task at step 0 from a seed.

        The learning rate's schedule is for a training of this many `steps`. It raises InputError if
        the implementation does not support this model on this device, or if there is no embedding
        to freeze.
        """
        if self.training.freeze_embeddings and task.features is not None:
            raise InputError("`freeze_embeddings` has no effect: numeric sequences have no words")
        create = state_creator(
            self.classifier(task),
            learning_rate=self.training.rate(steps),
            weight_decay=self.training.weight_decay,
            clip_norm=self.training.clip_norm,
            averaging=self.training.averaging,
            frozen=("embedding",) if self.training.freeze_embeddings else (),
            features=task.features,
        )

        def create_or_refuse(seed: int) -> TrainState:
            try:
                return create(seed)
            except UnsupportedError as problem:
                raise InputError(
                    f"`implementation` {problem.implementation!r} {problem.reason}: "
                    "'auto' takes another"
                ) from problem

        return create_or_refuse

    def read_word_vectors(
        self, dataset: Dataset, on_read: OnRead = lambda what, done, total: None
    ) -> WordVectors | None:
        """The vectors that the embedding begins with; None: `embeddings` names no file.

        Raises:
          InputError: the file cannot be read, or has no vectors of the dataset's words.
        """
        training, info = self.training, dataset.info
        if training.embeddings is None:
            return None
        if info.task.features is not None:
            raise InputError(
                f"`embeddings` {training.embeddings} has no effect: numeric sequences have no words"
            )
        return read_word_vectors(
            training.embeddings, info.vocabulary, training.embeddings_digest, on_read
        )

    def with_vectors(self, vectors: WordVectors) -> "ExperimentConfig":
        """The experiment with the width of these vectors, and with what identifies their file."""
        return dataclasses.replace(
            self,
            model=dataclasses.replace(self.model, embedding_features=vectors.width),
            training=dataclasses.replace(
                self.training, embeddings=vectors.path, embeddings_digest=vectors.sha256
            ),
        )

    def begin(
        self, state: TrainState, examples: Examples, vectors: WordVectors | None = None
    ) -> TrainState:
        """The state at step 0 with what it takes from the training texts and from word vectors."""
        if vectors is not None:
            embedding = state.params["embedding"]["embedding"].at[vectors.ids].set(vectors.vectors)
            params = {**state.params, "embedding": {"embedding": embedding}}
            state = restarted(state, state.replace(params=params))
        return self.count_ngrams(state, examples)

    def count_ngrams(self, state: TrainState, examples: Examples) -> TrainState:
        """The state with the constants that its classifier takes from the training texts."""
        if self.model.wide_ngrams == 0:
            return state
        buckets, logits = state.params["wide"]["weights"].shape
        counted = count_ngrams(examples, logits, self.model.wide_ngrams, buckets)
        return state.replace(constants={"wide": jax.tree.map(jnp.asarray, counted._asdict())})

    def create_state(self, task: Task = Task(), steps: int = 1) -> TrainState:
        """The training state of a task at step 0, for a training of this many `steps`.

        Raises:
          InputError: the implementation does not support this model on this device.
        """
        return self.state_creator(task, steps)(self.training.seed)


def recipe(name: str) -> ExperimentConfig:
    """The experiment with the settings of the recipe; `dataclasses.replace` changes it.

    Raises:
      InputError: there is no such recipe.
    """
    config = ExperimentConfig(recipe=name)
    settings = RECIPES[name].settings

    def with_settings(part: T) -> T:
        own = {field.name for field in dataclasses.fields(part)}
        return dataclasses.replace(part, **{key: settings[key] for key in own & settings.keys()})

    return dataclasses.replace(
        config,
        model=with_settings(config.model),
        data=with_settings(config.data),
        training=with_settings(config.training),
    )


def dump_config(config: ExperimentConfig) -> str:
    """The configuration as JSON: one object per part, with its attributes."""
    return json.dumps(dataclasses.asdict(config), indent=2, allow_nan=False) + "\n"


def load_config(path: str | os.PathLike[str]) -> ExperimentConfig:
    """Read a file written with `dump_config`.

    Raises:
      InputError: the file cannot be read or is not a configuration.
    """
    try:
        parts: dict[str, Any] = json.loads(Path(path).read_text())
        if "architectures" in parts:
            raise InputError(
                f"{path} is that of an exported model, which is no run: evaluate, predict, "
                "explain, serve and export know it, and nothing else"
            )
        return parse_config(parts)
    except InputError:
        raise
    except OSError as error:
        raise unreadable(path, error) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is not the configuration of a run: {error}") from error


def parse_config(parts: Mapping[str, Any]) -> ExperimentConfig:
    """The configuration with these attributes of each part, as in the JSON of `dump_config`.

    Raises:
      Exception: InputError if a setting makes no sense; KeyError, TypeError or AttributeError if it
        is something else.
    """
    rest = dict(parts)
    for part, values in _BEFORE.items():
        rest[part] = values | rest[part]
    return ExperimentConfig(
        model=ModelConfig(**rest.pop("model")),
        data=DataConfig(**rest.pop("data")),
        training=TrainConfig(**rest.pop("training")),
        **rest,
    )


def settings(config: ExperimentConfig) -> dict[str, Any]:
    """All settings by name, without nesting."""
    by_name: dict[str, Any] = {}
    for name, value in dataclasses.asdict(config).items():
        by_name.update(value if isinstance(value, dict) else {name: value})
    return by_name


def identity(config: ExperimentConfig) -> dict[str, Any]:
    """The settings that identify an experiment; `resume` may change the others."""
    return {name: value for name, value in settings(config).items() if name not in MAY_CHANGE}


def identity_of_old() -> dict[str, Any]:
    """Values for the settings that are missing in an identity written by an older version."""
    before = {name: value for part in _BEFORE.values() for name, value in part.items()}
    return identity(ExperimentConfig()) | before
