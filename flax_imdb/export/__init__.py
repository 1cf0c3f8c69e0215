"""Trained models in other formats, for programs that do not have flax_imdb.

A format is a module of this package with these names:

- ``NEEDS``: the libraries that writing and checking it take: the name of each module, and that of
  what is to be installed.
- ``FILES``, if it is a directory: the names of all files that it may have.
- ``write(model, path)`` writes the model, to a file or a directory, and returns what the file
  beside it says in addition to `facts`.
- ``read(path)`` reads it again, without this package's layers, and returns a function from tokens,
  or numeric sequences, and lengths to probabilities. It is the example of how to use such a file,
  and checks each one.
"""

import contextlib
import importlib.util
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from flax_imdb import exported
from flax_imdb.errors import InputError
from flax_imdb.export.check import check
from flax_imdb.export.facts import facts
from flax_imdb.export.formats import FORMATS, Format
from flax_imdb.exported import is_exported
from flax_imdb.paths import absolute_path, check_utf8, exists, local_path, names_in, output_path
from flax_imdb.predict import TrainedModel
from flax_imdb.workdir import is_of_a_run


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
        check(model, format, directory / path.name)
    return [each for each in _files(path, format) if exists(each)]


def destination(format: str, output: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """The absolute path of what `export` would write, which needs no model to be refused.

    Raises:
      InputError: there is no such format, a library is missing, or something is in the way.
    """
    _module(format)
    path = local_path("`output`", output, "directory" if FORMATS[format].directory else "file")
    path = Path(absolute_path("`output`", path))
    check_utf8("`output`", path)
    suffix = FORMATS[format].suffix
    if not path.name.endswith(suffix):
        raise InputError(f"`output` {path.name}: a name that ends with {suffix} is needed")
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
    if model.info.task.features is not None:
        return
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
        with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as temporary:
            directory = Path(temporary)
            yield directory
            _check_free(path, format, overwrite)
            if FORMATS[format].directory and exists(path):
                # It stays, with its owner, its mode, and the links to it.
                names = _module(format).FILES
                _replace(directory / path.name, path, names)
            else:
                names = [each.name for each in _files(path, format)]
                _replace(directory, path.parent, names)
    except OSError as error:
        raise InputError(f"`output` {path} cannot be written: {error.strerror or error}") from None


def _replace(new: Path, old: Path, names: Sequence[str]) -> None:
    """Move files to another directory, the first of `names` last.

    Without that one, the others are no model: an old and a new one are never taken for one.
    """
    if len(names) > 1 and (old / names[0]).is_file():
        (old / names[0]).unlink()
    for name in reversed(names):
        if exists(new / name):
            (new / name).replace(old / name)
        else:
            (old / name).unlink(missing_ok=True)


def _check_free(path: Path, format: str, overwrite: bool) -> None:
    """Raise InputError unless all can be written there."""
    if own := next(filter(_is_of_a_model, _files(path, format)), None):
        raise InputError(f"`output` {own} is a file of another model: another name is needed")
    if not FORMATS[format].directory:
        for each in _files(path, format):
            output_path("`output`", each, overwrite)
    elif not exists(path):
        if not path.parent.is_dir():
            raise InputError(f"`output` {path}: there is no directory {path.parent}")
    elif not path.is_dir():
        raise InputError(f"`output` {path} is a file, not a directory")
    elif more := sorted({*names_in(path)} - {*_module(format).FILES}):
        raise InputError(f"`output` {path} holds more than a model, such as {more[0]}")
    elif names_in(path) and not overwrite:
        raise InputError(f"`output` {path} exists: `overwrite` replaces it")


def _is_of_a_model(path: Path) -> bool:
    """Whether a file has the name, and the place, of one of a run's or of an exported model's."""
    return is_of_a_run(path) or (is_exported(path.parent) and path.name in exported.FILES)


__all__ = ["FORMATS", "Format", "destination", "export", "facts", "write"]
