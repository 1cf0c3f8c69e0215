"""The cache of encoded reviews."""

import json
import os
import shutil
import zlib
from pathlib import Path

import numpy as np
import permissions
import pytest
from few_reviews import FewReviews

from flax_imdb.data import cache as cache_module
from flax_imdb.data import encode
from flax_imdb.data.cache import load_corpus
from flax_imdb.data.examples import Corpus
from flax_imdb.data.sources import Split


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLAX_IMDB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def assert_same(corpus: Corpus, other: Corpus) -> None:
    assert corpus.info.dump() == other.info.dump()
    assert (corpus.remarks, corpus.warnings) == (other.remarks, other.warnings)
    for ours, theirs in ((corpus.train, other.train), (corpus.test, other.test)):
        for name, array in vars(ours).items():
            np.testing.assert_array_equal(array, getattr(theirs, name))


def encoded() -> Corpus:
    """What an entry holds; in memory, since the files of one that is mapped must not change."""
    return encode(FewReviews(), "keras")


class TestCache:
    def test_a_second_start_does_not_read_the_reviews(self, cache: Path) -> None:
        reviews = FewReviews()
        first = load_corpus(reviews, "keras")
        reads = reviews.reads
        assert_same(load_corpus(reviews, "keras"), first)
        assert reviews.reads == reads
        assert len(list(cache.iterdir())) == 1

    def test_other_reviews_have_another_entry(self, cache: Path) -> None:
        reviews = FewReviews()
        load_corpus(reviews, "keras")
        reviews.fingerprint = "fewer"
        reads = reviews.reads
        load_corpus(reviews, "keras")
        assert reviews.reads > reads

    def test_other_code_has_another_entry(
        self, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reviews = FewReviews()
        load_corpus(reviews, "keras")
        changed = shutil.copytree(cache_module._PACKAGE, tmp_path / "data")
        with (changed / "sources" / "find.py").open("a") as file:
            file.write("# changed")
        monkeypatch.setattr(cache_module, "_PACKAGE", changed)
        reads = reviews.reads
        load_corpus(reviews, "keras")
        assert reviews.reads > reads

    def test_other_rules_have_another_entry(self, cache: Path) -> None:
        keras, ours = (load_corpus(FewReviews(), rules) for rules in ("keras", "unicode"))
        assert (keras.info.vocabulary.rules, ours.info.vocabulary.rules) == ("keras", "unicode")
        assert len(list(cache.iterdir())) == 2

    @pytest.mark.parametrize("name", ["train_inputs.npy", "test_labels.npy", "vocabulary.json"])
    @pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone"])
    def test_a_damaged_entry_is_made_again(self, cache: Path, name: str, damage: str) -> None:
        reviews, expected = FewReviews(), encoded()
        load_corpus(reviews, "keras")
        (entry,) = cache.iterdir()
        content = bytearray((entry / name).read_bytes())
        if damage == "cut":
            content = content[: len(content) // 2]
        elif damage == "flipped":
            content[-4] ^= 1
        elif damage == "empty":
            content = bytearray()
        if damage == "gone":
            (entry / name).unlink()
        else:
            (entry / name).write_bytes(content)
        reads = reviews.reads
        assert_same(load_corpus(reviews, "keras"), expected)
        assert reviews.reads > reads
        reads = reviews.reads
        assert_same(load_corpus(reviews, "keras"), expected)
        assert reviews.reads == reads
        assert list(cache.iterdir()) == [entry]

    @pytest.mark.parametrize("what", ["a file", "an empty directory", "text", "another key"])
    def test_what_is_no_entry_makes_way_for_one(self, cache: Path, what: str) -> None:
        expected = encoded()
        load_corpus(FewReviews(), "keras")
        (entry,) = cache.iterdir()
        index = entry / "entry.json"
        if what == "text":
            index.write_text("not JSON")
        elif what == "another key":
            index.write_text(json.dumps(json.loads(index.read_text()) | {"key": "another"}))
        else:
            shutil.rmtree(entry)
            entry.touch() if what == "a file" else entry.mkdir()
        reviews = FewReviews()
        assert_same(load_corpus(reviews, "keras"), expected)
        assert reviews.reads
        assert list(cache.iterdir()) == [entry]
        assert_same(load_corpus(FewReviews(), "keras"), expected)

    def test_its_arrays_are_read_where_they_are_looked_at(self, cache: Path) -> None:
        load_corpus(FewReviews(), "keras")
        corpus = load_corpus(FewReviews(), "keras")
        assert isinstance(corpus.train.inputs.base, np.memmap)
        assert not corpus.train.inputs.flags.writeable
        assert corpus.train.take(np.array([0])).labels.flags.writeable

    def test_an_interrupted_start_leaves_nothing(self, cache: Path) -> None:
        class Interrupted(FewReviews):
            def read(self, split: Split) -> tuple[list[str], np.ndarray]:
                if split == "test":
                    raise KeyboardInterrupt
                return super().read(split)

        with pytest.raises(KeyboardInterrupt):
            load_corpus(Interrupted(), "keras")
        assert list(cache.iterdir()) == []

    def test_two_processes_may_write_the_same_entry(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The other one gives it its name after this one has made room for its own."""
        expected = encoded()
        load_corpus(FewReviews(), "keras")
        (entry,) = cache.iterdir()
        other = shutil.copytree(entry, cache.parent / "other")
        (entry / "test_ids.npy").unlink()
        rename = Path.rename

        def faster(self: Path, target: Path) -> Path:
            if target == entry and other.exists():
                rename(other, entry)
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", faster)
        assert_same(load_corpus(FewReviews(), "keras"), expected)
        assert list(cache.iterdir()) == [entry]
        assert_same(load_corpus(FewReviews(), "keras"), expected)

    @pytest.mark.parametrize("umask", [0o002, 0o027])
    def test_the_umask_says_who_may_read_it(self, cache: Path, umask: int) -> None:
        before = os.umask(umask)
        try:
            load_corpus(FewReviews(), "keras")
        finally:
            os.umask(before)
        (entry,) = cache.iterdir()
        assert entry.stat().st_mode & 0o777 == 0o777 & ~umask
        assert {file.stat().st_mode & 0o777 for file in entry.iterdir()} == {0o666 & ~umask}
        assert cache.stat().st_mode & 0o777 == 0o777 & ~umask

    def test_an_entry_that_may_not_be_read_is_left_as_it_is(
        self, cache: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It is another user's, whose files differ in the time of their archive alone."""
        expected = encoded()
        load_corpus(FewReviews(), "keras")
        (entry,) = cache.iterdir()
        before = entry.stat()
        assert not capsys.readouterr().err
        with permissions.denied(entry):
            for _ in range(2):  # A run that compares with word counts reads it twice.
                assert_same(load_corpus(FewReviews(), "keras"), expected)
        assert capsys.readouterr().err == (
            f"warning: {entry} cannot be read (Permission denied): every start encodes the texts "
            "anew, in memory; FLAX_IMDB_CACHE may name another directory\n"
        )
        assert (entry.stat().st_ino, entry.stat().st_mtime) == (before.st_ino, before.st_mtime)
        assert list(cache.iterdir()) == [entry]

    def test_a_directory_that_cannot_be_written_is_done_without(
        self, cache: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cache.mkdir()
        with permissions.denied(cache, 0o555):
            corpus = load_corpus(FewReviews(), "keras")
        cache.rmdir()
        cache.write_text("a file in the way")
        assert_same(load_corpus(FewReviews(), "keras"), corpus)
        for reason, line in zip(
            ("Permission denied", "File exists"), capsys.readouterr().err.splitlines(), strict=True
        ):
            assert line.startswith(f"warning: {cache} cannot be written ({reason}): every start")

    def test_it_never_unpickles(self, cache: Path) -> None:
        """An array of objects, which numpy would unpickle, counts as foreign."""
        expected = encoded()
        load_corpus(FewReviews(), "keras")
        (entry,) = cache.iterdir()
        np.save(entry / "test_labels.npy", np.array([print], dtype=object))
        index = json.loads((entry / "entry.json").read_text())
        content = (entry / "test_labels.npy").read_bytes()
        index["checksums"]["test_labels.npy"] = zlib.crc32(content)
        (entry / "entry.json").write_text(json.dumps(index))
        assert_same(load_corpus(FewReviews(), "keras"), expected)
