"""Which reviews are found, and what is said where none are."""

import hashlib
import socket
import threading
from pathlib import Path

import numpy as np
import permissions
import pytest
import tensorflow_datasets as tfds
from imdb_archive import DATASET, one_line_error, served

from flax_imdb.data.sources import Split, find_reviews, imdb_tfds
from flax_imdb.paths import tfds_data_dir


@pytest.mark.usefixtures("online")
class TestDataDirWithoutReviews:
    """A directory given by hand is taken at its word, whatever could be fetched."""

    @pytest.mark.parametrize("dataset", ["auto", "imdb_reviews"])
    def test_is_an_error_and_nothing_is_fetched(self, dataset: str, tmp_path: Path) -> None:
        with one_line_error(f"`data_dir` {tmp_path} holds no reviews; give .*aclImdb"):
            find_reviews(dataset, tmp_path)
        missing = tmp_path / "missing"
        with one_line_error(f"`data_dir` {missing} is not a directory"):
            find_reviews(dataset, missing)
        file = tmp_path / "file"
        file.touch()
        with one_line_error(f"`data_dir` {file} is not a directory"):
            find_reviews(dataset, file)
        assert list(tmp_path.iterdir()) == [file]

    def test_shows_an_interrupted_preparation(self, tmp_path: Path) -> None:
        unfinished = tmp_path / DATASET.with_name("incomplete.ABC123_1.0.0")
        unfinished.mkdir(parents=True)
        with one_line_error(f"interrupted preparation left in {unfinished}"):
            find_reviews(data_dir=tmp_path)


class TestUnreadable:
    """What may not be read is neither absent nor damaged."""

    @pytest.mark.usefixtures("offline")
    def test_a_default_directory_that_may_not_be_read_is_an_error(self, default_dir: Path) -> None:
        default_dir.mkdir()
        with permissions.denied(default_dir), one_line_error("cannot be read: Permission denied"):
            find_reviews()

    def test_a_name_that_is_too_long_is_an_error(self, tmp_path: Path) -> None:
        with one_line_error("cannot be read: File name too long"):
            find_reviews(data_dir=tmp_path / ("a" * 300))


class TestDataDirVariable:
    """TFDS_DATA_DIR is a setting made by hand, too."""

    @pytest.mark.usefixtures("default_dir")
    def test_names_the_directory(self, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert str(tfds.core.constants.get_default_data_dir()) == str(tfds_data_dir())
        monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
        assert find_reviews().location == str(prepared)
        monkeypatch.setenv("HOME", str(prepared.parent))
        monkeypatch.setenv("TFDS_DATA_DIR", f"~/{prepared.name}")
        assert find_reviews().location == str(prepared)

    @pytest.mark.parametrize("dataset", ["auto", "imdb_reviews"])
    @pytest.mark.parametrize("there", [True, False])
    @pytest.mark.usefixtures("offline")
    def test_without_reviews_is_an_error_where_none_can_be_fetched(
        self, dataset: str, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        directory = tmp_path / "none"
        if there:
            directory.mkdir()
        monkeypatch.setenv("TFDS_DATA_DIR", str(directory))
        what = "holds no reviews" if there else "is not a directory"
        with one_line_error(f"TFDS_DATA_DIR {directory} {what}, and .* cannot be fetched .*refus"):
            find_reviews(dataset)
        assert directory.exists() == there

    @pytest.mark.usefixtures("online")
    def test_names_where_reviews_are_fetched_to(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "empty").mkdir()
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "empty"))
        assert find_reviews().location == str(tmp_path / "empty")

    @pytest.mark.parametrize("dataset", ["auto", "imdb_reviews"])
    def test_that_is_empty_is_an_error(self, dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TFDS_DATA_DIR", "")
        with one_line_error("TFDS_DATA_DIR is empty: name a directory"):
            find_reviews(dataset)
        with one_line_error("`data_dir` is empty: name a directory"):
            find_reviews(dataset, "")


class TestDefaultDataDir:
    def test_without_a_home_must_be_named(
        self, default_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_home() -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", no_home)
        with one_line_error("there is no home directory .* TFDS_DATA_DIR or `data_dir` must name"):
            find_reviews()

    @pytest.mark.parametrize("dataset", ["auto", "imdb_reviews"])
    def test_is_prepared_once(
        self, dataset: str, online: str, default_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = find_reviews(dataset)
        assert (first.name, first.location) == ("imdb_reviews", str(default_dir))
        monkeypatch.setattr(imdb_tfds, "ARCHIVE_URL", f"{online}.gone")
        assert find_reviews(dataset).read("train")[0] == first.read("train")[0]

    @pytest.mark.usefixtures("online")
    def test_is_prepared_beside_an_interrupted_preparation(self, default_dir: Path) -> None:
        (default_dir / DATASET.with_name("incomplete.ABC123_1.0.0")).mkdir(parents=True)
        assert find_reviews("imdb_reviews").location == str(default_dir)

    @pytest.mark.usefixtures("online")
    def test_that_cannot_be_written_to_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "file" / "default"))
        with one_line_error("cannot be fetched .*NotADirectoryError"):
            find_reviews("imdb_reviews")


@pytest.mark.usefixtures("default_dir")
class TestOffline:
    @pytest.mark.usefixtures("offline")
    def test_imdb_reviews_is_an_error_that_shows_the_ways_out(self, default_dir: Path) -> None:
        ways_out = "connect to the internet, give .* as `data_dir`, or use `dataset` synthetic"
        with one_line_error(f"imdb_reviews is not in {default_dir} and cannot .*; {ways_out}"):
            find_reviews("imdb_reviews")

    @pytest.mark.usefixtures("offline")
    def test_auto_is_synthetic_and_says_so(self, default_dir: Path) -> None:
        found = find_reviews("auto")
        assert (found.name, found.location) == ("synthetic", "")
        assert found.note.startswith(f"SYNTHETIC REVIEWS: imdb_reviews is not in {default_dir}")
        assert "refused" in found.note
        assert found.note.endswith("accuracy means nothing for IMDB")
        assert not default_dir.exists()

    def test_a_silent_server_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
            monkeypatch.setattr(imdb_tfds, "ARCHIVE_URL", url)
            monkeypatch.setattr(imdb_tfds, "PROBE_SECONDS", 0.2)
            assert find_reviews().name == "synthetic"

    def test_a_silent_name_server_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        done = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: done.wait() and [])
        monkeypatch.setattr(imdb_tfds, "PROBE_SECONDS", 0.2)
        assert "no answer from http://ai.stanford.edu" in find_reviews().note
        done.set()

    def test_a_login_page_is_not_the_archive(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "index.html").write_text("Welcome to our wireless network")
        with served(tmp_path) as url:
            monkeypatch.setattr(imdb_tfds, "ARCHIVE_URL", url)
            assert "does not answer with a gzip archive" in find_reviews().note
            monkeypatch.setattr(imdb_tfds, "ARCHIVE_URL", f"{url}/missing")
            assert "404" in find_reviews().note


def test_an_unknown_dataset_is_refused() -> None:
    with one_line_error("`dataset` imdb is unknown: one of auto, imdb_reviews, synthetic"):
        find_reviews("imdb")


@pytest.mark.parametrize(
    ("split", "digest"),
    [
        ("train", "384b06a9dd4d2a3b437d4bbb44d089766fdedd9ef7f8c060678e9ed915fe5af8"),
        ("test", "aef1de4675fccfce9c71a2f9cd9176c155e23c956f0f68751f0abaf68f0166ed"),
    ],
)
def test_the_real_reviews_are_read_as_ever(
    split: Split, digest: str, imdb_reviews_dir: Path
) -> None:
    texts, labels = find_reviews("imdb_reviews", imdb_reviews_dir).read(split)
    assert len(texts) == 25_000
    assert np.bincount(labels).tolist() == [12_500, 12_500]
    content = hashlib.sha256(labels.astype("<i4").tobytes())
    for text in texts:
        content.update(text.encode() + b"\0")
    assert content.hexdigest() == digest
