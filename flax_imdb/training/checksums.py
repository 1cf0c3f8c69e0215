"""Checksums of the files of a directory, by which damage is noticed."""

import hashlib
import os
from pathlib import Path

from flax_imdb.errors import InputError

NAME = "SHA256SUMS"


def write_checksums(directory: Path) -> None:
    """Write the SHA-256 of each file below `directory`, as coreutils's ``sha256sum`` does."""
    lines = [f"{_digest(directory / name)}  {name}\n" for name in sorted(_files(directory))]
    (directory / NAME).write_text("".join(lines))


def check_checksums(directory: Path) -> None:
    """Compare the files below `directory` with what `write_checksums` wrote.

    Raises:
      InputError: a file has other bytes, is missing, or has come since; or there are no checksums.
      OSError: they cannot be read now, which says nothing of what they are.
    """
    try:
        lines = (directory / NAME).read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"it has no {NAME}: writing it was not finished") from None
    except (IsADirectoryError, ValueError):
        raise InputError(f"its {NAME} is no text") from None
    expected = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = _files(directory)
    if not expected:
        raise InputError(f"its {NAME} is empty")
    if missing := sorted(expected.keys() - found):
        raise InputError(f"its file {missing[0]} is missing")
    if others := sorted(found - expected.keys()):
        raise InputError(f"its file {others[0]} is not in {NAME}")
    for name, digest in expected.items():
        try:
            same = _digest(directory / name) == digest
        except FileNotFoundError:
            raise InputError(f"its file {name} is missing") from None
        if not same:
            raise InputError(f"its file {name} has other bytes than were written")


def _files(directory: Path) -> set[str]:
    def fail(error: OSError) -> None:
        # By itself `os.walk`, as `Path.rglob`, passes over what may not be read.
        if not isinstance(error, FileNotFoundError):
            raise error

    files = (
        Path(folder, name)
        for folder, _, names in os.walk(directory, onerror=fail)
        for name in names
    )
    return {path.relative_to(directory).as_posix() for path in files} - {NAME}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
