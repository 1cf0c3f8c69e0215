"""Paths given by the user, and the cache directory."""

import contextlib
import os
import stat
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from flax_imdb.errors import InputError


def local_path(setting: str, path: str | os.PathLike[str], what: str = "directory") -> Path:
    """Check `path` and expand a leading ``~`` or ``~user``.

    Shells do not expand it in ``--workdir=~/x`` or in a variable that another program sets.

    Args:
      setting: name of the setting (in backticks) or variable, for the error message.
      path: its value.
      what: what it must name.

    Raises:
      InputError: it cannot be a path on this machine.
    """
    text = os.fspath(path)
    if not text:
        raise InputError(f"{setting} is empty: name a {what}")
    if "://" in text:
        raise InputError(f"{setting} {text} is an address: name a {what} of this machine")
    if "\0" in text:
        raise InputError(f"{setting} {text!r} has a null character, which no path can have")
    expanded = os.path.expanduser(text)  # Not of `Path(text)`, which turns "./~" into "~".
    if text.startswith("~") and expanded == text:
        raise InputError(f"{setting} {text}: there is no such home directory")
    return Path(expanded)


def cache_dir() -> Path:
    """The directory of encoded texts and compiled programs.

    Raises:
      InputError: there is no home directory and no variable is set, or a variable is not a valid
        path.
    """
    for variable, below in (("FLAX_IMDB_CACHE", ""), ("XDG_CACHE_HOME", "flax_imdb")):
        if value := os.environ.get(variable):
            return local_path(variable, value) / below
    try:
        return Path.home() / ".cache" / "flax_imdb"
    except RuntimeError:
        raise InputError(
            "there is no home directory to keep encoded texts in: FLAX_IMDB_CACHE must name one"
        ) from None


def tfds_data_dir(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """The tfds data directory: `data_dir`, ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``.

    Raises:
      InputError: it is not a valid path, or neither is given and there is no home directory.
    """
    if data_dir is not None:
        return local_path("`data_dir`", data_dir)
    if (variable := os.environ.get("TFDS_DATA_DIR")) is not None:
        return local_path("TFDS_DATA_DIR", variable)
    try:
        return Path.home() / "tensorflow_datasets"  # As in tfds.
    except RuntimeError:
        raise InputError(
            "there is no home directory to keep datasets in: TFDS_DATA_DIR or `data_dir` must "
            "name one"
        ) from None


def absolute_path(setting: str, path: Path) -> str:
    """The path from the root.

    Args:
      setting: name of the setting, for the error message.
      path: the path.

    Raises:
      InputError: it is relative, and the current directory cannot be read.
    """
    try:
        return os.path.abspath(path)
    except OSError as error:
        raise InputError(
            f"{setting} {path}: the current directory cannot be read: {error.strerror}"
        ) from None


def check_utf8(setting: str, path: Path) -> None:
    """Raise InputError if `path` is not UTF-8 in this locale, as C++ libraries expect it to be.

    Args:
      setting: name of the setting, for the error message.
      path: the path to check.
    """
    absolute = absolute_path(setting, path)
    with contextlib.suppress(UnicodeEncodeError):
        if os.fsencode(absolute) == absolute.encode():
            return
    raise InputError(
        f"{setting} {absolute} is not UTF-8 in this locale, whose encoding is "
        f"{sys.getfilesystemencoding()}: another name, or locale, is needed"
    )


def output_path(setting: str, path: str | os.PathLike[str], overwrite: bool) -> Path:
    """The path of a file to write, in a directory that exists.

    Args:
      setting: name of the setting, in backticks.
      path: its value.
      overwrite: whether a file that is there may be replaced.

    Raises:
      InputError: it cannot be written, or is there and may not be replaced.
    """
    file = local_path(setting, path, "file")
    try:
        mode = file.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if os.path.isdir(file.parent):
            return file
        raise InputError(f"{setting} {file}: there is no directory {file.parent}") from None
    except OSError as error:
        raise unreadable(file, error) from None
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise InputError(f"{setting} {file} is {kind}, not a file")
    if not overwrite:
        raise InputError(f"{setting} {file} exists: `overwrite` replaces it")
    return file


@contextlib.contextmanager
def writing(setting: str, path: str | os.PathLike[str], overwrite: bool) -> Iterator[BinaryIO]:
    """Context manager for a file that gets its name once it is complete, and not otherwise.

    See `output_path` for the arguments.

    Raises:
      InputError: it cannot be written, or there is one that may not be replaced.
    """
    file = output_path(setting, path, overwrite)
    # Not the number of the process, which is the same in each container.
    unfinished = file.with_name(f"{file.name}.{uuid.uuid4().hex}.tmp")
    try:
        with unfinished.open("xb") as content:
            try:
                yield content
                content.flush()
                os.fsync(content.fileno())
            except BaseException:
                unfinished.unlink()
                raise
        try:
            output_path(setting, file, overwrite)  # Another program may have written it.
            unfinished.replace(file)
        except BaseException:
            unfinished.unlink()
            raise
    except OSError as error:
        raise InputError(f"{setting} {file} cannot be written: {error.strerror or error}") from None


def exists(path: Path) -> bool:
    """Whether `path` exists, following links.

    Raises:
      InputError: it cannot be determined, for example for lack of permission.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise unreadable(path, error) from None
    return True


def names_in(directory: Path) -> list[str]:
    """The names of what a directory holds; none if there is no such directory.

    Raises:
      InputError: it is a file, or cannot be read, or what it holds cannot be reached.
    """
    try:
        os.stat(f"{directory}/.")
        return os.listdir(directory)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(directory, error) from None


def unreadable(path: str | os.PathLike[str], error: OSError) -> InputError:
    """The error for a file or directory that cannot be read."""
    return InputError(f"{os.fspath(path)} cannot be read: {error.strerror or error}")
