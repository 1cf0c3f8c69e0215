"""Preparing and reading what tfds reads."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import permissions
import pytest
import tensorflow_datasets as tfds
from imdb_archive import DATASET, PER_LABEL, TRAIN_SHARD, make_folder, one_line_error
from tensorflow_datasets.core.download.checksums import UrlInfo
from tensorflow_datasets.datasets.imdb_reviews import imdb_reviews_dataset_builder as tfds_imdb

from flax_imdb.data.sources import SPLITS, find_reviews, imdb_tfds


class TestTfds:
    def test_reads_what_plain_tfds_reads(self, prepared: Path) -> None:
        found = find_reviews(data_dir=prepared)
        assert (found.name, found.note) == ("imdb_reviews", "")
        assert found.location == str(prepared)
        for split in SPLITS:
            texts, labels = found.read(split)
            source = tfds.data_source("imdb_reviews/plain_text", data_dir=prepared, split=split)
            assert texts == [example["text"].decode() for example in source]
            assert labels.tolist() == [example["label"] for example in source]
            assert labels.dtype == np.int32

    def test_has_the_reviews_of_the_archive(self, prepared: Path, folder: Path) -> None:
        for split in SPLITS:
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


class TestPreparing:
    """What `prepare` does and refuses."""

    @pytest.mark.usefixtures("online")
    def test_may_be_prepared_by_another_process_meanwhile(
        self, default_dir: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        iter_archive = imdb_tfds._iter_archive

        def finish_the_other_first(path: Path) -> Iterator[tuple[str, object]]:
            shutil.copytree(prepared, default_dir, dirs_exist_ok=True)
            yield from iter_archive(path)

        monkeypatch.setattr(imdb_tfds, "_iter_archive", finish_the_other_first)
        assert find_reviews().fingerprint == find_reviews(data_dir=prepared).fingerprint
        assert not list(default_dir.rglob("incomplete.*"))

    def test_refuses_a_download_with_a_wrong_checksum(
        self, online: str, default_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = UrlInfo(size=1, checksum="0" * 64, filename="aclImdb_v1.tar.gz")
        monkeypatch.setattr(tfds_imdb.Builder, "url_infos", {online: expected})
        with one_line_error("cannot be fetched .*NonMatchingChecksum"):
            find_reviews("imdb_reviews")
        assert not (default_dir / DATASET).exists()

    def test_official_archive_has_a_checksum(self) -> None:
        assert imdb_tfds.ARCHIVE_URL == tfds_imdb._DOWNLOAD_URL
        assert imdb_tfds.ARCHIVE_URL in tfds_imdb.Builder.url_infos

    def test_needs_no_tensorflow(self, archive_url: str, default_dir: Path, tmp_path: Path) -> None:
        """Neither to prepare nor to read, nor is it imported where it is installed."""
        fake = tmp_path / "fake" / "tensorflow"
        fake.mkdir(parents=True)
        (fake / "__init__.py").write_text("raise AssertionError('TensorFlow was imported')")
        program = f"""
import sys
from flax_imdb.data.sources import find_reviews, imdb_tfds
from tensorflow_datasets.datasets.imdb_reviews import imdb_reviews_dataset_builder as builder
imdb_tfds.ARCHIVE_URL = builder._DOWNLOAD_URL = {archive_url!r}
texts, _ = find_reviews("imdb_reviews").read("train")
assert len(texts) == {2 * PER_LABEL["train"]}
assert "tensorflow" not in sys.modules
"""
        path = os.pathsep.join([str(fake.parent), *filter(None, sys.path)])
        environment = {**os.environ, "PYTHONPATH": path}
        subprocess.run([sys.executable, "-c", program], env=environment, check=True)
        assert (default_dir / DATASET).exists()

    def test_is_noticed_within_seconds(self) -> None:
        assert imdb_tfds.PROBE_SECONDS < 10


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

    def test_a_name_that_is_not_utf_8_is_refused_of_tfds_alone(self, tfds_dir: Path) -> None:
        """Of files in C++; Python reads a folder of any name."""
        with one_line_error("data directory .*/caf\udce9 is not UTF-8 in this locale"):
            find_reviews(data_dir=tfds_dir.rename(tfds_dir.with_name("caf\udce9")))
        folder = make_folder(tfds_dir.with_name("caf\udce8"))
        assert find_reviews(data_dir=folder).read("test")[0]


class TestWithoutArrayRecord:
    """As on Windows, for which there is none."""

    @pytest.fixture(autouse=True)
    def _hidden(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(imdb_tfds, "_NO_ARRAY_RECORD", "array_record is not installed")

    def test_tfds_files_are_refused(self, tfds_dir: Path) -> None:
        with one_line_error(f"{tfds_dir}: array_record is not installed; use an extracted aclImdb"):
            find_reviews(data_dir=tfds_dir)

    def test_nothing_is_fetched(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
        with one_line_error("array_record is not installed"):
            find_reviews("imdb_reviews")
        assert not list(tmp_path.iterdir())
