"""Where a run starts that goes on from another one: parameters, vocabulary, classes, settings."""

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict

from flax_imdb.config import ExperimentConfig
from flax_imdb.data import OF_ROWS, DataConfig, DatasetInfo
from flax_imdb.data.sources import IMPORTED
from flax_imdb.distributed import on_main
from flax_imdb.errors import InputError
from flax_imdb.exported import is_exported
from flax_imdb.paths import absolute_path
from flax_imdb.stored import Stored, read_config, read_stored
from flax_imdb.training import TrainConfig, TrainState, restarted
from flax_imdb.workdir import Workdir

# What of a classifier's variables depends on the classes.
_HEADS = ("head", "wide")

# Of the model's settings, those that change how it is computed, and not what.
_HOW = ("implementation", "remat_steps")


class Start(NamedTuple):
    """What a run starts from.

    Attributes:
      info: the classes, and words to ids.
      fingerprint: SHA-256 that identifies all of it.
      variables: the parameters and constants, as ``{"params": ..., "constants": ...}``, in NumPy
        arrays. Only the first process has them.
    """

    info: DatasetInfo
    fingerprint: str
    variables: Mapping[str, Any]


def start_from(path: str | os.PathLike[str]) -> ExperimentConfig:
    """The experiment that goes on from a finished run, on texts that are still to be named.

    Its settings are those of the run, except for which rows there are (`dataset` and what goes with
    it, subsets, validation rows with `patience` and `monitor`), `embeddings` and `runs`.

    Args:
      path: the directory of the run, or that of an exported model.

    Raises:
      InputError: there is none, or there are several.
    """
    started = read_config(_files(path))
    rows = {name: getattr(DataConfig, name) for name in OF_ROWS}
    # The parameters have what was taken from word vectors.
    names = ("patience", "monitor", "embeddings", "embeddings_digest")
    own = {name: getattr(TrainConfig, name) for name in names}
    return dataclasses.replace(
        started,
        data=dataclasses.replace(started.data, **rows),
        training=dataclasses.replace(started.training, **own),
        runs=1,
        init_from=os.fspath(path),
        init_fingerprint=None,
        new_head=False,
    )


def read_start(config: ExperimentConfig) -> Start:
    """Read what a run starts from: the directory `config.init_from`.

    Raises:
      InputError: it holds no finished run, settings of `config` contradict it, or it is not that of
        `config.init_fingerprint`.
    """
    variables: dict[str, Any] = {}
    return Start(*_read(config, variables), variables)


@on_main
def _read(config: ExperimentConfig, variables: dict[str, Any]) -> tuple[DatasetInfo, str]:
    assert config.init_from is not None
    files = _files(config.init_from)
    before, where = read_config(files), f"the run in {files.path}"
    check_settings(config, before, where)
    if config.recipe != before.recipe:
        raise InputError(f"`recipe` {config.recipe} is not what {where} has ({before.recipe})")
    stored = read_stored(files)
    _check_finished(stored, files)
    variables.update(params=stored.state.params, constants=stored.state.constants)
    fingerprint = _fingerprint(stored.info, variables)
    if config.init_fingerprint not in (None, fingerprint):
        raise InputError(
            f"`init_from` {files.path} is not what the run started from: other parameters, words "
            "or classes are there now"
        )
    return stored.info, fingerprint


def _files(path: str | os.PathLike[str]) -> Workdir:
    return Workdir(path, setting="`init_from`")


def check_settings(config: ExperimentConfig, started: ExperimentConfig, where: str) -> None:
    """Raise InputError if settings of the model differ from those that it was trained with.

    Args:
      config: the experiment that is to go on.
      started: the experiment that it is to go on from.
      where: the latter's name.
    """
    parts = ((config.model, started.model, _HOW), (config.data, started.data, OF_ROWS))
    for ours, theirs, may_differ in parts:
        for field in dataclasses.fields(ours):
            value, other = getattr(ours, field.name), getattr(theirs, field.name)
            if field.name not in may_differ and value != other:
                raise InputError(f"`{field.name}` {value} is not what {where} has ({other})")


def _check_finished(stored: Stored, files: Workdir) -> None:
    """Raise InputError if the model is that of a run that has not finished."""
    config, result = stored.config, stored.result
    # Of the estimator, from elsewhere, or exported: what has no result may be a whole model.
    saved = files.has("estimator.json") or config.data.dataset == IMPORTED
    if saved or is_exported(files.path):
        return
    if result is None or (result.epochs < config.training.epochs and not result.stopped_early):
        raise InputError(
            f"{files.setting} {files.path} holds a run that has not finished: `resume` it first"
        )


def _fingerprint(info: DatasetInfo, variables: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(f"{info.inputs.fingerprint} {info.classes}\n".encode())
    for name, array in sorted(flatten_dict(variables, sep=".").items()):
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.asarray(array).tobytes())
    return digest.hexdigest()


def started(state: TrainState, variables: Mapping[str, Any], new_head: bool = False) -> TrainState:
    """A state at step 0 with parameters and constants of another one.

    Args:
      state: a new state, whose optimizer, dropout key and, with `new_head`, heads are kept.
      variables: see `Start`.
      new_head: whether to keep what depends on the classes.
    """
    kept = _HEADS if new_head else ()
    replaced = {}
    for collection, old in variables.items():
        new = getattr(state, collection)
        replaced[collection] = {name: (new if name in kept else old)[name] for name in new}
    return restarted(state, state.replace(**replaced))


def absolute(config: ExperimentConfig) -> ExperimentConfig:
    """The experiment with the absolute path of what it starts from, if there is such a path."""
    if config.init_from is None:
        return config
    path = absolute_path("`init_from`", _files(config.init_from).path)
    return dataclasses.replace(config, init_from=path)


def is_inside(path: str | os.PathLike[str], workdir: Workdir) -> bool:
    """Whether a directory is that of a run, or in it."""
    return _files(path).path.resolve().is_relative_to(workdir.path.resolve())
