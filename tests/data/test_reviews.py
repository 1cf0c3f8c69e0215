"""Finding, preparing and reading the reviews, on a handful of reviews made here."""

import contextlib
import functools
import hashlib
import http.server
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import permissions
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import UrlInfo
from tensorflow_datasets.datasets.imdb_reviews import imdb_reviews_dataset_builder as tfds_imdb

from flax_imdb.data import reviews, synthetic
from flax_imdb.data.reviews import find_reviews
from flax_imdb.errors import InputError

PER_LABEL = {"train": 6, "test": 4}
DATASET = Path("imdb_reviews/plain_text/1.0.0")
TRAIN_SHARD = "imdb_reviews-train.array_record-00000-of-00001"


def text_of(split: str, label: str, review_id: int) -> str:
    return f"Née in {split}, {label}:<br />number {review_id}."


def make_folder(folder: Path) -> Path:
    """An `aclImdb` folder with a few reviews, and two more without a label as in the original."""
    for split, count in PER_LABEL.items():
        for label in ("neg", "pos"):
            (folder / split / label).mkdir(parents=True)
            for i in range(count):
                # Ids of one and two digits, and white space that tfds strips.
                file = folder / split / label / f"{3 * i}_{i}.txt"
                file.write_bytes(f"{text_of(split, label, 3 * i)}\n".encode())
    (folder / "train" / "unsup").mkdir()
    for i in range(2):
        (folder / "train" / "unsup" / f"{i}_0.txt").write_text(f"unlabelled {i}")
    return folder


@contextlib.contextmanager
def served(directory: Path) -> Iterator[str]:
    """A web server on this machine; yields its address."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@contextlib.contextmanager
def one_line_error(match: str) -> Iterator[None]:
    with pytest.raises(InputError, match=match) as caught:
        yield
    assert "\n" not in str(caught.value)


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
    monkeypatch.setattr(reviews, "ARCHIVE_URL", archive_url)
    monkeypatch.setattr(tfds_imdb, "_DOWNLOAD_URL", archive_url)
    monkeypatch.setattr(reviews, "PROBE_SECONDS", 60.0)  # However busy the machine is.
    return archive_url


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # without listening, so that connections are refused
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/aclImdb_v1.tar.gz"
        monkeypatch.setattr(reviews, "ARCHIVE_URL", url)
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
        patch.setattr(reviews, "ARCHIVE_URL", archive_url)
        patch.setattr(tfds_imdb, "_DOWNLOAD_URL", archive_url)
        patch.setattr(reviews, "PROBE_SECONDS", 60.0)
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


class TestFolder:
    def test_reads_negative_then_positive_by_number(self, folder: Path) -> None:
        found = find_reviews(data_dir=folder)
        for split in reviews.SPLITS:
            texts, labels = found.read(split)
            count = PER_LABEL[split]
            ids = [3 * i for i in range(count)]  # 0, 3, 6, 9, 12: not sorted as strings are
            assert texts == [text_of(split, label, i) for label in ("neg", "pos") for i in ids]
            assert labels.dtype == np.int32
            assert labels.tolist() == [0] * count + [1] * count
        assert (found.name, found.note) == ("imdb_reviews", "")

    def test_is_found_in_its_parent(self, folder: Path) -> None:
        found = find_reviews("imdb_reviews", folder.parent)
        assert found.location == str(folder)
        assert found.fingerprint == find_reviews(data_dir=found.location).fingerprint

    def test_may_have_another_name(self, folder: Path, tmp_path: Path) -> None:
        renamed = folder.rename(tmp_path / "films")
        assert len(find_reviews(data_dir=renamed).read("test")[0]) == 2 * PER_LABEL["test"]

    @pytest.mark.parametrize("missing", ["train/neg", "train/pos", "test/neg", "test/pos"])
    def test_needs_all_four_sub_folders(self, folder: Path, missing: str) -> None:
        for file in (folder / missing).iterdir():
            file.unlink()
        with one_line_error(f"{folder}: {missing} is missing or has no .txt files"):
            find_reviews(data_dir=folder)
        (folder / missing).rmdir()
        with one_line_error(f"{folder}: {missing} is missing or has no .txt files"):
            find_reviews(data_dir=folder)

    def test_names_a_file_that_has_vanished(self, folder: Path) -> None:
        """With its whole directory, as when a disk is unmounted."""
        found = find_reviews(data_dir=folder)
        shutil.rmtree(folder)
        with pytest.raises(InputError, match=r"train/neg/0_0.txt cannot be read: No such file"):
            found.read("train")
        with pytest.raises(InputError, match=r"0_0.txt cannot be read: No such file or directory"):
            _ = found.fingerprint

    def test_names_the_file_that_is_not_utf_8(self, folder: Path) -> None:
        file = folder / "test" / "pos" / "3_1.txt"
        file.write_bytes("Née".encode("latin-1"))
        with one_line_error(f"{file} cannot be read .*UTF-8"):
            find_reviews(data_dir=folder).read("test")

    def test_fingerprint_is_that_of_the_content(self, folder: Path, tmp_path: Path) -> None:
        before = find_reviews(data_dir=folder).fingerprint
        assert find_reviews(data_dir=shutil.copytree(folder, tmp_path / "b")).fingerprint == before
        (folder / "train" / "unsup" / "2_0.txt").write_text("never read")
        assert find_reviews(data_dir=folder).fingerprint == before
        moved = (folder / "test" / "neg" / "3_1.txt").rename(folder / "test" / "pos" / "4_1.txt")
        assert find_reviews(data_dir=folder).fingerprint != before
        moved.rename(folder / "test" / "neg" / "3_1.txt").write_text("another opinion")
        assert find_reviews(data_dir=folder).fingerprint != before


class TestTfds:
    def test_reads_what_plain_tfds_reads(self, prepared: Path) -> None:
        found = find_reviews(data_dir=prepared)
        assert (found.name, found.note) == ("imdb_reviews", "")
        assert found.location == str(prepared)
        for split in reviews.SPLITS:
            texts, labels = found.read(split)
            source = tfds.data_source("imdb_reviews/plain_text", data_dir=prepared, split=split)
            assert texts == [example["text"].decode() for example in source]
            assert labels.tolist() == [example["label"] for example in source]
            assert labels.dtype == np.int32

    def test_has_the_reviews_of_the_archive(self, prepared: Path, folder: Path) -> None:
        for split in reviews.SPLITS:
            texts, labels = find_reviews(data_dir=prepared).read(split)
            in_folder = dict(zip(*find_reviews(data_dir=folder).read(split), strict=True))
            assert len(texts) == 2 * PER_LABEL[split]
            assert dict(zip(texts, labels, strict=True)) == in_folder
        unlabelled = tfds.data_source("imdb_reviews", data_dir=prepared, split="unsupervised")
        assert len(unlabelled) == 2

    def test_is_an_ordinary_dataset_of_tfds(self, prepared: Path) -> None:
        info = tfds.builder("imdb_reviews", data_dir=prepared).info
        assert info.full_name == "imdb_reviews/plain_text/1.0.0"
        assert info.module_name == tfds_imdb.__name__
        assert info.splits["train"].num_examples == 2 * PER_LABEL["train"]
        assert not list(prepared.rglob("incomplete.*"))

    def test_data_dir_may_be_relative(
        self, prepared: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(prepared.parent)
        relative = find_reviews(data_dir=prepared.name)
        assert relative.fingerprint == find_reviews(data_dir=prepared).fingerprint

    def test_fingerprint_is_that_of_the_content(self, prepared: Path, tfds_dir: Path) -> None:
        before = find_reviews(data_dir=prepared).fingerprint
        assert len(bytes.fromhex(before)) == 32
        assert find_reviews(data_dir=tfds_dir).fingerprint == before
        flip_a_bit(tfds_dir / DATASET)
        assert find_reviews(data_dir=tfds_dir).fingerprint != before


def lose_shard(directory: Path) -> None:
    (directory / TRAIN_SHARD).unlink()


def empty_shard(directory: Path) -> None:
    (directory / TRAIN_SHARD).write_bytes(b"")


def halve_shard(directory: Path) -> None:
    os.truncate(directory / TRAIN_SHARD, (directory / TRAIN_SHARD).stat().st_size // 2)


def flip_a_bit(directory: Path) -> None:
    content = bytearray((directory / TRAIN_SHARD).read_bytes())
    content[150] ^= 1  # among the first reviews; further on a small file is filled up with zeros
    (directory / TRAIN_SHARD).write_bytes(content)


def take_shard_of_test(directory: Path) -> None:
    shutil.copy(directory / TRAIN_SHARD.replace("train", "test"), directory / TRAIN_SHARD)


def lose_info(directory: Path) -> None:
    (directory / "dataset_info.json").unlink()


def break_info(directory: Path) -> None:
    (directory / "dataset_info.json").write_text("{")


def lose_everything(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.mkdir()


DAMAGES = (
    lose_shard,
    empty_shard,
    halve_shard,
    flip_a_bit,
    take_shard_of_test,
    lose_info,
    break_info,
    lose_everything,
)


class TestWithoutArrayRecord:
    """As on Windows, for which there is none."""

    @pytest.fixture(autouse=True)
    def _hidden(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reviews, "_NO_ARRAY_RECORD", "array_record is not installed")

    def test_tfds_files_are_refused(self, tfds_dir: Path) -> None:
        with one_line_error(f"{tfds_dir}: array_record is not installed; an extracted aclImdb"):
            find_reviews(data_dir=tfds_dir)

    def test_nothing_is_fetched(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
        with one_line_error("array_record is not installed"):
            find_reviews("imdb_reviews")
        assert not list(tmp_path.iterdir())


class TestDamagedTfds:
    @pytest.mark.parametrize("damage", DAMAGES)
    def test_is_an_error_that_says_to_delete_it(
        self, damage: Callable[[Path], None], tfds_dir: Path
    ) -> None:
        damage(tfds_dir / DATASET)
        with one_line_error(f"{tfds_dir / DATASET} is damaged .*delete it"):
            find_reviews(data_dir=tfds_dir).read("train")

    @pytest.mark.usefixtures("online")
    @pytest.mark.parametrize("dataset", ["auto", "imdb_reviews"])
    def test_is_neither_replaced_nor_passed_over(
        self, dataset: str, tfds_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_dir))
        lose_shard(tfds_dir / DATASET)
        with one_line_error("is damaged"):
            find_reviews(dataset)
        assert not (tfds_dir / DATASET / TRAIN_SHARD).exists()

    def test_is_told_from_files_for_tensorflow(self, tfds_dir: Path) -> None:
        info = tfds_dir / DATASET / "dataset_info.json"
        info.write_text(info.read_text().replace("array_record", "tfrecord"))
        for shard in info.parent.glob("*.array_record-*"):
            shard.rename(str(shard).replace("array_record", "tfrecord"))
        with one_line_error("is not in the array_record format.*use another data directory"):
            find_reviews(data_dir=tfds_dir)


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

    @pytest.mark.parametrize("hidden", ["", "imdb_reviews", DATASET, DATASET / TRAIN_SHARD])
    @pytest.mark.parametrize("by", ["`data_dir`", "TFDS_DATA_DIR"])
    def test_tfds_files_that_may_not_be_read_are_an_error(
        self, hidden: str | Path, by: str, tfds_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_dir))
        data_dir = tfds_dir if by == "`data_dir`" else None
        message = f"^{tfds_dir}.* cannot be read: Permission denied$"
        with permissions.denied(tfds_dir / hidden), one_line_error(message):
            find_reviews(data_dir=data_dir)

    def test_a_tfds_file_that_may_no_longer_be_read_is_named(self, tfds_dir: Path) -> None:
        found = find_reviews(data_dir=tfds_dir)
        shard = tfds_dir / DATASET / TRAIN_SHARD
        with permissions.denied(shard), one_line_error(f"{shard} cannot be read: Permission"):
            _ = found.fingerprint

    @pytest.mark.parametrize("hidden", ["", "train", "train/neg", "train/neg/0_0.txt"])
    def test_a_folder_that_may_not_be_read_is_an_error(self, hidden: str, folder: Path) -> None:
        with permissions.denied(folder / hidden), one_line_error("cannot be read: Permission den"):
            find_reviews(data_dir=folder).read("train")

    @pytest.mark.usefixtures("offline")
    def test_a_default_directory_that_may_not_be_read_is_an_error(self, default_dir: Path) -> None:
        default_dir.mkdir()
        with permissions.denied(default_dir), one_line_error("cannot be read: Permission denied"):
            find_reviews()

    def test_a_name_that_is_too_long_is_an_error(self, tmp_path: Path) -> None:
        with one_line_error("cannot be read: File name too long"):
            find_reviews(data_dir=tmp_path / ("a" * 300))

    def test_a_name_that_is_not_utf_8_is_refused_of_tfds_alone(self, tfds_dir: Path) -> None:
        """Of files in C++; Python reads a folder of any name."""
        with one_line_error("data directory .*/caf\udce9 is not UTF-8 in this locale"):
            find_reviews(data_dir=tfds_dir.rename(tfds_dir.with_name("caf\udce9")))
        folder = make_folder(tfds_dir.with_name("caf\udce8"))
        assert find_reviews(data_dir=folder).read("test")[0]


class TestDataDirVariable:
    """TFDS_DATA_DIR is a setting made by hand, too."""

    @pytest.mark.usefixtures("default_dir")
    def test_names_the_directory(self, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert str(tfds.core.constants.get_default_data_dir()) == str(reviews._default_data_dir())
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
        monkeypatch.setattr(reviews, "ARCHIVE_URL", f"{online}.gone")
        assert find_reviews(dataset).read("train")[0] == first.read("train")[0]

    @pytest.mark.usefixtures("online")
    def test_is_prepared_beside_an_interrupted_preparation(self, default_dir: Path) -> None:
        (default_dir / DATASET.with_name("incomplete.ABC123_1.0.0")).mkdir(parents=True)
        assert find_reviews("imdb_reviews").location == str(default_dir)

    @pytest.mark.usefixtures("online")
    def test_may_be_prepared_by_another_process_meanwhile(
        self, default_dir: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        iter_archive = reviews._iter_archive

        def finish_the_other_first(path: Path) -> Iterator[tuple[str, object]]:
            shutil.copytree(prepared, default_dir, dirs_exist_ok=True)
            yield from iter_archive(path)

        monkeypatch.setattr(reviews, "_iter_archive", finish_the_other_first)
        assert find_reviews().fingerprint == find_reviews(data_dir=prepared).fingerprint
        assert not list(default_dir.rglob("incomplete.*"))

    @pytest.mark.usefixtures("online")
    def test_that_cannot_be_written_to_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "file" / "default"))
        with one_line_error("cannot be fetched .*NotADirectoryError"):
            find_reviews("imdb_reviews")

    def test_refuses_a_download_with_a_wrong_checksum(
        self, online: str, default_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = UrlInfo(size=1, checksum="0" * 64, filename="aclImdb_v1.tar.gz")
        monkeypatch.setattr(tfds_imdb.Builder, "url_infos", {online: expected})
        with one_line_error("cannot be fetched .*wrong checksum"):
            find_reviews("imdb_reviews")
        assert not (default_dir / DATASET).exists()

    def test_official_archive_has_a_checksum(self) -> None:
        assert reviews.ARCHIVE_URL == tfds_imdb._DOWNLOAD_URL
        assert reviews.ARCHIVE_URL in tfds_imdb.Builder.url_infos

    def test_needs_no_tensorflow(self, archive_url: str, default_dir: Path, tmp_path: Path) -> None:
        """Neither to prepare nor to read, nor is it imported where it is installed."""
        fake = tmp_path / "fake" / "tensorflow"
        fake.mkdir(parents=True)
        (fake / "__init__.py").write_text("raise AssertionError('TensorFlow was imported')")
        program = f"""
import sys
from flax_imdb.data import reviews
from tensorflow_datasets.datasets.imdb_reviews import imdb_reviews_dataset_builder as builder
reviews.ARCHIVE_URL = builder._DOWNLOAD_URL = {archive_url!r}
texts, _ = reviews.find_reviews("imdb_reviews").read("train")
assert len(texts) == {2 * PER_LABEL["train"]}
assert "tensorflow" not in sys.modules
"""
        path = os.pathsep.join([str(fake.parent), *filter(None, sys.path)])
        environment = {**os.environ, "PYTHONPATH": path}
        subprocess.run([sys.executable, "-c", program], env=environment, check=True)
        assert (default_dir / DATASET).exists()


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
            monkeypatch.setattr(reviews, "ARCHIVE_URL", url)
            monkeypatch.setattr(reviews, "PROBE_SECONDS", 0.2)
            assert find_reviews().name == "synthetic"

    def test_a_silent_name_server_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        done = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: done.wait() and [])
        monkeypatch.setattr(reviews, "PROBE_SECONDS", 0.2)
        assert "no answer from http://ai.stanford.edu" in find_reviews().note
        done.set()

    def test_is_noticed_within_seconds(self) -> None:
        assert reviews.PROBE_SECONDS < 10

    def test_a_login_page_is_not_the_archive(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "index.html").write_text("Welcome to our wireless network")
        with served(tmp_path) as url:
            monkeypatch.setattr(reviews, "ARCHIVE_URL", url)
            assert "does not answer with a gzip archive" in find_reviews().note
            monkeypatch.setattr(reviews, "ARCHIVE_URL", f"{url}/missing")
            assert "404" in find_reviews().note


class TestSynthetic:
    def test_reads_what_is_generated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(synthetic, "generate", lambda split: ([f"of {split}"], np.ones(1)))
        found = find_reviews("synthetic")
        assert found.read("test") == (["of test"], np.ones(1))
        assert (found.name, found.location) == ("synthetic", "")
        assert found.note.endswith("accuracy means nothing for IMDB")

    def test_fingerprint_follows_the_version(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = find_reviews("synthetic").fingerprint
        assert find_reviews("synthetic").fingerprint == before
        monkeypatch.setattr(synthetic, "VERSION", -1)
        assert find_reviews("synthetic").fingerprint != before

    def test_a_data_dir_is_refused(self, tmp_path: Path) -> None:
        with one_line_error(f"`data_dir` {tmp_path} is of no use"):
            find_reviews("synthetic", tmp_path)


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
    split: reviews.Split, digest: str, imdb_reviews_dir: Path
) -> None:
    texts, labels = find_reviews("imdb_reviews", imdb_reviews_dir).read(split)
    assert len(texts) == 25_000
    assert np.bincount(labels).tolist() == [12_500, 12_500]
    content = hashlib.sha256(labels.astype("<i4").tobytes())
    for text in texts:
        content.update(text.encode() + b"\0")
    assert content.hexdigest() == digest
