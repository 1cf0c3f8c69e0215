"""Folders of texts."""

import os
from pathlib import Path

import permissions
import pytest
from dataset_shapes import write_folder
from imdb_archive import make_folder, one_line_error
from own_rows import own, pairs_in, rows_in, written

from flax_imdb.data import MAX_CHARACTERS


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return write_folder(tmp_path, ["Née.", "good", "bad", "so so"], ["pos", "pos", "neg", "neg"])


class TestTexts:
    def test_are_read_by_label_and_number(self, tmp_path: Path) -> None:
        for name in ("b/10.txt", "b/9.txt", "a/x2.TXT", "a/x10.txt", "a/X1.txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            written(tmp_path / name, f" {name}\r\nmore \n")
        assert pairs_in(tmp_path) == [
            (f"{name}\r\nmore", name[0])
            for name in ("a/X1.txt", "a/x2.TXT", "a/x10.txt", "b/9.txt", "b/10.txt")
        ]

    def test_have_no_remarks(self, texts: Path) -> None:
        assert rows_in(texts).remarks == ()

    @pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig", "utf-8"])
    def test_are_in_the_encoding(self, encoding: str, texts: Path) -> None:
        for file in texts.glob("*/*.txt"):
            written(file, file.read_text(encoding="utf-8").encode(encoding))
        settings = {} if encoding == "utf-8-sig" else {"encoding": encoding}
        assert "Née." in rows_in(texts, **settings).texts

    def test_that_cannot_be_used_are_named(self, texts: Path) -> None:
        for name, content in {
            "a1": b"\xe9",
            "a2": b" \n",
            "a3": b"\0",
            "a4": b"x" * (MAX_CHARACTERS + 1),
        }.items():
            written(texts / "neg" / f"{name}.txt", content)
        with one_line_error(
            rf"{texts}: 4 of 8 rows \(neg/a1.txt is not utf-8; neg/a2.txt has no text; neg/a3.txt "
            r"has a null character in its text and 1 more\) cannot be used.*`encoding` latin-1"
        ):
            rows_in(texts)
        assert len(rows_in(texts, skip_bad_rows=True).texts) == 4

    def test_that_are_far_too_long_are_not_read_to_the_end(self, texts: Path) -> None:
        os.truncate(written(texts / "neg" / "a.txt", "a"), 1 << 40)
        with one_line_error("neg/a.txt has a text of 4,000,005 characters"):
            rows_in(texts)

    @pytest.mark.parametrize("hidden", ["", "neg", "neg/cv002_29418.txt"])
    def test_that_may_not_be_read_are_an_error(self, hidden: str, texts: Path) -> None:
        with permissions.denied(texts / hidden), one_line_error("cannot be read: Permission den"):
            rows_in(texts)


class TestOtherFiles:
    def test_that_are_hidden_are_ignored(self, texts: Path) -> None:
        for name in (".DS_Store", "neg/.DS_Store", "neg/._cv000.txt"):
            written(texts / name, b"\0")
        (texts / ".git").mkdir()
        assert len(rows_in(texts).texts) == 4

    @pytest.mark.parametrize("name", ["README", "neg/README.md", "neg/a.txt/b", "new/a/b.txt"])
    def test_are_an_error_or_left_out(self, name: str, texts: Path) -> None:
        (texts / name).parent.mkdir(parents=True, exist_ok=True)
        written(texts / name, "a")
        with one_line_error(
            rf"{texts} has other things than LABEL/\*.txt.*: {os.path.dirname(name) or name}.*; "
            "move them elsewhere, or leave them out with `skip_bad_rows`"
        ):
            rows_in(texts)
        rows = rows_in(texts, skip_bad_rows=True)
        assert len(rows.texts) == 4
        assert " left out " in rows.remarks[0]

    def test_that_are_pipes_are_not_waited_for(self, texts: Path) -> None:
        os.mkfifo(texts / "neg" / "pipe.txt")
        with one_line_error("test/LABEL/.*txt: neg/pipe.txt"):
            rows_in(texts)

    def test_alone_are_an_error(self, tmp_path: Path) -> None:
        with one_line_error(rf"{tmp_path} has no texts: LABEL/\*.txt, or train/LABEL/\*.txt"):
            rows_in(tmp_path)
        written(tmp_path / "a.txt", "a")
        with one_line_error("needed; it has a.txt"):
            rows_in(tmp_path, skip_bad_rows=True)


class TestSplits:
    def test_may_be_folders(self, tmp_path: Path) -> None:
        write_folder(tmp_path, ["a", "b", "c", "d"], ["x", "y", "x", "y"], "own/train")
        write_folder(tmp_path, ["e", "f"], ["y", "x"], "own/test")
        source = own(tmp_path / "own")
        assert source.name == "own"
        assert source.classes == ("x", "y")
        assert source.read("train")[0] == ["a", "c", "b", "d"]
        assert source.read("test")[0] == ["f", "e"]
        assert source.read("test")[1].tolist() == [0, 1]

    def test_may_lack_that_of_the_test(self, tmp_path: Path) -> None:
        write_folder(tmp_path, [f"a{i}" for i in range(20)], ["x", "y"] * 10, "own/train")
        source = own(tmp_path / "own")
        assert [len(source.read(split)[0]) for split in ("train", "test")] == [16, 4]

    def test_have_nothing_beside_them(self, tmp_path: Path) -> None:
        write_folder(tmp_path, ["a", "b", "c", "d"], ["x", "y", "x", "y"], "own/train")
        write_folder(tmp_path, ["e", "f"], ["y", "x"], "own/dev")
        with one_line_error(r"own/train has other things than LABEL/.*: ../dev; move"):
            own(tmp_path / "own")
        assert own(tmp_path / "own", skip_bad_rows=True).remarks == (
            f"{tmp_path}/own/train: left out what is no text (1): ../dev",
        )

    def test_may_be_labels(self, tmp_path: Path) -> None:
        write_folder(tmp_path, ["a", "b", "c", "d"], ["train", "bus", "train", "bus"], "own")
        assert own(tmp_path / "own").classes == ("bus", "train")

    def test_of_the_imdb_archive_are_asked_for_in_its_own_way(self, tmp_path: Path) -> None:
        """Its reviews without a label would be taken for those of a class."""
        folder = make_folder(tmp_path / "aclImdb")
        with one_line_error(f"{folder} is the archive of the IMDB reviews: give it as `data_dir`"):
            own(folder, skip_bad_rows=True)
