"""A file of texts with known labels, to be checked."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from flax_imdb.check import Checked, check_dataset
from flax_imdb.check.texts import Texts, read_texts
from flax_imdb.data import DataConfig
from flax_imdb.data.sources import find_source

FILLER = [
    "the",
    "film",
    "was",
    "a",
    "story",
    "of",
    "people",
    "and",
    "time",
    "plot",
    "music",
    "cast",
]
TELLING = {"neg": ("bad", "dull", "poor"), "pos": ("good", "fine", "great")}


def rows_of(number: int, seed: int = 0, words: int = 20) -> list[tuple[str, str]]:
    """Texts and labels, which a few words of each text decide."""
    rng = np.random.default_rng(seed)
    rows = []
    for row in range(number):
        label = ("neg", "pos")[row % 2]
        text = [*rng.choice(FILLER, words), *rng.choice(TELLING[label], 3), f"number{row}"]
        rows.append((" ".join(rng.permutation(text)), label))
    return rows


def write(
    path: Path, rows: Iterable[Sequence[str]], header: Sequence[str] = ("text", "label")
) -> Path:
    """Write a CSV file."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def texts_in(path: Path, **settings: object) -> Texts:
    """The texts of a dataset, as they are checked."""
    return read_texts(find_source(DataConfig(dataset=str(path), **settings)))  # type: ignore[arg-type]


def checked(path: Path, **settings: object) -> Checked:
    """What is found in a dataset."""
    return check_dataset(DataConfig(dataset=str(path), **settings))  # type: ignore[arg-type]
