"""Selection of the source of texts."""

import os
from pathlib import Path

from flax_imdb.data.config import DataConfig
from flax_imdb.data.sources import imdb_tfds, tfds_any
from flax_imdb.data.sources.arrays import ArraySource
from flax_imdb.data.sources.imdb_folder import FolderReviews, folder_in
from flax_imdb.data.sources.imdb_tfds import TfdsReviews
from flax_imdb.data.sources.npz import NpzSource, is_npz
from flax_imdb.data.sources.own import OwnSource
from flax_imdb.data.sources.source import Reviews, Source
from flax_imdb.data.sources.synthetic import SyntheticReviews
from flax_imdb.errors import InputError
from flax_imdb.paths import exists, tfds_data_dir

REVIEWS = ("auto", "imdb_reviews", "synthetic")
"""The datasets that have a name; others are files, folders or ``tfds:NAME``."""

IMPORTED = "imported"
"""The name of the dataset of models that were trained elsewhere."""

_RIGHT_DATA_DIR = (
    f"a tfds data directory with {imdb_tfds.NAME}/{imdb_tfds.VERSION} in it or an extracted "
    "aclImdb folder"
)

# The settings that are for datasets of the user's own alone.
_OF_OWN = (
    *("test_dataset", "test_fraction", "text_columns", "label_column", "columns", "delimiter"),
    *("encoding", "skip_bad_rows", "multi_label"),
)


def find_source(config: DataConfig, known: tuple[str, ...] = ()) -> Source:
    """Find the texts that `config` asks for.

    Args:
      config: which texts.
      known: the labels that a model knows, which test texts may have, too.

    Raises:
      InputError: they are not there, or cannot be read.
    """
    if config.dataset == ArraySource.name:
        raise InputError(
            "the texts were given in Python and are not kept: give them as a file, as `dataset`"
        )
    if config.dataset == IMPORTED:
        raise InputError(
            "the model was trained elsewhere, and its texts are not known: give some as a file, as "
            "`dataset`"
        )
    if config.dataset not in REVIEWS:
        if config.dataset.isidentifier() and not exists(Path(config.dataset)):
            raise InputError(
                f"`dataset` {config.dataset} is none of {', '.join(REVIEWS)}, nor a file or folder "
                f"here; a dataset that tfds has prepared is {tfds_any.PREFIX}NAME"
            )
        if is_npz(config.dataset):
            config.check_effect(sequences=True)
            return NpzSource(config, known)
        config.check_effect(sequences=False)
        return OwnSource(config, known)
    config.check_effect(sequences=False)
    for setting in _OF_OWN:
        if (value := getattr(config, setting)) != getattr(DataConfig, setting):
            raise InputError(
                f"`{setting}` {value} has no effect with `dataset` {config.dataset}: it is for a "
                "file or folder of your own"
            )
    return find_reviews(config.dataset, config.data_dir)


def find_reviews(dataset: str = "auto", data_dir: str | os.PathLike[str] | None = None) -> Reviews:
    """Find the reviews, and download and prepare them if needed.

    Args:
      dataset: ``imdb_reviews``, ``synthetic``, or ``auto``: the former if prepared or downloadable,
        else the latter, with a `note` that says why.
      data_dir: a tfds data directory, an extracted ``aclImdb`` folder, or a folder that contains
        ``aclImdb``. It must hold the reviews. None: the directory that tfds uses,
        ``$TFDS_DATA_DIR`` or else ``~/tensorflow_datasets``, where missing reviews are prepared.

    Raises:
      InputError: the dataset is unknown; `data_dir` holds no reviews; the files are damaged or
        cannot be read; or ``imdb_reviews`` is not there and cannot be downloaded. The last is an
        error for ``auto``, too, if ``TFDS_DATA_DIR`` is set.
    """
    if dataset not in REVIEWS:
        raise InputError(f"`dataset` {dataset} is unknown: one of {', '.join(REVIEWS)}")
    if dataset == "synthetic":
        if data_dir is not None:
            raise InputError(f"`data_dir` {data_dir} has no effect with `dataset` synthetic")
        return SyntheticReviews("they were asked for")
    directory = tfds_data_dir(data_dir)
    if reviews := _reviews_in(directory):
        return reviews
    if data_dir is not None:
        raise InputError(f"`data_dir` {directory} {_what_is_in(directory)}; give {_RIGHT_DATA_DIR}")
    problem = imdb_tfds.prepare(directory)
    if problem is None:
        return TfdsReviews(directory)
    missing = f"imdb_reviews is not in {directory} and cannot be fetched ({problem})"
    if "TFDS_DATA_DIR" in os.environ:
        missing = (
            f"TFDS_DATA_DIR {directory} {_what_is_in(directory)}, and imdb_reviews cannot be "
            f"fetched to it ({problem})"
        )
    elif dataset == "auto":
        return SyntheticReviews(missing)
    raise InputError(
        f"{missing}; connect to the internet, give {_RIGHT_DATA_DIR} as `data_dir`, "
        "or use `dataset` synthetic"
    )


def _reviews_in(directory: Path) -> Reviews | None:
    """The real reviews in a directory; None if it has none."""
    if imdb_tfds.is_in(directory):
        return TfdsReviews(directory)
    if folder := folder_in(directory):
        return FolderReviews(folder)
    return None


def _what_is_in(directory: Path) -> str:
    """The end of an error message about a directory without reviews."""
    if unfinished := imdb_tfds.unfinished_in(directory):
        return f"holds no reviews but what an interrupted preparation left in {unfinished}"
    return "holds no reviews" if os.path.isdir(directory) else "is not a directory"
