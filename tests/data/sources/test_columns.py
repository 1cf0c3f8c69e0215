"""Which columns are the text and the label."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from imdb_archive import one_line_error
from own_rows import rows_in, written


def table(tmp_path: Path, header: str, *rows: str) -> Path:
    values = rows or (",".join(f"{name.strip()} 1" for name in header.split(",")),)
    return written(tmp_path / "a.csv", [header, *values])


class TestGuess:
    @pytest.mark.parametrize(
        ("header", "text", "label"),
        [
            ("text,label", "text", "label"),
            ("id,Review,Sentiment", "Review", "Sentiment"),
            ("sentence,CLASS,idx", "sentence", "CLASS"),
            ("target,content,url", "content", "target"),
            ("comment,category", "comment", "category"),
            ("star_rating,review_body,review_id", "review_body", "star_rating"),
            ("overall,reviewText,summary", "reviewText", "overall"),
            ("stars,body", "body", "stars"),
            ("Message,Rating", "Message", "Rating"),
            ("airline sentiment confidence,tweet text,sentiment", "tweet text", "sentiment"),
            ("text,label,label_text", "text", "label"),
        ],
    )
    def test_is_made_where_there_is_no_doubt_and_said(
        self, header: str, text: str, label: str, tmp_path: Path
    ) -> None:
        rows = rows_in(table(tmp_path, header))
        assert (rows.texts, rows.labels) == ([f"{text} 1"], [f"{label} 1"])
        unused = ", ".join(name for name in header.split(",") if name not in (text, label))
        rest = f"; not used: {unused}" if unused else ""
        note = f"{tmp_path}/a.csv: the text is column {text}, the label column {label}{rest}"
        assert rows.remarks == (note,)

    @pytest.mark.parametrize(
        ("header", "asked"),
        [
            ("text,review,label", "is the text: give `text_columns`"),
            ("text,label,class", "is the label: give `label_column`"),
            ("v1,text", "is the label: give `label_column`"),
            ("v1,label", "is the text: give `text_columns`"),
            ("v1,v2", "is the text and which the label: give `text_columns` and `label_column`"),
        ],
    )
    def test_is_not_made_where_there_is_doubt(
        self, header: str, asked: str, tmp_path: Path
    ) -> None:
        first = header.split(",")[0]
        shown = rf"its columns, with a value of each, are {first} \('{first} 1'\), "
        with one_line_error(f"a.csv does not make clear which column {asked}; {shown}"):
            rows_in(table(tmp_path, header))

    def test_leaves_out_what_is_asked_for(self, tmp_path: Path) -> None:
        path = table(tmp_path, "text,review,label,class")
        rows = rows_in(path, text_columns="review", label_column="class")
        assert (rows.texts, rows.labels, rows.remarks) == (["review 1"], ["class 1"], ())
        assert rows_in(path, text_columns="text,review", label_column="class").remarks == ()
        other = table(tmp_path, "text,review,label")
        assert rows_in(other, label_column="review").texts == ["text 1"]
        assert rows_in(other, label_column="text").texts == ["review 1"]

    def test_is_asked_for_with_short_values_on_one_line(self, tmp_path: Path) -> None:
        long = "a" * 200_000
        path = table(tmp_path, "v1,v2,`x`", f'"a\n`b`\x1b[31m",{long},')
        with one_line_error(r"v1 \('a\\n'b'\\x1b\[31m'\), v2 \('a{25}...'\), 'x' \(''\)"):
            rows_in(path)
        many = table(tmp_path, ",".join(f"column{i}" for i in range(1000)))
        with one_line_error(r"column19 \('column19 1'\) and 980 more; if its first line"):
            rows_in(many)


class TestAskedFor:
    def test_columns_that_are_not_there_are_an_error(self, tmp_path: Path) -> None:
        path = table(tmp_path, "text,label")
        columns = r"its columns.* are text \('text 1'\), label \('label 1'\)"
        with one_line_error(f"`text_columns` body is not a column of {path}; {columns}"):
            rows_in(path, text_columns="text,body")
        with one_line_error(f"`label_column` class is not a column of {path}; {columns}"):
            rows_in(path, label_column="class")

    @pytest.mark.parametrize(
        ("texts", "label"), [("text,text", "label"), ("text,label", "label"), ("text", "text")]
    )
    def test_columns_are_different(self, texts: str, label: str, tmp_path: Path) -> None:
        with one_line_error("`text_columns` and `label_column` name a column twice: "):
            rows_in(table(tmp_path, "text,label"), text_columns=texts, label_column=label)

    @pytest.mark.parametrize("setting", ["text_columns", "label_column"])
    def test_columns_have_names(self, setting: str, tmp_path: Path) -> None:
        with one_line_error(f"`{setting}` "):
            rows_in(table(tmp_path, "text,label"), **{setting: ""})
        with one_line_error(f"`{setting}` is empty: name the columns of the (text|label)"):
            rows_in(table(tmp_path, "text,label"), multi_label=True, **{setting: ""})

    @pytest.mark.parametrize(
        ("values", "text"),
        [
            (["x", "a", "b", "c"], "a\nc"),
            (["x", "a", "b", ""], "a"),
            (["x", " ", "b", "c"], "c"),
            (["x", " a", "b", "c "], " a\nc "),
        ],
    )
    def test_columns_are_joined_by_a_line_break(
        self, values: Sequence[str], text: str, tmp_path: Path
    ) -> None:
        path = table(tmp_path, "label,title,id,text", ",".join(values))
        assert rows_in(path, text_columns="title,text").texts == [text]

    def test_columns_are_joined_in_the_order_asked_for(self, tmp_path: Path) -> None:
        path = table(tmp_path, "label,title,text", "x,a,b", "x,,", "y,c,d")
        with one_line_error("line 3 has no text"):
            rows_in(path, text_columns="text,title")
        rows = rows_in(path, text_columns="text, title", skip_bad_rows=True)
        assert rows.texts == ["b\na", "d\nc"]

    def test_a_name_with_a_comma_is_quoted(self, tmp_path: Path) -> None:
        path = table(tmp_path, '"a, b",label', "x,y")
        assert rows_in(path, text_columns='"a, b"').texts == ["x"]
