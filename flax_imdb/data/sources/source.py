"""The base class of all sources of texts."""

import abc
import functools
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from flax_imdb.paths import unreadable

Split = Literal["train", "test"]

SPLITS: tuple[Split, ...] = get_args(Split)


class Scanned(NamedTuple):
    """What there is besides the texts.

    Attributes:
      labels: of each text, as of `Source.read`.
      in_test: whether it is in the test split, bool [texts].
    """

    labels: np.ndarray
    in_test: np.ndarray


class Origin(NamedTuple):
    """Where some texts are.

    Attributes:
      place: the file or folder.
      unit: what the position of a text there is, such as ``"line"``; empty if it is a file's name.
    """

    place: str
    unit: str


At = Callable[[Origin, int | str], object]
"""Called with where a text is: a place, and the position there."""


def nowhere(origin: Origin, position: int | str) -> None:
    """An `At` that does not keep where texts are."""


class Source(abc.ABC):
    """The texts and labels of both splits.

    Attributes:
      name: ``"imdb_reviews"``, ``"synthetic"``, or the name of the user's own file or folder.
      location: where it is; empty for synthetic reviews.
      found: settings of `DataConfig` that find the same texts from any directory.
      note: a warning to show with every result; empty for real texts.
      classes: the names of labels 0, 1, ...
      multi_label: whether a text has any number of labels, instead of one.
      known: labels that test texts may have, even if no training text has them.
      remarks: what was chosen or left out while reading.
      warnings: what may be wrong with the texts or labels.
    """

    name: str
    location: str = ""
    found: dict[str, str | None]
    note: str = ""
    classes: tuple[str, ...]
    multi_label: bool = False
    known: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @functools.cached_property
    @abc.abstractmethod
    def fingerprint(self) -> str:
        """SHA-256, in hex, of everything that `read` depends on."""

    @abc.abstractmethod
    def read(self, split: Split) -> tuple[list[Any], np.ndarray]:
        """Read one split.

        Returns:
          The texts, and their labels: int32 [examples], indices into `classes`; or, where a text
          may have several, 0 or 1 for each class, float32 [examples, classes].

        Raises:
          InputError: the files are damaged.
        """

    def scan(self, take: Callable[[str], object], at: At = nowhere) -> Scanned:
        """Read both splits, once.

        Args:
          take: called with each text, in the order in which they are stored.
          at: called with where it is, after `take`.

        Raises:
          InputError: as of `read`.
        """
        labels, sizes = [], []
        for split in SPLITS:
            texts, of_split = self.read(split)
            origin, positions = self.places(split)
            for text, position in zip(texts, positions, strict=False):
                take(text)
                at(origin, position)
            labels.append(of_split)
            sizes.append(len(texts))
        return Scanned(
            np.concatenate(labels), np.repeat([split == "test" for split in SPLITS], sizes)
        )

    def places(self, split: Split) -> tuple[Origin, Iterable[int | str]]:
        """Where the texts of a split are, and the position of each there."""
        return Origin(f"{self.location or self.name} ({split})", "example"), itertools.count()

    def texts(self, split: Split, numbers: Sequence[int]) -> list[str]:
        """The texts with these indices in a split.

        Raises:
          InputError: as of `read`.
        """
        texts, _ = self.read(split)
        return [texts[number] for number in numbers]


class Reviews(Source):
    """Film reviews, negative or positive: IMDB's, or synthetic ones."""

    name = "imdb_reviews"
    classes = ("negative", "positive")

    @property
    def found(self) -> dict[str, str | None]:  # type: ignore[override]
        """Name and directory."""
        directory = os.path.abspath(self.location) if self.location else None
        return {"dataset": self.name, "data_dir": directory}


class SequenceSource(Source):
    """Numeric sequences: instead of texts, it reads arrays [time, features] of one width.

    Attributes:
      feature_names: the names of the features; empty if they have none.
    """

    feature_names: tuple[str, ...] = ()


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
