"""Texts in fastText's form."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from imdb_archive import one_line_error
from own_rows import pairs_in, rows_in, written

NO_BREAKS = st.characters(codec="utf-8", exclude_characters="\0\n\r")
TEXTS = st.text(NO_BREAKS).filter(
    lambda text: text.strip() and text == text.lstrip(" \t") and not text.startswith("__label__")
)
LABELS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)


@given(rows=st.lists(st.tuples(TEXTS, LABELS), min_size=1, max_size=6))
def test_what_is_written_is_read(scratch: Path, rows: list[tuple[str, str]]) -> None:
    lines = [f"__label__{label} {text}" for text, label in rows]
    assert pairs_in(written(scratch / "a.txt", lines)) == rows


def test_other_lines_are_bad_rows(tmp_path: Path) -> None:
    lines = [
        *("__label__a b", "", "c", "__label__a __label__b c", "__label__a", "__label__ d"),
        "e __label__a",
    ]
    path = written(tmp_path / "a.txt", lines)
    with one_line_error(
        r"5 of 6 rows \(line 3 does not begin with __label__; line 4 has more than one label; "
        r"line 5 has no text and 2 more\) .*, or allow them with `multi_label`"
    ):
        rows_in(path)
    assert pairs_in(path, skip_bad_rows=True) == [("b", "a")]


def test_a_file_without_any_label_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "A film.\n")
    with one_line_error("a.txt has no line in fastText's form, which is: __label__x text"):
        rows_in(path, skip_bad_rows=True)


def test_there_are_no_columns_to_choose_from(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "__label__a b\n")
    assert rows_in(path).remarks == ()
    assert pairs_in(path, text_columns="text", label_column="label") == [("b", "a")]
    with one_line_error(r"`text_columns` body is not a column of .*a.txt; .* label \('a'\), text"):
        rows_in(path, text_columns="body")
