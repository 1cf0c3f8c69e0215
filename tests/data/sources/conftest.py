"""The reviews of `imdb_archive`: extracted, prepared, on a server, or out of reach."""

import shutil
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from imdb_archive import make_folder, served
from tensorflow_datasets.datasets.imdb_reviews import imdb_reviews_dataset_builder as tfds_imdb

from flax_imdb.data.sources import find_reviews, imdb_tfds


@pytest.fixture(scope="module", autouse=True)
def _no_proxy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield


@pytest.fixture(scope="module")
def archive_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an archive like the official one, which both we and tfds ask for now."""
    folder = make_folder(tmp_path_factory.mktemp("extracted") / "aclImdb")
    site = tmp_path_factory.mktemp("site")
    with tarfile.open(site / "aclImdb_v1.tar.gz", "w:gz") as archive:
        archive.add(folder, "aclImdb")
    with served(site) as address:
        yield f"{address}/aclImdb_v1.tar.gz"


@pytest.fixture
def online(archive_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(imdb_tfds, "ARCHIVE_URL", archive_url)
    monkeypatch.setattr(tfds_imdb, "_DOWNLOAD_URL", archive_url)
    monkeypatch.setattr(imdb_tfds, "PROBE_SECONDS", 60.0)  # However busy the machine is.
    return archive_url


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # without listening, so that connections are refused
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/aclImdb_v1.tar.gz"
        monkeypatch.setattr(imdb_tfds, "ARCHIVE_URL", url)
        yield


@pytest.fixture
def default_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default data directory, which does not exist yet."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    return tmp_path / "tensorflow_datasets"


@pytest.fixture(scope="module")
def prepared(archive_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that `find_reviews` has prepared; not to be changed."""
    directory = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imdb_tfds, "ARCHIVE_URL", archive_url)
        patch.setattr(tfds_imdb, "_DOWNLOAD_URL", archive_url)
        patch.setattr(imdb_tfds, "PROBE_SECONDS", 60.0)
        patch.setenv("TFDS_DATA_DIR", str(directory))
        find_reviews("imdb_reviews")
    return directory


@pytest.fixture
def tfds_dir(prepared: Path, tmp_path: Path) -> Path:
    """A copy of the prepared data directory, to be damaged."""
    shutil.copytree(prepared, tmp_path / "tfds")
    return tmp_path / "tfds"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "aclImdb")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for files that are written over and over."""
    return tmp_path_factory.mktemp("scratch")
