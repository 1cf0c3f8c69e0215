"""Reading an extracted archive."""

import shutil
from pathlib import Path

import numpy as np
import permissions
import pytest
from imdb_archive import PER_LABEL, one_line_error, text_of

from flax_imdb.data.sources import SPLITS, find_reviews
from flax_imdb.errors import InputError


class TestFolder:
    def test_reads_negative_then_positive_by_number(self, folder: Path) -> None:
        found = find_reviews(data_dir=folder)
        for split in SPLITS:
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

    @pytest.mark.parametrize("hidden", ["", "train", "train/neg", "train/neg/0_0.txt"])
    def test_a_folder_that_may_not_be_read_is_an_error(self, hidden: str, folder: Path) -> None:
        with permissions.denied(folder / hidden), one_line_error("cannot be read: Permission den"):
            find_reviews(data_dir=folder).read("train")
