"""One experiment as one frozen value, and its JSON."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from flax_imdb import models
from flax_imdb.data import Batching, DataConfig
from flax_imdb.errors import InputError, UnsupportedError, check_between
from flax_imdb.models import ModelConfig
from flax_imdb.paths import unreadable
from flax_imdb.training import TrainConfig, TrainState, create_state

# What `--resume` may be given another value of. A run that has come so far without a step that is
# not finite is the one that would have skipped it.
MAY_CHANGE = ("epochs", "data_dir", "skip_nonfinite", "implementation")

# What a version without the setting did, where that is not its default.
_BEFORE = {"averaging": None}


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """Everything that decides the numbers of an experiment.

    Attributes:
      model: which classifier.
      data: on which reviews.
      training: how it is trained.
      runs: Train this many times, with seeds seed, seed + 1, ..., and report mean and spread.
    """

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    training: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    runs: int = 1

    def __post_init__(self) -> None:
        check_between("runs", self.runs, 1)
        if self.training.seed + self.runs > 2**32:
            raise InputError(
                f"`runs` {self.runs} from `seed` {self.training.seed} on needs a seed that is too "
                "large: below 2**32 is needed"
            )

    def batching(self, devices: int) -> Batching:
        """How examples become batches for this many devices."""
        return Batching(
            self.training.batch_size,
            self.data.max_length,
            self.data.padding,
            multiple_of=devices * self.training.microbatches,
        )

    def create_state(self) -> TrainState:
        """The model at step 0.

        Raises:
          InputError: the implementation does not compute this model here.
        """
        try:
            return create_state(
                models.build(self.model, self.data.vocab_size),
                learning_rate=self.training.learning_rate,
                seed=self.training.seed,
                clip_norm=self.training.clip_norm,
                averaging=self.training.averaging,
            )
        except UnsupportedError as problem:
            raise InputError(
                f"`implementation` {problem.implementation!r} {problem.reason}: "
                "'auto' takes another"
            ) from problem


def dump_config(config: ExperimentConfig) -> str:
    """As JSON: an object for each part, with its attributes."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def load_config(path: str | os.PathLike[str]) -> ExperimentConfig:
    """Read a file of what `dump_config` gives.

    Raises:
      InputError: the file cannot be read, or is not the configuration of an experiment.
    """
    try:
        parts: dict[str, Any] = json.loads(Path(path).read_text())
        parts["training"] = _BEFORE | parts["training"]
        return ExperimentConfig(
            model=ModelConfig(**parts.pop("model")),
            data=DataConfig(**parts.pop("data")),
            training=TrainConfig(**parts.pop("training")),
            **parts,
        )
    except OSError as error:
        raise unreadable(path, error) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is not the configuration of a run: {error}") from error


def settings(config: ExperimentConfig) -> dict[str, Any]:
    """The value of each setting, by its name."""
    by_name: dict[str, Any] = {}
    for name, value in dataclasses.asdict(config).items():
        by_name.update(value if isinstance(value, dict) else {name: value})
    return by_name


def identity(config: ExperimentConfig) -> dict[str, Any]:
    """The settings that tell an experiment from others; `resume` may change the rest."""
    return {name: value for name, value in settings(config).items() if name not in MAY_CHANGE}


def identity_of_old() -> dict[str, Any]:
    """What the settings are that the identity of an older version does not name."""
    return identity(ExperimentConfig()) | _BEFORE
