"""Folders of texts: a folder for each label, and a text in each file."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from flax_imdb.data.config import MAX_CHARACTERS, DataConfig
from flax_imdb.data.sources.labels import natural_key
from flax_imdb.data.sources.table import Bad, Record, Table, listed
from flax_imdb.data.sources.text_files import codec_of
from flax_imdb.errors import InputError
from flax_imdb.paths import exists, names_in, unreadable

# UTF-32 has four bytes for each character, and a mark.
_MOST_BYTES = 4 * MAX_CHARACTERS + 5


_RIGHT_FOLDER = "LABEL/*.txt, or train/LABEL/*.txt and test/LABEL/*.txt"


class Folder(Table):
    """A folder with the texts of each label in a folder of its own, as .txt files.

    Hidden files are none of ours: systems write them into any folder.
    """

    unit = ""
    has_columns = False

    def __init__(self, folder: Path, config: DataConfig, others: Sequence[str] = ()) -> None:
        self.place = str(folder)
        self.encoding = config.encoding
        codec = codec_of(config.encoding)
        self._codec = "utf-8-sig" if codec == "utf-8" else codec
        self.settings = (codec,)
        self._folder = folder
        self._texts: list[tuple[str, str, Path]] = []
        self._others = [*others]
        for label in _seen_in(folder):
            self._add(label)
        self.files = [(name, file) for _, name, file in self._texts]
        if not self._texts:
            others = f"; it has {listed(self._others, 3)}" if self._others else ""
            raise InputError(f"{folder} has no texts: {_RIGHT_FOLDER} is needed{others}")
        if self._others and not config.skip_bad_rows:
            raise InputError(
                f"{folder} has other things than {_RIGHT_FOLDER}: {listed(self._others, 3)}; move "
                "them elsewhere, or leave them out with `skip_bad_rows`"
            )
        if self._others:
            self.note = (
                f"left out what is no text ({len(self._others):,}): {listed(self._others, 3)}"
            )

    def head(self) -> list[tuple[str, str]]:
        """The label and name of a file."""
        label, name, _ = self._texts[0]
        return [("label", label), ("text", name)]

    def records(self, columns: Sequence[str]) -> Iterator[Record]:
        """The label and text of each file."""
        for label, name, file in self._texts:
            try:
                with file.open("rb") as stream:
                    content = stream.read(_MOST_BYTES)
            except OSError as error:
                raise unreadable(file, error) from None
            try:
                # As tfds does; an editor's line break at the end is no part of a text.
                text = content.decode(self._codec, "surrogateescape").strip()
            except UnicodeError:
                yield name, Bad(f"is not {self.encoding}: another `encoding` may be right")
                continue
            values = {"label": label, "text": text}
            yield name, [values[column] for column in columns]

    def _add(self, label: str) -> None:
        """Add what there is in the folder of a label."""
        directory = self._folder / label
        if not os.path.isdir(directory):
            self._others.append(label)
            return
        found = len(self._texts)
        for name in _seen_in(directory):
            file = directory / name
            if file.suffix.lower() == ".txt" and os.path.isfile(file):
                self._texts.append((label, f"{label}/{name}", file))
            else:
                self._others.append(f"{label}/{name}")
        if len(self._texts) == found:
            self._others.append(f"{label} (without texts)")


def splits_of(folder: Path, config: DataConfig) -> tuple[Folder, list[Folder]]:
    """The training texts in a folder, or all texts, and those to test on, if there are any."""
    train = folder / "train"
    if not any(os.path.isdir(train / name) for name in _seen_in(train)):
        return Folder(folder, config), []
    if exists(train / "unsup"):
        raise InputError(
            f"{folder} is the archive of the IMDB reviews: give it as `data_dir`, with `dataset` "
            "imdb_reviews"
        )
    others = [name for name in _seen_in(folder) if name not in ("train", "test")]
    tests = [Folder(folder / "test", config)] if exists(folder / "test") else []
    return Folder(train, config, [f"../{name}" for name in others]), tests


def _seen_in(directory: Path) -> list[str]:
    """What a directory holds but for hidden files, in natural order."""
    if not os.path.isdir(directory):
        return []
    return sorted((n for n in names_in(directory) if not n.startswith(".")), key=natural_key)
