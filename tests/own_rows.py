"""Reading the rows of a file, folder or dataset, as a dataset of the user's own is read."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from flax_imdb.data.config import DataConfig
from flax_imdb.data.sources.labels import Label
from flax_imdb.data.sources.own import OwnSource, open_place, part_of


class Read(NamedTuple):
    """What was read, with the labels as they are written."""

    texts: list[str]
    labels: list[Label]
    label_names: tuple[str, ...] | None
    remarks: tuple[str, ...]
    all_names: bool


def rows_in(place: str | Path, **settings: object) -> Read:
    """The rows to train on, without what the labels of a dataset must be."""
    config = DataConfig(dataset=str(place), **settings)
    part = part_of(open_place("`dataset`", config.dataset, config).train, config)
    texts: list[str] = []
    rows = part.read(texts.append, config.skip_bad_rows)
    labels = [rows.different[number] for number in rows.labels]
    return Read(texts, labels, rows.label_names, rows.remarks, rows.all_names)


def pairs_in(place: str | Path, **settings: object) -> list[tuple[str, Label]]:
    """The texts with their labels."""
    rows = rows_in(place, **settings)
    return list(zip(rows.texts, rows.labels, strict=True))


def own(place: str | Path, **settings: object) -> OwnSource:
    return OwnSource(DataConfig(dataset=str(place), **settings))


def written(path: Path, content: str | bytes | Sequence[str]) -> Path:
    """Write a file: bytes, a text in UTF-8, or lines."""
    if not isinstance(content, str | bytes):
        content = "".join(f"{line}\n" for line in content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
