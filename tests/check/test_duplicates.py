"""Duplicates and near-duplicates, against a comparison of all pairs."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from checked_rows import rows_of, texts_in, write

from flax_imdb.check.duplicates import SIMILAR, _rarest, find_duplicates
from flax_imdb.check.texts import Texts
from flax_imdb.data import split_words


def texts_of(path: Path, texts: list[str]) -> Texts:
    rows = [(text, "ab"[row % 2]) for row, text in enumerate(texts)]
    return texts_in(write(path / "rows.csv", rows))


def shares(texts: list[str]) -> np.ndarray:
    """The Jaccard index of the runs of three words of all pairs."""
    sets = [{*zip(words, words[1:], words[2:], strict=False)} for words in map(split_words, texts)]
    return np.array([[len(a & b) / max(len(a | b), 1) for b in sets] for a in sets])


class TestTheSameWords:
    def test_case_punctuation_and_markup_do_not_matter(self, tmp_path: Path) -> None:
        texts = ["A good film", "bad", "a GOOD -- film!<br />", "film good a", "Bad.", "..", "!!"]
        found = find_duplicates(texts_of(tmp_path, texts))
        assert found.first.tolist() == [0, 1, 0, 3, 1, 5, 6]
        assert found.is_copy.tolist() == [False, False, True, False, True, False, False]
        assert found.similarity.tolist() == [1] * 7

    def test_it_does_not_matter_where_they_are(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = [text for text, _ in rows_of(40)]
        texts = texts_of(tmp_path, [*rows, *rows[::-1]])
        expected = [*range(40), *range(39, -1, -1)]
        assert find_duplicates(texts).first.tolist() == expected
        monkeypatch.setattr("flax_imdb.check.texts._TOKENS_AT_ONCE", 100)
        assert find_duplicates(texts).first.tolist() == expected


class TestNearlyTheSame:
    def test_all_pairs_that_share_enough_are_found(self, tmp_path: Path) -> None:
        """Of texts with 0 to 12 of 60 words changed; those near the limit in both directions."""
        rng = np.random.default_rng(0)
        words = np.array([f"w{number}" for number in range(3000)])
        texts = []
        for _ in range(60):
            text = rng.choice(words, 60)
            texts.append(" ".join(text))
            for count in rng.integers(1, 13, 2):
                other = text.copy()
                other[rng.choice(60, count, replace=False)] = rng.choice(words, count)
                texts.append(" ".join(other))
        share = shares(texts)
        found = find_duplicates(texts_of(tmp_path, texts))
        near = 0
        for row in range(len(texts)):
            first = int(found.first[row])
            earlier = np.flatnonzero(~found.is_copy[:row])
            if first != row:
                near += 1
                assert share[row, first] >= SIMILAR
                assert found.similarity[row] == pytest.approx(share[row, first], abs=0.02)
                assert not found.is_copy[first]
                assert share[row, first] == share[row, earlier].max()
            else:
                assert share[row, earlier].max(initial=0) < SIMILAR
        assert 20 < near < 100

    def test_copies_of_a_near_duplicate_follow_it(self, tmp_path: Path) -> None:
        text = " ".join(f"word{number}" for number in range(50))
        other = text.replace("word20", "changed")
        found = find_duplicates(texts_of(tmp_path, [text, other, "something else", other]))
        assert found.first.tolist() == [0, 0, 2, 0]
        expected = shares([text, other])[0, 1]
        np.testing.assert_allclose(found.similarity, [1, expected, 1, expected])

    def test_the_same_runs_in_another_number_are_not_the_same_words(self, tmp_path: Path) -> None:
        found = find_duplicates(texts_of(tmp_path, ["no " * 6, "no " * 11, "yes", "no " * 11]))
        assert found.first.tolist() == [0, 0, 2, 0]
        assert found.same.tolist() == [0, 1, 2, 1]
        assert found.similarity.tolist() == [1, 0.99, 1, 0.99]

    def test_short_texts_are_compared_as_a_whole(self, tmp_path: Path) -> None:
        found = find_duplicates(texts_of(tmp_path, ["good film", "good films", "good", "a b c"]))
        assert not found.is_copy.any()

    def test_texts_from_one_template_take_no_longer(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However many are alike, each is compared with few."""
        compared: list[int] = []
        monkeypatch.setattr(
            "flax_imdb.check.duplicates.jaccard", lambda a, b: compared.append(1) or 0.0
        )
        monkeypatch.setattr("flax_imdb.check.duplicates._MOST_COMPARED", 10)
        texts = [f"this is the template of all texts but for number{n}" for n in range(300)]
        found = find_duplicates(texts_of(tmp_path, texts))
        assert not found.is_copy.any()
        assert 0 < len(compared) <= 10 * 300

    def test_of_texts_that_share_less_few_are_looked_at(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And near copies of the last ones are found all the same."""
        looked: list[int] = []

        def rarest(groups: Sequence[Sequence[int]]) -> np.ndarray:
            numbers = _rarest(groups)
            looked.append(len(numbers))
            return numbers

        monkeypatch.setattr("flax_imdb.check.duplicates._rarest", rarest)
        monkeypatch.setattr("flax_imdb.check.duplicates._MOST_LOOKED_AT", 20)
        rng = np.random.default_rng(0)
        template = [f"t{number}" for number in range(30)]
        texts = [" ".join([*template, *(f"w{n}" for n in rng.integers(20, size=14))])]
        for row in range(1, 600):
            words = [*template, *(f"w{n}" for n in rng.integers(20, size=14))]
            if row >= 500:
                words = texts[row - 100].split()
                words[43] = "changed"
            texts.append(" ".join(words))
        found = find_duplicates(texts_of(tmp_path, texts))
        assert max(looked) == 20
        assert [row for row in range(500, 600) if found.first[row] != row - 100] == []
        assert not found.is_copy[:500].any()

    def test_without_datasketch_only_the_same_words_are_found(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = " ".join(f"word{number}" for number in range(50))
        rows = [text, text.replace("word20", "changed"), "something else", text]
        monkeypatch.setitem(sys.modules, "datasketch", None)
        found = find_duplicates(texts_of(tmp_path, rows))
        assert not found.near
        assert found.first.tolist() == [0, 1, 2, 0]
