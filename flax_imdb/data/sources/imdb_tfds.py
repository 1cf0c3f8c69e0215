"""IMDB reviews from tensorflow-datasets, prepared and read without TensorFlow."""

import functools
import http.client
import importlib.util
import os
import tarfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from flax_imdb.data.sources.source import SPLITS, Reviews, Split, fingerprint_of
from flax_imdb.data.sources.tfds_any import denied_in, open_split
from flax_imdb.errors import InputError, one_line
from flax_imdb.paths import check_utf8, exists

ARCHIVE_URL = "http://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
PROBE_SECONDS = 6.0
"""Timeout for the first bytes of the archive."""

NAME = "imdb_reviews/plain_text"
VERSION = "1.0.0"
"""Version of the dataset."""

# array_record is not available for Windows.
_NO_ARRAY_RECORD = (
    ""
    if importlib.util.find_spec("array_record")
    else "tfds's files cannot be read because array_record is not installed"
)


def is_in(directory: Path) -> bool:
    """Whether a data directory has the prepared dataset, intact or not."""
    return exists(directory / NAME / VERSION)


def unfinished_in(directory: Path) -> Path | None:
    """The leftovers of an interrupted preparation in a data directory, if any."""
    return next((directory / NAME).glob("incomplete.*"), None)


class TfdsReviews(Reviews):
    """A prepared tfds dataset in ArrayRecord files."""

    def __init__(self, data_dir: Path) -> None:
        if _NO_ARRAY_RECORD:
            raise InputError(f"{data_dir}: {_NO_ARRAY_RECORD}; use an extracted aclImdb folder")
        import tensorflow_datasets as tfds

        check_utf8("the data directory", data_dir)
        self.location = str(data_dir)
        self._directory = data_dir / NAME / VERSION
        try:
            builder = tfds.builder_from_directory(self._directory)
            self._splits = {split: open_split(builder, split, "reviews") for split in SPLITS}
        except NotImplementedError as error:
            raise InputError(
                f"{self._directory} is not in the array_record format, which can be read "
                "without TensorFlow; use another data directory (an empty one is prepared if "
                "$TFDS_DATA_DIR names it and `data_dir` is not given)"
            ) from error
        except Exception as error:
            raise self._damaged(error) from error

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the names and contents of the files."""
        files = (file for _, files in self._splits.values() for file in files)
        return fingerprint_of(self._directory, files)

    def read(self, split: Split) -> tuple[list[str], np.ndarray]:
        """Read one split, in the order of the files."""
        source, _ = self._splits[split]
        try:
            # Reading all at once takes less than half the time of one by one.
            examples = source.__getitems__(range(len(source)))
            texts = [example["text"].decode() for example in examples]
        except Exception as error:
            raise self._damaged(error) from error
        return texts, np.array([example["label"] for example in examples], np.int32)

    def _damaged(self, error: Exception) -> InputError:
        return denied_in(self._directory) or InputError(
            f"{self._directory} is damaged ({one_line(error)}); delete it and prepare it again, "
            "or use another data directory"
        )


def prepare(data_dir: Path) -> str | None:
    """Download ``imdb_reviews`` with tfds and write it as ArrayRecord files, without TensorFlow.

    tfds writes to a directory with a random name and renames it at the end, so an interrupted run,
    or two at once, never leave an incomplete dataset.

    Returns:
      Why it failed; None on success.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    if _NO_ARRAY_RECORD:
        return _NO_ARRAY_RECORD
    # tfds retries for minutes and waits forever for a server that does not answer.
    if problem := _fetch_problem(ARCHIVE_URL):
        return problem
    builder = tfds.builder(f"{NAME}:{VERSION}", data_dir=data_dir)
    split_generators = builder._split_generators

    def split_generators_without_tensorflow(dl_manager):  # type: ignore[no-untyped-def]
        dl_manager.iter_archive = _iter_archive
        return split_generators(dl_manager)

    builder._split_generators = split_generators_without_tensorflow
    try:
        builder.download_and_prepare(file_format="array_record")
    except (OSError, tfds.download.DownloadError, NonMatchingChecksumError) as error:
        # The rename fails if another process was faster.
        if not is_in(data_dir):
            return one_line(error)
    return None


def _iter_archive(path: str | os.PathLike[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """Replaces tfds's `DownloadManager.iter_archive`, which opens files with TensorFlow."""
    with tarfile.open(path) as archive:
        for member in archive:
            if (file := archive.extractfile(member)) is not None:
                yield member.name, file


def _fetch_problem(url: str) -> str | None:
    """Why the archive at `url` cannot be downloaded; None if its first bytes arrive."""
    problem: str | None = f"no answer from {url} within {PROBE_SECONDS:g} s"

    def probe() -> None:
        nonlocal problem
        try:
            with urllib.request.urlopen(url, timeout=PROBE_SECONDS) as response:
                is_gzip = response.read(2) == b"\x1f\x8b"
            problem = None if is_gzip else f"{url} does not answer with a gzip archive"
        except (OSError, http.client.HTTPException) as error:
            problem = f"{url}: {one_line(error)}"

    # In a thread, because name resolution has no timeout.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return problem
