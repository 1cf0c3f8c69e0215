"""Tables in Parquet files."""

import datetime
import decimal
import json
import os
from pathlib import Path

import dataset_shapes
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from imdb_archive import one_line_error
from own_rows import pairs_in, rows_in, written

from flax_imdb.data.sources import problem_of_label

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0")).filter(str.strip)
LABELS = TEXTS.map(str.strip).filter(lambda label: not problem_of_label(label))


def parquet(directory: Path, metadata: object = None, **columns: object) -> Path:
    path = directory / "a.parquet"
    table = pyarrow.table(columns)
    if metadata is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    pyarrow.parquet.write_table(table, path, row_group_size=2)
    return path


class TestValues:
    @given(
        rows=st.lists(st.tuples(TEXTS, LABELS), min_size=1, max_size=6),
        kind=st.sampled_from(["string", "large_string", "binary", "large_binary", "dictionary"]),
    )
    def test_that_are_written_are_read(
        self, scratch: Path, rows: list[tuple[str, str]], kind: str
    ) -> None:
        text, label = map(list, zip(*rows, strict=True))
        columns = {"text": pyarrow.array(text), "label": pyarrow.array(label)}
        for name, column in columns.items():
            plain = kind == "dictionary"
            columns[name] = column.dictionary_encode() if plain else column.cast(kind)
        assert pairs_in(parquet(scratch, **columns)) == rows

    @pytest.mark.parametrize(
        ("values", "labels"),
        [
            ([1, -1, 10**18], ["1", "-1", "1000000000000000000"]),
            (pyarrow.array([1, 2, 3], pyarrow.uint8()), ["1", "2", "3"]),
            ([True, False, True], ["true", "false", "true"]),
            ([5.0, 4.5, 1e100], ["5.0", "4.5", "1e+100"]),
            ([decimal.Decimal("5.00")] * 3, ["5.00"] * 3),
            (["01", "NA", "2020-01-01"], ["01", "NA", "2020-01-01"]),
            (pyarrow.array([1, 2, 1]).dictionary_encode(), ["1", "2", "1"]),
        ],
        ids=str,
    )
    def test_of_labels_are_written_in_the_usual_way(
        self, values: object, labels: list[str], tmp_path: Path
    ) -> None:
        assert rows_in(parquet(tmp_path, text=["a", "b", "c"], label=values)).labels == labels

    def test_that_are_missing_are_bad_rows(self, tmp_path: Path) -> None:
        path = parquet(tmp_path, text=["a", None, "", "d"], label=[1.0, 2.0, 3.0, float("nan")])
        with one_line_error("row 2 has no text; row 3 has no text; row 4 has no label"):
            rows_in(path)
        assert pairs_in(path, skip_bad_rows=True) == [("a", "1.0")]
        nothing = parquet(tmp_path, text=["a", "b"], label=pyarrow.nulls(2))
        with one_line_error(r"a.parquet has no rows: 2 of 2 rows \(row 1 has no label"):
            rows_in(nothing, skip_bad_rows=True)

    @pytest.mark.parametrize("kind", ["binary", "string"])
    def test_that_are_not_utf_8_are_bad_rows(self, kind: str, tmp_path: Path) -> None:
        text = pyarrow.array([b"a", b"\xe9", b"c"])
        text = text if kind == "binary" else text.view(pyarrow.string())
        path = parquet(tmp_path, text=text, label=["x", "y", "z"])
        with one_line_error("row 2 is not utf-8"):
            rows_in(path)
        assert rows_in(path, skip_bad_rows=True).texts == ["a", "c"]

    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            ([datetime.datetime(2020, 1, 1)], "timestamp"),
            ([datetime.date(2020, 1, 1)], "date32"),
            ([[1]], "list"),
            ([{"a": 1}], "struct"),
        ],
        ids=str,
    )
    def test_that_are_neither_are_an_error(self, values: object, kind: str, tmp_path: Path) -> None:
        with one_line_error(rf"a.parquet: column label holds {kind}.* values, not texts or labels"):
            rows_in(parquet(tmp_path, text=["a"], label=values))

    def test_of_other_columns_are_not_looked_at(self, tmp_path: Path) -> None:
        values = {"image": [[1], [2]], "date": [datetime.date(2020, 1, 1)] * 2}
        path = parquet(tmp_path, text=["a", "b"], label=["c", "d"], **values)
        rows = rows_in(path)
        assert rows.texts == ["a", "b"]
        assert rows.remarks[0].endswith("not used: image, date")


class TestClassNames:
    NAMES = ("World", "Sports", "Business")

    def test_are_those_of_hugging_face(self, tmp_path: Path) -> None:
        path = dataset_shapes.write_hugging_face(tmp_path, ["a", "b", "c"], [2, 0, 2], self.NAMES)
        rows = rows_in(path)
        assert rows.labels == ["Business", "World", "Business"]
        assert rows.label_names == self.NAMES

    def test_say_which_column_is_the_label(self, tmp_path: Path) -> None:
        features = {"news": {"_type": "ClassLabel", "names": ["a", "b"]}, "text": {"_type": "V"}}
        path = parquet(
            tmp_path, {"info": {"features": features}}, text=["x", "y", "z"], news=[1, 0, 1]
        )
        assert rows_in(path).labels == ["b", "a", "b"]

    def test_have_no_place_for_other_numbers(self, tmp_path: Path) -> None:
        path = dataset_shapes.write_hugging_face(tmp_path, ["a", "b", "c"], [-1, 0, 3], self.NAMES)
        with one_line_error("row 1 has no label; row 3 has label 3, and there are 3 classes"):
            rows_in(path)
        assert pairs_in(path, skip_bad_rows=True) == [("b", "World")]

    @pytest.mark.parametrize(
        "metadata",
        [{}, [], {"info": None}, {"info": {"features": {"label": {"_type": "ClassLabel"}}}}, "x"],
    )
    def test_of_another_form_are_none(self, metadata: object, tmp_path: Path) -> None:
        rows = rows_in(parquet(tmp_path, metadata, text=["x", "y"], label=[1, 0]))
        assert rows.labels == ["1", "0"]
        assert rows.label_names is None


class TestFile:
    def test_that_is_cut_in_half_is_an_error(self, tmp_path: Path) -> None:
        path = parquet(tmp_path, text=[os.urandom(99).hex() for _ in range(99)], label=["a"] * 99)
        content = path.read_bytes()
        middle = len(content) // 2
        damaged = [
            content[:middle],
            content[:middle] + content[middle + 10 :],
            content[: middle - 5_000] + bytes(9_000) + content[middle + 4_000 :],
            b"PAR1",
            b"",
        ]
        for content in damaged:
            with one_line_error(f"{path} is damaged or incomplete"):
                rows_in(written(path, content))

    def test_without_rows_is_an_error(self, tmp_path: Path) -> None:
        columns = {name: pyarrow.array([], pyarrow.string()) for name in ("text", "label")}
        with one_line_error("a.parquet has no rows"):
            rows_in(parquet(tmp_path, **columns))

    def test_with_a_column_twice_is_an_error(self, tmp_path: Path) -> None:
        columns = [pyarrow.array(["a"])] * 3
        table = pyarrow.Table.from_arrays(columns, ["text", "label", "text"])
        pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
        with one_line_error("a.parquet has several columns 'text'"):
            rows_in(tmp_path / "a.parquet")
