"""What every source of reviews gives: the texts and labels of both splits."""

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
      name: which reviews these are; nothing but `imdb_reviews` stands for the real ones.
      location: the directory that they were found in, `""` for synthetic ones. Given as
        `data_dir` to `find_reviews` it leads to the same reviews.
      note: what everybody who sees a result must be told, `""` for real reviews.
    """

    name: Literal["imdb_reviews", "synthetic"] = "imdb_reviews"
    location: str = ""
    note: str = ""

    @functools.cached_property
    @abc.abstractmethod
    def fingerprint(self) -> str:
        """SHA-256, in hex, of all that `read` depends on. Computed when it is first asked for."""

    @abc.abstractmethod
    def read(self, split: Split) -> tuple[list[str], np.ndarray]:
        """Read one split.

        Returns:
          The texts, and their labels: int32, 0 for a negative and 1 for a positive review.

        Raises:
          InputError: the files are damaged.
        """


def fingerprint_of(root: Path, files: Iterable[Path]) -> str:
    """SHA-256, in hex, of the contents of `files` and their names below `root`."""
    digest = hashlib.sha256()
    for file in files:
        try:
            content = file.read_bytes()
        except OSError as error:  # It was there a moment ago.
            raise unreadable(file, error) from None
        digest.update(f"{file.relative_to(root).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
