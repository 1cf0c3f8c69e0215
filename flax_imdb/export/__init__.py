"""Trained models in other formats, for programs that do not have flax_imdb.

A format is a module of this package with these names:

- ``NEEDS``: the libraries that writing and checking it take: the name of each module, and that of
  what is to be installed.
- ``write(model, path)`` writes the model, to a file or a directory, and returns what the file
  beside it says in addition to `facts`.
- ``read(path)`` reads it again, without this package's layers, and returns a function from tokens
  and lengths to probabilities. It is the example of how to use such a file, and checks each one.
"""

import contextlib
import importlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from flax_imdb.errors import InputError
from flax_imdb.export.check import check
from flax_imdb.export.facts import facts
from flax_imdb.paths import absolute_path, exists, local_path, names_in, output_path
from flax_imdb.predict import TrainedModel


class Format(NamedTuple):
    """A format.

    Attributes:
      about: what it is for, in a line.
      directory: whether it is a directory.
      alone: whether it is all in one file or directory. Otherwise there are two files beside it:
        ``PATH.json``, with `facts`, and ``PATH.tokenizer.json``.
    """

    about: str
    directory: bool = False
    alone: bool = False


FORMATS: Mapping[str, Format] = {
    "stablehlo": Format("a compiled program for jax.export, on CPUs, NVIDIA GPUs and TPUs"),
    "onnx": Format("for ONNX Runtime and other programs that read ONNX"),
    "safetensors": Format(
        "a directory as on the Hugging Face Hub; flax_imdb.load reads it", True, True
    ),
    "keras": Format("a .keras file for Keras 3"),
    "torch": Format("a state dict for PyTorch, in safetensors"),
    "html": Format("a page that classifies texts in the browser, in one file", alone=True),
}
"""The formats, by name."""


def export(
    model: TrainedModel, format: str, output: str | os.PathLike[str], *, overwrite: bool = False
) -> list[Path]:
    """Write a model in another format.

    What is written is read again in a new process, and its answers are compared with the model's
    (see `flax_imdb.export.check`). Only then does it get its name.

    Args:
      model: the model, from `flax_imdb.load`.
      format: one of `FORMATS`.
      output: the file to write, or the directory.
      overwrite: replace what is there.

    Returns:
      What was written: the file or directory, and the files beside it.

    Raises:
      InputError: the format cannot hold the model, a library is missing, or it cannot be written.
    """
    _module(format)
    path = local_path("`output`", output, "directory" if FORMATS[format].directory else "file")
    path = Path(absolute_path("`output`", path))
    with _new_files(path, format, overwrite) as directory:
        write(model, format, directory / path.name)
        check(model, format, directory / path.name)
    return _files(path, format)


def write(model: TrainedModel, format: str, path: Path) -> None:
    """Write a model, and what is beside it, without a check. See `export`."""
    added = _module(format).write(model, path)
    if FORMATS[format].alone:
        return
    from flax_imdb.export.tokenizer import tokenizer_json

    about = {"format": format, **facts(model), **added}
    _, beside, tokenizer = _files(path, format)
    beside.write_text(json.dumps(about, indent=1, allow_nan=False) + "\n")
    tokenizer.write_text(tokenizer_json(model))


def _module(format: str) -> ModuleType:
    """The module of a format, whose libraries are there."""
    if format not in FORMATS:
        raise InputError(f"`format` {format} is unknown: one of {', '.join(FORMATS)}")
    module = importlib.import_module(f"flax_imdb.export.{format}")
    for name in module.NEEDS:
        try:
            importlib.import_module(name)
        except ImportError:
            raise InputError(
                f"`format` {format} needs {name}, which is not installed: pip install "
                + " ".join(dict.fromkeys(module.NEEDS.values()))
            ) from None
    return module


def _files(path: Path, format: str) -> list[Path]:
    """The names of all that is written."""
    if FORMATS[format].alone:
        return [path]
    return [path, *(path.with_name(path.name + end) for end in (".json", ".tokenizer.json"))]


@contextlib.contextmanager
def _new_files(path: Path, format: str, overwrite: bool) -> Iterator[Path]:
    """Context manager for a directory whose files get their names at the end, if all went well."""
    _check_free(path, format, overwrite)
    try:
        # In the same directory, hence on the same file system.
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as temporary:
            directory = Path(temporary)
            yield directory
            _check_free(path, format, overwrite)
            if FORMATS[format].directory and exists(path):
                more = sorted({*names_in(path)} - {*names_in(directory / path.name)})
                if more:
                    raise InputError(f"`output` {path} holds more than a model, such as {more[0]}")
                path.rename(directory / f"{path.name}.replaced")
            # The main file last: with it everything is there.
            for each in reversed(_files(path, format)):
                (directory / each.name).replace(each)
    except OSError as error:
        raise InputError(f"`output` {path} cannot be written: {error.strerror or error}") from None


def _check_free(path: Path, format: str, overwrite: bool) -> None:
    """Raise InputError unless all can be written there."""
    if not FORMATS[format].directory:
        for each in _files(path, format):
            output_path("`output`", each, overwrite)
    elif not exists(path):
        if not path.parent.is_dir():
            raise InputError(f"`output` {path}: there is no directory {path.parent}")
    elif not path.is_dir():
        raise InputError(f"`output` {path} is a file, not a directory")
    elif not overwrite:
        raise InputError(f"`output` {path} exists: `overwrite` replaces it")


__all__ = ["FORMATS", "Format", "export", "facts", "write"]
