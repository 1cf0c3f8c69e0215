"""IMDB reviews from an extracted ``aclImdb`` folder."""

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from flax_imdb.data.sources.source import (
    SPLITS,
    Origin,
    Reviews,
    Split,
    fingerprint_of,
)
from flax_imdb.errors import InputError, one_line
from flax_imdb.paths import exists, names_in, unreadable

LABELS = ("neg", "pos")
"""The folders of labels 0 and 1."""


def folder_in(directory: Path) -> Path | None:
    """The extracted archive: `directory` itself or a folder in it; None if there is none."""
    for folder in (directory / "aclImdb", directory):
        if exists(folder / "train") or exists(folder / "test"):
            return folder
    return None


class FolderReviews(Reviews):
    """An extracted archive: one text file per review, one folder per label."""

    def __init__(self, folder: Path) -> None:
        self.location = str(folder)
        self._files: dict[tuple[Split, str], list[Path]] = {}
        for split in SPLITS:
            for label in LABELS:
                directory = folder / split / label
                texts = (directory / n for n in names_in(directory) if n.endswith(".txt"))
                files = sorted(texts, key=_by_id)
                if not files:
                    raise InputError(
                        f"{folder}: {split}/{label} is missing or has no .txt files; an aclImdb "
                        "folder holds train/neg, train/pos, test/neg and test/pos"
                    )
                self._files[split, label] = files

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the names and contents of the files."""
        files = (file for files in self._files.values() for file in files)
        return fingerprint_of(Path(self.location), files)

    def read(self, split: Split) -> tuple[list[str], np.ndarray]:
        """Read one split: negative reviews first, each label in order of the review's number."""
        sizes = [len(self._files[split, label]) for label in LABELS]
        texts = [_read_text(file) for file in self._files_of(split)]
        return texts, np.repeat(np.arange(len(LABELS), dtype=np.int32), sizes)

    def places(self, split: Split) -> tuple[Origin, Iterable[int | str]]:
        """The folder, and the path of each file in it."""
        names = (file.relative_to(self.location).as_posix() for file in self._files_of(split))
        return Origin(self.location, ""), names

    def _files_of(self, split: Split) -> Iterator[Path]:
        for label in LABELS:
            yield from self._files[split, label]


def _read_text(file: Path) -> str:
    try:
        return file.read_bytes().strip().decode()  # stripped as tfds does
    except OSError as error:
        raise unreadable(file, error) from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file} cannot be read ({one_line(error)}); a review is a UTF-8 text file"
        ) from error


def _by_id(file: Path) -> tuple[int, str, str]:
    """Sort key by the review's number: `2_10.txt` comes before `10_2.txt`."""
    review_id = file.stem.partition("_")[0]
    return len(review_id), review_id, file.name
