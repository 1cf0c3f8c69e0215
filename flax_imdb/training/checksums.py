"""Checksums of the files in a directory, to detect damage."""

import hashlib
import os
from pathlib import Path

from flax_imdb.errors import InputError

NAME = "SHA256SUMS"


def write_checksums(directory: Path) -> None:
    """Write the SHA-256 of each file below `directory`, in the format of ``sha256sum``."""
    lines = [f"{_digest(directory / name)}  {name}\n" for name in sorted(_files(directory))]
    (directory / NAME).write_text("".join(lines))


def check_checksums(directory: Path) -> None:
    """Check the files below `directory` against the checksums of `write_checksums`.

    Raises:
      InputError: a file was changed, removed or added, or there are no checksums.
      OSError: a file cannot be read now; it need not be damaged.
    """
    try:
        lines = (directory / NAME).read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"it has no {NAME}: writing it was not finished") from None
    except (IsADirectoryError, ValueError):
        raise InputError(f"its {NAME} is not text") from None
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
        # Without this `os.walk`, like `Path.rglob`, skips directories that it cannot read.
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
