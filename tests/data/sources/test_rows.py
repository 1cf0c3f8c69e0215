"""Rows that cannot be used."""

from pathlib import Path

import pytest
from imdb_archive import one_line_error
from own_rows import rows_in, written

from flax_imdb.data import MAX_CHARACTERS
from flax_imdb.errors import as_flags


class TestBadRows:
    def test_are_counted_and_the_first_are_named(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", ["text,label", "a,b", *(["c,"] * 1_234)])
        first = "line 3 has no label; line 4 has no label; line 5 has no label and 1,231 more"
        with one_line_error(
            rf"{path}: 1,234 of 1,235 rows \({first}\) cannot be used; correct them, or leave them "
            "out with `skip_bad_rows`$"
        ):
            rows_in(path)
        assert rows_in(path, skip_bad_rows=True).remarks[-1] == (
            f"{path}: left out 1,234 of 1,235 rows ({first})"
        )

    def test_alone_are_an_error(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", ["text,label", "a,", "b,"])
        with one_line_error(rf"{path} has no rows: 2 of 2 rows \(line 2 has no label; line 3 "):
            rows_in(path, skip_bad_rows=True)

    def test_have_texts_or_labels_that_are_far_too_long(self, tmp_path: Path) -> None:
        long = "é" * MAX_CHARACTERS
        path = written(tmp_path / "a.csv", ["text,label", f"{long},a", f"{long}.,b", f"c,{long}"])
        with one_line_error(
            "line 3 has a text of 1,000,001 characters, of which 1,000,000 are allowed; line 4 has "
            "a label of 1,000,000 characters, of which 1,000 are allowed"
        ):
            rows_in(path)
        assert rows_in(path, skip_bad_rows=True).texts == [long]

    def test_lead_to_the_flag(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", ["text,label", "a,"])
        with pytest.raises(Exception, match="skip_bad_rows") as caught:
            rows_in(path)
        assert as_flags(str(caught.value)).endswith("leave them out with --skip-bad-rows")


def test_labels_have_no_white_space_around_them(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", ["text,label", "a, b", " c ,\tb\u3000", 'd,"b\n"'])
    rows = rows_in(path)
    assert rows.labels == ["b", "b", "b"]
    assert rows.texts == ["a", " c ", "d"]
    assert len(set(map(id, rows.labels))) == 1  # Of a million, too, one is kept.
