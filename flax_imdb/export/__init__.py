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
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from flax_imdb.errors import InputError
from flax_imdb.export.check import check
from flax_imdb.export.facts import facts
from flax_imdb.paths import exists, local_path
from flax_imdb.predict import TrainedModel


class Format(NamedTuple):
    """A format.

    Attributes:
      about: what it is for, in a line.
      alone: whether it is all in one file or directory. Otherwise there are two files beside it:
        ``PATH.json``, with `facts`, and ``PATH.tokenizer.json``.
      lengths: whether it takes lengths. Otherwise ids tell what is padding.
    """

    about: str
    alone: bool = False
    lengths: bool = True


FORMATS: Mapping[str, Format] = {
    "stablehlo": Format("a compiled program for jax.export, on CPUs, NVIDIA GPUs and TPUs"),
    "onnx": Format("for ONNX Runtime and other programs that read ONNX"),
    "safetensors": Format("a directory as on the Hugging Face Hub; flax_imdb.load reads it", True),
    "keras": Format("a .keras file for Keras 3", lengths=False),
    "torch": Format("a state dict for PyTorch, in safetensors"),
    "html": Format("a page that classifies texts in the browser, in one file", True),
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
    module = _module(format)
    path = local_path("`output`", output, "directory" if format == "safetensors" else "file")
    with _new_files(path, overwrite, format) as directory:
        written = directory / path.name
        added = module.write(model, written)
        if not FORMATS[format].alone:
            about = {"format": format, **facts(model), **added}
            written.with_name(f"{path.name}.json").write_text(
                json.dumps(about, indent=1, allow_nan=False) + "\n"
            )
            from flax_imdb.export.tokenizer import tokenizer_json

            written.with_name(f"{path.name}.tokenizer.json").write_text(tokenizer_json(model))
        check(model, format, written, lengths=FORMATS[format].lengths)
    return _files(path, format)


def _module(format: str) -> ModuleType:
    """The module of a format, whose libraries are there."""
    if format not in FORMATS:
        raise InputError(f"`format` {format} is unknown: one of {', '.join(FORMATS)}")
    module = importlib.import_module(f"flax_imdb.export.{format}")
    for name in module.NEEDS:
        # Keras is not imported before a backend is chosen.
        if importlib.util.find_spec(name) is None:
            raise InputError(
                f"`format` {format} needs {name}, which is not installed: pip install "
                + " ".join(dict.fromkeys(module.NEEDS.values()))
            )
    return module


def _files(path: Path, format: str) -> list[Path]:
    """The names of all that is written."""
    if FORMATS[format].alone:
        return [path]
    return [path, *(path.with_name(path.name + end) for end in (".json", ".tokenizer.json"))]


@contextlib.contextmanager
def _new_files(path: Path, overwrite: bool, format: str) -> Iterator[Path]:
    """Context manager for a directory whose files get their names at the end, if all went well."""

    def check_free() -> None:
        for each in _files(path, format):
            if exists(each) and not overwrite:
                raise InputError(f"`output` {each} exists: `overwrite` replaces it")
            if each.is_dir() != (format == "safetensors") and exists(each):
                kind = "a directory" if each.is_dir() else "a file"
                raise InputError(f"`output` {each} is {kind}: another name is needed")

    check_free()
    if not path.parent.is_dir():
        raise InputError(f"`output` {path}: there is no directory {path.parent}")
    try:
        # In the same directory, hence on the same file system.
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as temporary:
            directory = Path(temporary)
            yield directory
            check_free()
            # The main file last: with it everything is there.
            for each in reversed(_files(path, format)):
                if each.is_dir():
                    shutil.move(each, directory / "replaced")
                (directory / each.name).replace(each)
    except OSError as error:
        raise InputError(f"`output` {path} cannot be written: {error.strerror or error}") from None


__all__ = ["FORMATS", "Format", "export", "facts"]
