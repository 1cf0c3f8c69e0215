"""The directory of an exported model, as on the Hugging Face Hub: what is in it, and reading it."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from flax_imdb.config import ExperimentConfig, parse_config
from flax_imdb.data import DatasetInfo, Task
from flax_imdb.errors import InputError, one_line
from flax_imdb.paths import exists, unreadable
from flax_imdb.results import Result

CONFIG, VOCABULARY, RESULT = "config.json", "vocabulary.json", "result.json"
TOKENIZER, CARD = "tokenizer.json", "README.md"
WEIGHTS = "model.safetensors"
"""The variables, named as in ``params.head.kernel``."""
SETTINGS = "flax_imdb"
"""The key of the experiment's configuration in ``config.json``."""
FILES = (CONFIG, VOCABULARY, RESULT, TOKENIZER, CARD, WEIGHTS)
"""All files that it may have."""


class Exported(NamedTuple):
    """What is read from the directory.

    Attributes:
      config: the experiment.
      info: the classes, and how inputs become numbers.
      variables: the parameters and constants, as ``{"params": ..., "constants": ...}``.
      result: the result of the run; None if it is not known.
    """

    config: ExperimentConfig
    info: DatasetInfo
    variables: dict[str, Any]
    result: Result | None


def is_exported(directory: Path) -> bool:
    """Whether a directory holds an exported model, and no run."""
    files = (directory / WEIGHTS, directory / CONFIG)
    return all(map(exists, files)) and not exists(directory / "checkpoints")


def read_exported_config(directory: Path, info: DatasetInfo | None = None) -> ExperimentConfig:
    """The experiment of an exported model.

    Args:
      directory: the directory.
      info: what its vocabulary and classes must be; None: they are not compared.

    Raises:
      InputError: the file cannot be read, is something else, or is not of `info`.
    """
    with _reading(directory / CONFIG, "the configuration of an exported model"):
        content = json.loads((directory / CONFIG).read_text("utf-8"))
        config = parse_config({**content[SETTINGS], "runs": 1})
        if info is None:
            return config
        if content["vocabulary"] != info.inputs.fingerprint:
            raise ValueError(f"its vocabulary is not that of {VOCABULARY}")
        if content["id2label"] != {str(n): name for n, name in enumerate(info.classes)}:
            raise ValueError(f"its id2label differs from the classes of {VOCABULARY}")
        return config


def read_exported(directory: Path) -> Exported:
    """Read the directory of an exported model.

    Raises:
      InputError: safetensors is not installed, or a file is missing, damaged or does not match the
        others.
    """
    info = DatasetInfo.load(directory / VOCABULARY)
    config = read_exported_config(directory, info)
    weights = _read_weights(directory / WEIGHTS, config, info.task)
    result = None
    if exists(path := directory / RESULT):
        with _reading(path, "the result of a run"):
            result = Result.parse(path.read_text("utf-8"))
    return Exported(config, info, weights, result)


def _read_weights(path: Path, config: ExperimentConfig, task: Task) -> dict[str, Any]:
    try:
        from safetensors.numpy import load_file
    except ImportError:
        raise InputError(
            f"{path} takes safetensors, which is not installed: pip install safetensors"
        ) from None
    with _reading(path, "safetensors"):
        arrays: dict[str, np.ndarray] = load_file(path)
    # Shapes alone: an edited file may ask for more memory than there is.
    state = jax.eval_shape(config.state_creator(task), config.training.seed)
    needed = flatten_dict({"params": state.params, "constants": state.constants}, sep=".")
    if problem := _difference(arrays, needed):
        raise InputError(f"{path} is not of the model that {CONFIG} describes: {problem}")
    variables: dict[str, Any] = unflatten_dict(arrays, sep=".")
    return {"constants": {}, **variables}


def _difference(arrays: Mapping[str, np.ndarray], needed: Mapping[str, np.ndarray]) -> str | None:
    """How arrays differ from those that are needed, in a few words; None: not at all."""
    for name in sorted(arrays.keys() ^ needed.keys()):
        return f"it has {name}" if name in arrays else f"{name} is missing"
    for name, array in needed.items():
        found = arrays[name]
        if (found.shape, found.dtype) != (array.shape, array.dtype):
            return (
                f"{name} is {found.dtype} {[*found.shape]} and should be "
                f"{array.dtype} {[*array.shape]}"
            )
    return None


@contextlib.contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    """Context manager that makes of an error in it one that says which file it is."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise unreadable(path, error) from None
    except Exception as error:  # Of safetensors; and whatever an edited file may cause.
        raise InputError(f"{path} is not {what}: {one_line(error)}") from error
