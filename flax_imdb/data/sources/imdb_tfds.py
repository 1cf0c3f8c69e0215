"""The reviews of IMDB as tfds prepares them, read and prepared without TensorFlow."""

import contextlib
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

from flax_imdb.data.sources.reviews import SPLITS, Reviews, Split, fingerprint_of
from flax_imdb.errors import InputError, one_line
from flax_imdb.paths import check_utf8, exists, unreadable

ARCHIVE_URL = "http://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
PROBE_SECONDS = 6.0
"""How long the server of the archive may take to send the first bytes of it."""

NAME = "imdb_reviews/plain_text"
VERSION = "1.0.0"
"""Of the dataset, in a tfds data directory."""

# There is none for Windows.
_NO_ARRAY_RECORD = (
    ""
    if importlib.util.find_spec("array_record")
    else "array_record is not installed, without which tfds's files cannot be read"
)


def is_in(directory: Path) -> bool:
    """Whether a data directory has the prepared dataset, whole or not."""
    return exists(directory / NAME / VERSION)


def unfinished_in(directory: Path) -> Path | None:
    """What an interrupted preparation has left in a data directory."""
    return next((directory / NAME).glob("incomplete.*"), None)


class TfdsReviews(Reviews):
    """A prepared tfds dataset in ArrayRecord files, which are read without TensorFlow."""

    def __init__(self, data_dir: Path) -> None:
        if _NO_ARRAY_RECORD:
            raise InputError(f"{data_dir}: {_NO_ARRAY_RECORD}; an extracted aclImdb folder can be")
        import tensorflow_datasets as tfds
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        check_utf8("the data directory", data_dir)
        self.location = str(data_dir)
        self._directory = data_dir / NAME / VERSION
        try:
            builder = tfds.builder_from_directory(self._directory)
            self._sources = {split: builder.as_data_source(split) for split in SPLITS}
            self._files = {
                split: [Path(path) for path in builder.info.splits[split].filepaths]
                for split in SPLITS
            }
            # tfds believes dataset_info.json; array_record counts the records in the files.
            for split, files in self._files.items():
                found = len(ArrayRecordDataSource([str(file) for file in files]))
                if found != (expected := len(self._sources[split])):
                    raise ValueError(f"{found} {split} reviews instead of {expected}")
        except NotImplementedError as error:
            raise InputError(
                f"{self._directory} is not in the array_record format, the one that is read "
                "without TensorFlow; use another data directory (an empty one is prepared if "
                "$TFDS_DATA_DIR names it and `data_dir` is not given)"
            ) from error
        except Exception as error:
            raise self._damaged(error) from error

    @functools.cached_property
    def fingerprint(self) -> str:
        """Of the names and contents of its files."""
        return fingerprint_of(self._directory, (file for s in SPLITS for file in self._files[s]))

    def read(self, split: Split) -> tuple[list[str], np.ndarray]:
        """In the order of the files."""
        source = self._sources[split]
        try:
            # All at once: one by one takes more than twice the time.
            examples = source.__getitems__(range(len(source)))
            texts = [example["text"].decode() for example in examples]
        except Exception as error:
            raise self._damaged(error) from error
        return texts, np.array([example["label"] for example in examples], np.int32)

    def _damaged(self, error: Exception) -> InputError:
        # Raised for errors of any class: each way of being damaged has one of its own. So has
        # each way of not being allowed to read, which says nothing of what is there.
        try:
            for path in self._directory.iterdir():
                with contextlib.suppress(IsADirectoryError):
                    path.open("rb").close()
        except PermissionError as denied:
            return unreadable(denied.filename, denied)
        except OSError:
            pass  # Damaged, then.
        return InputError(
            f"{self._directory} is damaged ({one_line(error)}); delete it and prepare it again, "
            "or use another data directory"
        )


def prepare(data_dir: Path) -> str | None:
    """Make tfds download ``imdb_reviews`` and write it as ArrayRecord files, without TensorFlow.

    tfds writes into a directory of a random name and renames it at the end, so that a run that
    is interrupted, or two at once, leave nothing half-written under the name that is read.

    Returns:
      What stood in the way, None where the dataset is prepared now.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    if _NO_ARRAY_RECORD:
        return _NO_ARRAY_RECORD
    # tfds itself keeps trying for minutes, and waits without end for a silent server.
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
        # The rename fails where another process was faster.
        if not is_in(data_dir):
            return one_line(error)
    return None


def _iter_archive(path: str | os.PathLike[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """As tfds's `DownloadManager.iter_archive`, which opens files with TensorFlow."""
    with tarfile.open(path) as archive:
        for member in archive:
            if (file := archive.extractfile(member)) is not None:
                yield member.name, file


def _fetch_problem(url: str) -> str | None:
    """Why the archive at `url` cannot be downloaded, None if its first bytes arrived."""
    problem: str | None = f"no answer from {url} within {PROBE_SECONDS:g} s"

    def probe() -> None:
        nonlocal problem
        try:
            with urllib.request.urlopen(url, timeout=PROBE_SECONDS) as response:
                is_gzip = response.read(2) == b"\x1f\x8b"
            problem = None if is_gzip else f"{url} does not answer with a gzip archive"
        except (OSError, http.client.HTTPException) as error:
            problem = f"{url}: {one_line(error)}"

    # A thread, because looking up a name cannot be given a timeout.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return problem
