"""Paths that a user names: what they mean, and whether anything is there."""

import contextlib
import os
import sys
from pathlib import Path

from flax_imdb.errors import InputError


def local_path(setting: str, path: str | os.PathLike[str]) -> Path:
    """`path` with ``~`` or ``~user`` at its beginning expanded.

    A shell does not expand it in ``--workdir=~/x``, nor in a variable that another program sets.

    Args:
      setting: what gives the path, for the message: a setting in backticks or a variable.
      path: what it gives.

    Raises:
      InputError: it cannot be a path of this machine.
    """
    text = os.fspath(path)
    if not text:
        raise InputError(f"{setting} is empty: name a directory")
    if "://" in text:
        raise InputError(f"{setting} {text} is an address: name a directory of this machine")
    if "\0" in text:
        raise InputError(f"{setting} {text!r} has a null character, which no path can have")
    expanded = os.path.expanduser(text)  # As it was typed: `Path` takes "./~" for "~".
    if text.startswith("~") and expanded == text:
        raise InputError(f"{setting} {text}: there is no such home directory")
    return Path(expanded)


def cache_dir() -> Path:
    """Where encoded reviews and compiled programs are kept.

    Raises:
      InputError: there is no home directory, and no variable that names another; or one names what
        cannot be a directory.
    """
    for variable, below in (("FLAX_IMDB_CACHE", ""), ("XDG_CACHE_HOME", "flax_imdb")):
        if value := os.environ.get(variable):
            return local_path(variable, value) / below
    try:
        return Path.home() / ".cache" / "flax_imdb"
    except RuntimeError:
        raise InputError(
            "there is no home directory to keep encoded reviews in: FLAX_IMDB_CACHE must name one"
        ) from None


def check_utf8(setting: str, path: Path) -> None:
    """Raise InputError where a library in C++, to which `path` is UTF-8, would look elsewhere.

    Args:
      setting: what gives the path, for the message.
      path: where a directory is to be, whatever the encoding of the locale.
    """
    try:
        absolute = os.path.abspath(path)
    except OSError as error:
        raise InputError(
            f"{setting} {path}: the current directory cannot be read: {error.strerror}"
        ) from None
    with contextlib.suppress(UnicodeEncodeError):
        if os.fsencode(absolute) == absolute.encode():
            return
    raise InputError(
        f"{setting} {absolute} is not UTF-8 in this locale, whose encoding is "
        f"{sys.getfilesystemencoding()}: another name, or locale, is needed"
    )


def exists(path: Path) -> bool:
    """Whether there is anything at `path`, or behind it if it is a link.

    Raises:
      InputError: that cannot be told, since a directory above it may not be read for example.
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
    """What to say of a file or directory that is there, or may be, and cannot be read."""
    return InputError(f"{os.fspath(path)} cannot be read: {error.strerror or error}")
