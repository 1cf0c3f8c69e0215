"""Where the reviews come from: a tfds data directory, an `aclImdb` folder, or made up.

`find_reviews` decides which, and fetches the real ones where nothing is there yet. What it
returns reads the texts and labels of a split, always in the same order.
"""

import abc
import contextlib
import functools
import hashlib
import http.client
import importlib.util
import os
import tarfile
import threading
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Literal, get_args

import numpy as np

from flax_imdb.data import synthetic
from flax_imdb.errors import InputError
from flax_imdb.paths import check_utf8, exists, local_path, unreadable

DatasetName = Literal["auto", "imdb_reviews", "synthetic"]
Split = Literal["train", "test"]

SPLITS: tuple[Split, ...] = get_args(Split)
LABELS = ("neg", "pos")
"""The names of labels 0 and 1."""

ARCHIVE_URL = "http://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
PROBE_SECONDS = 6.0
"""How long the server of the archive may take to send the first bytes of it."""

_TFDS_NAME = "imdb_reviews/plain_text"
_TFDS_VERSION = "1.0.0"
_RIGHT_DATA_DIR = (
    f"a tfds data directory with {_TFDS_NAME}/{_TFDS_VERSION} in it or an extracted aclImdb folder"
)

# There is none for Windows.
_NO_ARRAY_RECORD = (
    ""
    if importlib.util.find_spec("array_record")
    else "array_record is not installed, without which tfds's files cannot be read"
)


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
        """Reads one split.

        Returns:
          The texts, and their labels: int32, 0 for a negative and 1 for a positive review.

        Raises:
          InputError: the files are damaged.
        """


def find_reviews(dataset: str = "auto", data_dir: str | os.PathLike[str] | None = None) -> Reviews:
    """Finds the reviews, and downloads and prepares them where that is allowed and needed.

    Args:
      dataset: `imdb_reviews`, `synthetic`, or `auto`: the former where they are prepared or can
        be fetched, otherwise the latter with a `note` that says why.
      data_dir: a tfds data directory, an extracted `aclImdb` folder, or a folder with `aclImdb`
        in it. It must hold the reviews. `None` stands for the directory that tfds uses,
        `$TFDS_DATA_DIR` or else `~/tensorflow_datasets`; there they are prepared if missing.

    Raises:
      InputError: the dataset is unknown, `data_dir` holds no reviews, what is there is
        damaged or may not be read, or `imdb_reviews` is neither there nor can be fetched. Where
        `TFDS_DATA_DIR` is set, `auto` is no exception to the latter.
    """
    if dataset not in get_args(DatasetName):
        names = ", ".join(get_args(DatasetName))
        raise InputError(f"`dataset` {dataset} is unknown: one of {names}")
    if dataset == "synthetic":
        if data_dir is not None:
            raise InputError(f"`data_dir` {data_dir} is of no use with `dataset` synthetic")
        return _SyntheticReviews("they were asked for")
    variable = os.environ.get("TFDS_DATA_DIR")
    if data_dir is not None:
        directory = local_path("`data_dir`", data_dir)
    elif variable is not None:
        directory = local_path("TFDS_DATA_DIR", variable)
    else:
        directory = _default_data_dir()
    if reviews := _reviews_in(directory):
        return reviews
    if data_dir is not None:
        raise InputError(f"`data_dir` {directory} {_what_is_in(directory)}; give {_RIGHT_DATA_DIR}")
    problem = _prepare(directory)
    if problem is None:
        return _TfdsReviews(directory)
    missing = f"imdb_reviews is not in {directory} and cannot be fetched ({problem})"
    if variable is not None:
        missing = (
            f"TFDS_DATA_DIR {directory} {_what_is_in(directory)}, and imdb_reviews cannot be "
            f"fetched to it ({problem})"
        )
    elif dataset == "auto":
        return _SyntheticReviews(missing)
    raise InputError(
        f"{missing}; connect to the internet, give {_RIGHT_DATA_DIR} as `data_dir`, "
        "or use `dataset` synthetic"
    )


class _TfdsReviews(Reviews):
    """A prepared tfds dataset in ArrayRecord files, which are read without TensorFlow."""

    def __init__(self, data_dir: Path) -> None:
        if _NO_ARRAY_RECORD:
            raise InputError(f"{data_dir}: {_NO_ARRAY_RECORD}; an extracted aclImdb folder can be")
        import tensorflow_datasets as tfds
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        check_utf8("the data directory", data_dir)
        self.location = str(data_dir)
        self._directory = data_dir / _TFDS_NAME / _TFDS_VERSION
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
        return _fingerprint(self._directory, (file for s in SPLITS for file in self._files[s]))

    def read(self, split: Split) -> tuple[list[str], np.ndarray]:
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
            f"{self._directory} is damaged ({_one_line(error)}); delete it and prepare it again, "
            "or use another data directory"
        )


class _FolderReviews(Reviews):
    """The extracted archive: a text file for each review, in a folder for each label."""

    def __init__(self, folder: Path) -> None:
        self.location = str(folder)
        self._files: dict[tuple[Split, str], list[Path]] = {}
        for split in SPLITS:
            for label in LABELS:
                files = sorted(_texts_in(folder / split / label), key=_by_id)
                if not files:
                    raise InputError(
                        f"{folder}: {split}/{label} is missing or has no .txt files; an aclImdb "
                        "folder holds train/neg, train/pos, test/neg and test/pos"
                    )
                self._files[split, label] = files

    @functools.cached_property
    def fingerprint(self) -> str:
        files = (file for files in self._files.values() for file in files)
        return _fingerprint(Path(self.location), files)

    def read(self, split: Split) -> tuple[list[str], np.ndarray]:
        files = [self._files[split, label] for label in LABELS]
        texts = [_read_text(file) for label_files in files for file in label_files]
        return texts, np.repeat(np.arange(len(LABELS), dtype=np.int32), [len(f) for f in files])


class _SyntheticReviews(Reviews):
    name = "synthetic"

    def __init__(self, why: str) -> None:
        self.note = f"SYNTHETIC REVIEWS: {why}; accuracy means nothing for IMDB"

    @functools.cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"synthetic {synthetic.VERSION}".encode()).hexdigest()

    def read(self, split: Split) -> tuple[list[str], np.ndarray]:
        return synthetic.generate(split)


def _default_data_dir() -> Path:
    try:
        return Path.home() / "tensorflow_datasets"  # That of tfds.
    except RuntimeError:
        raise InputError(
            "there is no home directory to keep the reviews in: TFDS_DATA_DIR or `data_dir` must "
            "name one"
        ) from None


def _reviews_in(directory: Path) -> Reviews | None:
    """The real reviews in a directory, `None` where there is no trace of them."""
    if exists(directory / _TFDS_NAME / _TFDS_VERSION):
        return _TfdsReviews(directory)
    for folder in (directory / "aclImdb", directory):
        if exists(folder / "train") or exists(folder / "test"):
            return _FolderReviews(folder)
    return None


def _what_is_in(directory: Path) -> str:
    """Says what there is in a directory without reviews."""
    if unfinished := next((directory / _TFDS_NAME).glob("incomplete.*"), None):
        return f"holds no reviews but what an interrupted preparation left in {unfinished}"
    return "holds no reviews" if os.path.isdir(directory) else "is not a directory"


def _texts_in(directory: Path) -> list[Path]:
    try:
        return [directory / name for name in os.listdir(directory) if name.endswith(".txt")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable(directory, error) from None


def _prepare(data_dir: Path) -> str | None:
    """Makes tfds download `imdb_reviews` and write it as ArrayRecord files, without TensorFlow.

    tfds writes into a directory of a random name and renames it at the end, so that a run that
    is interrupted, or two at once, leave nothing half-written under the name that is read.

    Returns:
      What stood in the way, `None` where the dataset is prepared now.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    if _NO_ARRAY_RECORD:
        return _NO_ARRAY_RECORD
    # tfds itself keeps trying for minutes, and waits without end for a silent server.
    if problem := _fetch_problem(ARCHIVE_URL):
        return problem
    builder = tfds.builder(f"{_TFDS_NAME}:{_TFDS_VERSION}", data_dir=data_dir)
    split_generators = builder._split_generators

    def split_generators_without_tensorflow(dl_manager):  # type: ignore[no-untyped-def]
        dl_manager.iter_archive = _iter_archive
        return split_generators(dl_manager)

    builder._split_generators = split_generators_without_tensorflow
    try:
        builder.download_and_prepare(file_format="array_record")
    except (OSError, tfds.download.DownloadError, NonMatchingChecksumError) as error:
        # The rename fails where another process was faster.
        if not os.path.exists(data_dir / _TFDS_NAME / _TFDS_VERSION):
            return _one_line(error)
    return None


def _iter_archive(path: str | os.PathLike[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """As tfds's `DownloadManager.iter_archive`, which opens files with TensorFlow."""
    with tarfile.open(path) as archive:
        for member in archive:
            if (file := archive.extractfile(member)) is not None:
                yield member.name, file


def _fetch_problem(url: str) -> str | None:
    """Why the archive at `url` cannot be downloaded, `None` if its first bytes arrived."""
    problem: str | None = f"no answer from {url} within {PROBE_SECONDS:g} s"

    def probe() -> None:
        nonlocal problem
        try:
            with urllib.request.urlopen(url, timeout=PROBE_SECONDS) as response:
                is_gzip = response.read(2) == b"\x1f\x8b"
            problem = None if is_gzip else f"{url} does not answer with a gzip archive"
        except (OSError, http.client.HTTPException) as error:
            problem = f"{url}: {_one_line(error)}"

    # A thread, because looking up a name cannot be given a timeout.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return problem


def _read_text(file: Path) -> str:
    try:
        return file.read_bytes().strip().decode()  # stripped as tfds does
    except OSError as error:
        raise unreadable(file, error) from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file} cannot be read ({_one_line(error)}); a review is a UTF-8 text file"
        ) from error


def _by_id(file: Path) -> tuple[int, str, str]:
    """Orders `2_10.txt` before `10_2.txt`: of two numbers the longer one is greater."""
    review_id = file.stem.partition("_")[0]
    return len(review_id), review_id, file.name


def _fingerprint(root: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        try:
            content = file.read_bytes()
        except OSError as error:  # It was there a moment ago.
            raise unreadable(file, error) from None
        digest.update(f"{file.relative_to(root).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]
