"""Tables of text, as they are and not as they look."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imdb_archive import one_line_error
from own_rows import pairs_in, rows_in, written

from flax_imdb.data.sources import problem_of_label

LINES = "abc \t,;\"'\\\n\r\u2028\x0b\x0c\x85é中😀"
TEXTS = st.text(st.one_of(st.sampled_from(LINES), st.characters(codec="utf-8"))).filter(
    lambda text: text.strip() and "\0" not in text
)
LABELS = TEXTS.map(str.strip).filter(lambda label: not problem_of_label(label))
ROWS = st.lists(st.tuples(TEXTS, LABELS), min_size=1, max_size=6)


class TestFieldsAreText:
    """What guesses of types have been seen to do elsewhere does not happen."""

    @pytest.mark.parametrize(
        "labels",
        [
            ["01", "02"],
            ["NA", "null"],
            ["true", "True"],
            ["1", "1.0"],
            ["2020-01-01", "2020-01-01T00:00:00"],
            ["1e3", "1000"],
            ["nan", "None"],
            ["-1", "0x10"],
        ],
    )
    def test_labels_stay_as_they_are(self, labels: Sequence[str], tmp_path: Path) -> None:
        rows = [f"text {label},{label}" for label in labels]
        path = written(tmp_path / "a.csv", ["text,label", *rows])
        assert pairs_in(path) == [(f"text {label}", label) for label in labels]

    def test_texts_stay_as_they_are(self, tmp_path: Path) -> None:
        texts = ["007", "NA", "null", "1.50", "true", "2020-01-01", " 1 "]
        path = written(tmp_path / "a.csv", ["label,text", *(f"a,{text}" for text in texts)])
        assert rows_in(path).texts == texts

    def test_a_long_line_is_read(self, tmp_path: Path) -> None:
        """Of 2 MiB: longer than the blocks that files are read in."""
        long = "word " * 190_000
        path = written(tmp_path / "a.csv", ["a,text,b,label", f'"{long}","{long}",{long},x'])
        assert pairs_in(path) == [(long, "x")]

    @pytest.mark.parametrize("before", [(1 << 20) - 3, (1 << 20) - 2, (1 << 20) - 1, 1 << 20])
    @pytest.mark.parametrize("line_break", ["\r\n", "\n", "\r", "\n\r"])
    def test_a_line_break_at_the_end_of_a_block_is_read(
        self, before: int, line_break: str, tmp_path: Path
    ) -> None:
        filling = (before - len("text,label\n")) // 2
        rows = f"text,label\n{'a' * filling},x\n{'b' * (filling - 10)},x\n"
        last = "c" * (before - len(rows) - 1) + f"{line_break}c"
        texts = rows_in(written(tmp_path / "a.csv", f'{rows}"{last}",y')).texts
        assert texts == ["a" * filling, "b" * (filling - 10), last]

    def test_an_empty_field_is_missing(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", ["text,label", "a,", ",b", '"",b', " ,b", "a, ", "c,d"])
        with one_line_error(
            r"5 of 6 rows \(line 2 has no label; line 3 has no text; line 4 has no text and 2 more"
        ):
            rows_in(path)
        assert pairs_in(path, skip_bad_rows=True) == [("c", "d")]


class TestRoundTrip:
    @given(
        rows=ROWS,
        delimiter=st.sampled_from(",;|"),
        line_break=st.sampled_from(["\n", "\r\n", "\r"]),
    )
    def test_what_is_written_is_read(
        self, scratch: Path, rows: list[tuple[str, str]], delimiter: str, line_break: str
    ) -> None:
        file = io.StringIO(newline="")
        writer = csv.writer(
            file, delimiter=delimiter, lineterminator=line_break, quoting=csv.QUOTE_ALL
        )
        writer.writerow(("text", "label"))
        writer.writerows(rows)
        path = written(scratch / "a.csv", file.getvalue())
        assert pairs_in(path, delimiter=delimiter) == rows

    @given(rows=ROWS)
    def test_what_is_quoted_where_it_must_be_is_read(
        self, scratch: Path, rows: list[tuple[str, str]]
    ) -> None:
        lines = [",".join(map(quoted, row)) for row in [("text", "label"), *rows]]
        assert pairs_in(written(scratch / "a.csv", "\n".join(lines))) == rows

    @given(rows=ROWS)
    def test_what_is_separated_by_tabs_is_read(
        self, scratch: Path, rows: list[tuple[str, str]]
    ) -> None:
        plain = [tuple(" ".join(value.split()) for value in row) for row in rows]
        lines = ["\t".join(row) for row in [("text", "label"), *plain]]
        assert pairs_in(written(scratch / "a.tsv", "\n".join(lines))) == plain


def quoted(value: str) -> str:
    """RFC 4180, written down once more."""
    if not any(character in value for character in ',"\n\r') and value:
        return value
    return '"' + value.replace('"', '""') + '"'


class TestTabs:
    TEXTS = ('"great film', "so so", '36" screen', '"bad"')

    def test_come_without_quoting(self, tmp_path: Path) -> None:
        rows = [f"{text}\t{i % 2}" for i, text in enumerate(self.TEXTS)]
        path = written(tmp_path / "a.tsv", ["sentence\tlabel", *rows])
        assert rows_in(path).texts == list(self.TEXTS)

    @pytest.mark.parametrize("delimiter", ["\t", "\\t", "tab"])
    def test_may_separate_a_csv_file(self, delimiter: str, tmp_path: Path) -> None:
        rows = [f"{text}\t{i % 2}" for i, text in enumerate(self.TEXTS)]
        path = written(tmp_path / "a.csv", ["sentence\tlabel", *rows])
        assert rows_in(path, delimiter=delimiter).texts == list(self.TEXTS)

    def test_do_not_go_with_quotes(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.tsv", 'text\tlabel\n"one\ntext"\ta\n')
        with one_line_error("line 2 has 1 field instead of 2.*between tabs quotes are characters"):
            rows_in(path)

    @pytest.mark.parametrize("delimiter", ["", ", ", '"', "\n", "\0", "tabs"])
    def test_or_another_character_alone(self, delimiter: str, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", ["text,label", "a,b"])
        with one_line_error("`delimiter` .* is not one character"):
            rows_in(path, delimiter=delimiter)


class TestLines:
    """Lines are counted as an editor counts them."""

    @pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
    def test_are_counted_in_quotes_and_where_blank(self, line_break: str, tmp_path: Path) -> None:
        rows = ["text,label", '"one\ntwo\n\nthree",a', "", "four,b", '"five\n",', "six"]
        path = written(tmp_path / "a.csv", "\n".join(rows).replace("\n", line_break))
        with one_line_error("line 8 has no label; line 10 has 1 field instead of 2"):
            rows_in(path)

    @pytest.mark.parametrize("separator", ["\u2028", "\x0b", "\x0c", "\x1c", "\x85"])
    def test_end_at_line_breaks_alone(self, separator: str, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", f"text,label\na{separator}b,c\n")
        assert pairs_in(path) == [(f"a{separator}b", "c")]

    def test_the_last_may_lack_its_end(self, tmp_path: Path) -> None:
        assert pairs_in(written(tmp_path / "a.csv", 'text,label\na,"b"')) == [("a", "b")]

    def test_with_other_numbers_of_fields_are_bad(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", ["text,label,id", "a,b,1", "a, b,c,2", "a,b", "c,d,3"])
        with one_line_error("line 3 has 4 fields instead of 3; line 4 has 2 fields instead of 3"):
            rows_in(path)
        rows = rows_in(path, skip_bad_rows=True)
        assert rows.texts == ["a", "c"]
        assert "left out 2 of 4 rows (line 3 has 4 fields" in rows.remarks[-1]


class TestQuotes:
    def test_may_be_in_fields_without(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", ["text,label", '36" screen,a', ' "b",c'])
        assert pairs_in(path) == [('36" screen', "a"), (' "b"', "c")]

    def test_that_are_not_doubled_are_an_error(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", ["text,label", '"a "fine" film",b', "c,d"])
        with one_line_error(r"line 2 cannot be split into fields"):
            rows_in(path)
        assert pairs_in(path, skip_bad_rows=True) == [("c", "d")]

    @pytest.mark.parametrize("skip", [True, False])
    @pytest.mark.parametrize(
        ("row", "line"),
        [
            ('"a', 4),
            ('a,"b', 4),
            ('36",36",x,"b', 4),
            ('"a\nb","c', 5),
            ('a"b,"x""\n', 4),
            ('"', 4),
        ],
    )
    def test_that_are_never_closed_are_an_error_where_they_begin(
        self, row: str, line: int, skip: bool, tmp_path: Path
    ) -> None:
        content = f'text,label\n"one\ntwo",b\n{row}\nmore,b\n' + "more,b\n" * 100
        with one_line_error(f"the quote at the beginning of a field on line {line} is never clos"):
            rows_in(written(tmp_path / "a.csv", content), skip_bad_rows=skip)

    def test_that_are_never_closed_take_no_memory(self, tmp_path: Path) -> None:
        content = 'text,label\na,b\n"c,d\n' + "a longer text of a review,b\n" * 1_000_000
        with one_line_error("the quote at the beginning of a field on line 3 is never closed"):
            rows_in(written(tmp_path / "a.csv", content))


class TestHeader:
    def test_names_the_columns(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", ['"id", Text ,LABEL', "1,a,b"])
        assert pairs_in(path) == [("a", "b")]

    def test_may_be_given(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", ["3,b,a", "4,d,c"])
        assert pairs_in(path, columns="id,label,text") == [("a", "b"), ("c", "d")]
        assert pairs_in(path, columns="id, label, text") == [("a", "b"), ("c", "d")]

    def test_that_is_given_is_not_in_the_file(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", ["label,text", "a,b"])
        with one_line_error("has the names of the columns on line 1: `columns` is for files that"):
            rows_in(path, columns="label,text")

    def test_that_is_given_has_the_right_number_of_columns(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", ["3,b,a"])
        with one_line_error("`columns` names 2 columns, and line 1 of .*a.csv has 3 fields"):
            rows_in(path, columns="label,text")

    @pytest.mark.parametrize("columns", ["", ",", "label,,text"])
    def test_that_is_given_has_no_empty_names(self, columns: str, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", ["3,b,a"])
        with one_line_error("`columns` .*has an empty name"):
            rows_in(path, columns=columns)

    def test_that_is_given_is_one_line(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", ["3,b,a"])
        with one_line_error(r"'label\\ntext' is no list of columns, such as title,body"):
            rows_in(path, columns="label\ntext")

    def test_that_is_no_header_leads_to_an_error_that_shows_the_columns(
        self, tmp_path: Path
    ) -> None:
        rows = ['"3","Wall St.","Reuters - Short-sellers"', '"4","Oil","Reuters - Authorities"']
        with one_line_error(
            r"which column is the text and which the label: give `text_columns` and "
            r"`label_column`; its columns.* are 3 \('4'\), Wall St. \('Oil'\), Reuters.*; if its "
            "first line has no names, give those of all columns in `columns`"
        ):
            rows_in(written(tmp_path / "a.csv", rows))

    def test_that_is_one_name_leads_to_another_delimiter(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", ["text;label", "a;b"])
        with one_line_error(r"text;label \('a;b'\); if there are more, `delimiter` is not ','"):
            rows_in(path)
        assert pairs_in(path, delimiter=";") == [("a", "b")]

    def test_alone_is_an_error(self, tmp_path: Path) -> None:
        with one_line_error("a.csv has a line of column names, and no rows"):
            rows_in(written(tmp_path / "a.csv", "text,label\n"))

    def test_with_a_name_twice_is_an_error(self, tmp_path: Path) -> None:
        with one_line_error("a.csv has several columns 'text'; if its first line has no names"):
            rows_in(written(tmp_path / "a.csv", ["text,label,text", "a,b,c"]))

    def test_may_end_in_commas(self, tmp_path: Path) -> None:
        """As spreadsheets write it."""
        path = written(tmp_path / "a.csv", ["v1,v2,,,", "ham,Go,,,", "spam,Win,,,"])
        pairs = pairs_in(path, text_columns="v2", label_column="v1")
        assert pairs == [("Go", "ham"), ("Win", "spam")]
