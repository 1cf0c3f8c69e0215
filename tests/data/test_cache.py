"""The cache of encoded reviews."""

import os
import shutil
from pathlib import Path

import numpy as np
import permissions
import pytest
from few_reviews import FewReviews

from flax_imdb.data import cache as cache_module
from flax_imdb.data.cache import load_corpus
from flax_imdb.data.examples import Corpus


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

    @pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign", "text"])
    def test_a_torn_or_foreign_entry_is_made_again(self, cache: Path, damage: str) -> None:
        reviews = FewReviews()
        expected = load_corpus(reviews, "keras")
        (entry,) = cache.iterdir()
        content = bytearray(entry.read_bytes())
        if damage == "cut":
            content = content[: len(content) // 2]
        elif damage == "flipped":
            content[content.index(expected.train.inputs.tobytes()) + 4] ^= 1
        elif damage == "empty":
            content = bytearray()
        elif damage == "text":
            content = bytearray(b"not an archive")
        if damage == "foreign":
            with np.load(entry) as arrays:
                np.savez(entry, **{**arrays, "key": np.array("another")})
        else:
            entry.write_bytes(content)
        reads = reviews.reads
        assert_same(load_corpus(reviews, "keras"), expected)
        assert reviews.reads > reads
        assert_same(load_corpus(reviews, "keras"), expected)

    @pytest.mark.parametrize("umask", [0o002, 0o027])
    def test_the_umask_says_who_may_read_it(self, cache: Path, umask: int) -> None:
        before = os.umask(umask)
        try:
            load_corpus(FewReviews(), "keras")
        finally:
            os.umask(before)
        (entry,) = cache.iterdir()
        assert entry.stat().st_mode & 0o777 == 0o666 & ~umask
        assert cache.stat().st_mode & 0o777 == 0o777 & ~umask

    def test_an_entry_that_may_not_be_read_is_left_as_it_is(
        self, cache: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It is another user's, whose files differ in the time of their archive alone."""
        expected = load_corpus(FewReviews(), "keras")
        (entry,) = cache.iterdir()
        before = entry.stat()
        assert not capsys.readouterr().err
        with permissions.denied(entry):
            for _ in range(2):  # A run that compares with word counts reads it twice.
                assert_same(load_corpus(FewReviews(), "keras"), expected)
        assert capsys.readouterr().err == (
            f"warning: {entry} cannot be read (Permission denied): every start encodes the texts "
            "anew; FLAX_IMDB_CACHE may name another directory\n"
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
        expected = load_corpus(FewReviews(), "keras")
        (entry,) = cache.iterdir()
        with np.load(entry) as arrays:
            np.savez(entry, **{**arrays, "info": np.array([print], dtype=object)})
        assert_same(load_corpus(FewReviews(), "keras"), expected)
