"""Trained models in other formats, for programs that do not have flax_imdb.

A format is a module of this package with these names:

- ``NEEDS``: the libraries that writing and checking it take: the name of each module, and that of
  what is to be installed.
- ``FILES``, if it is a directory: the names in it.
- ``write(model, path)`` writes the model, to a file or a directory, and returns what the file
  beside it says in addition to `facts`.
- ``read(path)`` reads it again, without this package's layers, and returns a function from tokens
  and lengths to probabilities. It is the example of how to use such a file, and checks each one.
"""

import contextlib
import importlib.util
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
      lengths: whether it takes lengths. Otherwise ids tell what is padding.
    """

    about: str
    directory: bool = False
    alone: bool = False
    lengths: bool = True


FORMATS: Mapping[str, Format] = {
    "stablehlo": Format("a compiled program for jax.export, on CPUs, NVIDIA GPUs and TPUs"),
    "onnx": Format("for ONNX Runtime and other programs that read ONNX"),
    "safetensors": Format(
        "a directory as on the Hugging Face Hub; flax_imdb.load reads it", True, True
    ),
    "keras": Format("a .keras file for Keras 3", lengths=False),
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
    path = destination(format, output, overwrite=overwrite)
    with _new_files(path, format, overwrite) as directory:
        write(model, format, directory / path.name)
        check(model, format, directory / path.name, lengths=FORMATS[format].lengths)
    return _files(path, format)


def destination(format: str, output: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """The absolute path of what `export` would write, which needs no model to be refused.

    Raises:
      InputError: there is no such format, a library is missing, or something is in the way.
    """
    _module(format)
    path = local_path("`output`", output, "directory" if FORMATS[format].directory else "file")
    path = Path(absolute_path("`output`", path))
    _check_free(path, format, overwrite)
    return path


def write(model: TrainedModel, format: str, path: Path) -> None:
    """Write a model, and what is beside it, without a check. See `export`."""
    added = _module(format).write(model, path)
    if FORMATS[format].alone:
        return
    from flax_imdb.export.tokenizer_json import tokenizer_json

    about = {"format": format, **facts(model), **added}
    _, beside, tokenizer = _files(path, format)
    beside.write_text(json.dumps(about, indent=1, allow_nan=False) + "\n")
    tokenizer.write_text(tokenizer_json(model), encoding="utf-8")


def _module(format: str) -> ModuleType:
    """The module of a format, whose libraries are there."""
    if format not in FORMATS:
        raise InputError(f"`format` {format} is unknown: one of {', '.join(FORMATS)}")
    module = importlib.import_module(f"flax_imdb.export.{format}")
    needs = module.NEEDS if FORMATS[format].alone else module.NEEDS | {"tokenizers": "tokenizers"}
    for name in needs:
        # Keras is not imported before a backend is chosen.
        if importlib.util.find_spec(name) is None:
            raise InputError(
                f"`format` {format} needs {name}, which is not installed: pip install "
                + " ".join(dict.fromkeys(needs.values()))
            )
    return module


def _files(path: Path, format: str) -> list[Path]:
    """The names of all that is written."""
    if FORMATS[format].alone:
        return [path]
    return [path, *(path.with_name(path.name + end) for end in (".json", ".tokenizer.json"))]


@contextlib.contextmanager
def _new_files(path: Path, format: str, overwrite: bool) -> Iterator[Path]:
    """Context manager for a directory whose files get their names at the end, if all went well."""
    try:
        # In the same directory, hence on the same file system.
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as temporary:
            directory = Path(temporary)
            yield directory
            _check_free(path, format, overwrite)
            if FORMATS[format].directory and exists(path):
                if more := sorted({*names_in(path)} - {*_module(format).FILES}):
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
    elif names_in(path) and not overwrite:
        raise InputError(f"`output` {path} exists: `overwrite` replaces it")


__all__ = ["FORMATS", "Format", "destination", "export", "facts", "write"]
