"""The base class of all sources of reviews."""

import abc
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from flax_imdb.paths import unreadable

Split = Literal["train", "test"]

SPLITS: tuple[Split, ...] = get_args(Split)
LABELS = ("neg", "pos")
"""The names of labels 0 and 1."""


class Reviews(abc.ABC):
    """The texts and labels of both splits.

    Attributes:
      name: ``"imdb_reviews"`` for the real reviews, else ``"synthetic"``.
      location: the directory of the reviews, empty for synthetic ones. As the `data_dir` of
        `find_reviews` it finds the same reviews.
      note: a warning to show with every result, empty for real reviews.
    """

    name: Literal["imdb_reviews", "synthetic"] = "imdb_reviews"
    location: str = ""
    note: str = ""

    @functools.cached_property
    @abc.abstractmethod
    def fingerprint(self) -> str:
        """SHA-256, in hex, of everything that `read` depends on."""

    @abc.abstractmethod
    def read(self, split: Split) -> tuple[list[str], np.ndarray]:
        """Read one split.

        Returns:
          The texts, and their labels: int32 [examples], 0 for negative, 1 for positive.

        Raises:
          InputError: the files are damaged.
        """


def fingerprint_of(root: Path, files: Iterable[Path]) -> str:
    """SHA-256, in hex, of the contents of `files` and their names below `root`."""
    digest = hashlib.sha256()
    for file in files:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise unreadable(file, error) from None
        digest.update(f"{file.relative_to(root).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
