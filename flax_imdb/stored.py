"""The model in the directory of a run, or of an export: reading it, without any device."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from flax_imdb.config import ExperimentConfig, identity, identity_of_old
from flax_imdb.data import DatasetInfo
from flax_imdb.errors import InputError
from flax_imdb.exported import is_exported, read_exported, read_exported_config
from flax_imdb.paths import exists
from flax_imdb.results import Result
from flax_imdb.training import TrainState, averaged, empty_state
from flax_imdb.training.checkpoints import Checkpoints, Identity
from flax_imdb.workdir import Workdir


class Stored(NamedTuple):
    """What is read from the directory.

    Attributes:
      config: the experiment, with the implementation that any device has.
      info: the classes, and words to ids.
      state: the training state of the reported epoch in NumPy arrays, with the parameters to
        evaluate; that of an exported model has no optimizer state.
      result: the result of the run; None if it is not known.
    """

    config: ExperimentConfig
    info: DatasetInfo
    state: TrainState
    result: Result | None


def read_config(files: Workdir) -> ExperimentConfig:
    """The experiment of the model in a directory.

    Raises:
      InputError: there is none, or there are several.
    """
    if is_exported(files.path):
        return read_exported_config(files.path)
    config = files.config()
    if config is None:
        raise InputError(
            f"{files.setting} {files.path} holds no run: name a directory that train.py made"
        )
    if config.runs > 1:
        raise InputError(
            f"{files.setting} {files.path} holds {config.runs} runs: name one of them, "
            f"such as {files.path / f'seed-{config.training.seed}'}"
        )
    return config


def read_stored(files: Workdir) -> Stored:
    """Read the model in a directory. JAX starts here.

    Raises:
      InputError: there is none, it has no finished epoch, or its files do not match.
    """
    if is_exported(files.path):
        return with_variables(*read_exported(files.path))
    config, known = for_any_device(read_config(files)), files.dataset_info()
    read = None
    if known is not None and exists(files.checkpoints):
        of_run = Identity(identity(config), known.fingerprint, known.settled)
        with Checkpoints(
            files.checkpoints, of_run, defaults=identity_of_old(), read_only=True
        ) as checkpoints:
            create = config.state_creator(known.task)
            read = checkpoints.load(
                empty_state(create, config.training.seed), files.finished_epochs()
            )
    if known is None or read is None:
        raise InputError(
            f"{files.setting} {files.path} has no finished epoch yet: `resume` the run"
        )
    return Stored(config, known, averaged(read), files.result())


def with_variables(
    config: ExperimentConfig,
    info: DatasetInfo,
    variables: Mapping[str, Any],
    result: Result | None = None,
) -> Stored:
    """The model with these ``{"params": ..., "constants": ...}``, as if they had been stored."""
    config = for_any_device(config)
    state = empty_state(config.state_creator(info.task), config.training.seed)
    return Stored(config, info, state.replace(opt_state=(), **variables), result)


def for_any_device(config: ExperimentConfig) -> ExperimentConfig:
    """The experiment with the implementation that any device has."""
    # That of the training may not be available here.
    model = dataclasses.replace(config.model, implementation="auto")
    return dataclasses.replace(config, model=model)
