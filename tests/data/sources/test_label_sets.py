"""Several labels of a text, in each form in which they may be written."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import tensorflow_datasets as tfds
from dataset_shapes import write_tfds
from hypothesis import given
from hypothesis import strategies as st
from imdb_archive import one_line_error
from own_rows import own, rows_in, written

from flax_imdb.data.config import DataConfig
from flax_imdb.data.sources.own import read_labelled

SETS = [("a", "b"), ("c",), ("b",), ("a",)]


def csv(directory: Path, fields: Sequence[str], name: str = "labels") -> Path:
    lines = [f'text {number},"{field}"' for number, field in enumerate(fields)]
    return written(directory / "a.csv", [f"text,{name}", *lines])


def ignored(text: str) -> None:
    """What is done with the texts that are read."""


def jsonl(directory: Path, values: Sequence[Any]) -> Path:
    rows = [{"text": f"text {n}", "labels": value} for n, value in enumerate(values)]
    return written(directory / "a.jsonl", map(json.dumps, rows))


def labels_in(path: str | Path, **settings: Any) -> list[Any]:
    return rows_in(path, multi_label=True, **settings).labels


class TestSeparator:
    @pytest.mark.parametrize("mark", ["|", ";", ","])
    def test_is_found_and_said(self, mark: str, tmp_path: Path) -> None:
        path = csv(tmp_path, [f"a{mark} b", "c", f"b{mark}", "a"])
        rows = rows_in(path, multi_label=True)
        assert rows.labels == SETS
        assert rows.remarks[-1] == f"{path}: '{mark}' separates the labels of a text"

    def test_is_the_first_that_is_used_and_the_others_are_in_names(self, tmp_path: Path) -> None:
        path = csv(tmp_path, ["x, y;z", "z"])
        assert labels_in(path) == [("x, y", "z"), ("z",)]
        assert labels_in(path, label_separator=",") == [("x", "y;z"), ("z",)]

    def test_is_asked_for_where_none_is_found(self, tmp_path: Path) -> None:
        path = csv(tmp_path, ["a b", "c"])
        with one_line_error("a.csv: column labels has none of . ; , between labels: give `label_s"):
            own(path, multi_label=True)
        assert labels_in(path, label_separator=" ") == [("a", "b"), ("c",)]

    def test_is_kept_for_other_files(self, tmp_path: Path) -> None:
        path = csv(tmp_path, ["a|b", "c", "b", "a"] * 2)
        (tmp_path / "b").mkdir()
        other = csv(tmp_path / "b", ["a", "b"])
        source = own(path, multi_label=True, test_dataset=str(other))
        assert source.found["label_separator"] == "|"
        assert source.read("test")[1].tolist() == [[1, 0, 0], [0, 1, 0]]
        again = own(**{"place": path, "multi_label": True, "test_dataset": str(other)})
        given = own(path, multi_label=True, test_dataset=str(other), label_separator="|")
        assert again.fingerprint == given.fingerprint == source.fingerprint

    def test_has_no_effect_elsewhere(self, tmp_path: Path) -> None:
        with one_line_error("`label_separator` . has no effect without `multi_label`"):
            DataConfig(label_separator="|")
        with one_line_error("`label_separator` is empty"):
            DataConfig(multi_label=True, label_separator="")
        path = written(tmp_path / "a.txt", "__label__a b\n")
        with one_line_error("`label_separator` . has no effect on .*a.txt"):
            labels_in(path, label_separator="|")

    def test_is_not_that_of_a_written_list(self, tmp_path: Path) -> None:
        with one_line_error("line 2 has a list that is written as a text, .*'a', 'b'.*, for its"):
            labels_in(csv(tmp_path, ["['a', 'b']", "c"]))


class TestEmpty:
    """A text without labels, where the form can say so."""

    def test_field_is_a_bad_row_unless_it_is_allowed(self, tmp_path: Path) -> None:
        path = csv(tmp_path, ["a|b", "", "|"])
        with one_line_error(
            r"2 of 3 rows \(line 3 has no label; line 4 has no label\) cannot be used; correct "
            "them, or leave them out with `skip_bad_rows`, or allow them with `allow_no_labels`"
        ):
            labels_in(path)
        assert labels_in(path, skip_bad_rows=True) == [("a", "b")]
        assert labels_in(path, allow_no_labels=True) == [("a", "b"), (), ()]

    def test_list_is_none_and_a_missing_one_a_bad_row(self, tmp_path: Path) -> None:
        assert labels_in(jsonl(tmp_path, [["a"], []])) == [("a",), ()]
        path = jsonl(tmp_path, [["a"], None])
        with one_line_error("line 2 has no label.*, or allow them with `allow_no_labels`"):
            labels_in(path)
        assert labels_in(path, allow_no_labels=True) == [("a",), ()]

    def test_line_of_fasttext(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.txt", ["__label__a __label__b x", "y z"])
        with one_line_error("line 2 does not begin with __label__.*, or .* with `allow_no_labels`"):
            labels_in(path)
        rows = rows_in(path, multi_label=True, allow_no_labels=True)
        assert (rows.texts, rows.labels) == (["x", "y z"], [("a", "b"), ()])

    def test_is_of_no_concern_to_columns_of_0_and_1(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", ["text,x,y", "t,0,0"])
        with one_line_error("`allow_no_labels` True has no effect on columns of 0 and 1"):
            labels_in(path, label_column="x,y", allow_no_labels=True)


class TestColumns:
    """Columns of 0 and 1, whose names are the labels."""

    @pytest.mark.parametrize(
        ("no", "yes"), [("0", "1"), ("0.0", "1.0"), ("False", "True"), ("false", "true")]
    )
    def test_say_the_labels(self, no: str, yes: str, tmp_path: Path) -> None:
        rows = [("text", "b", "id", "a"), ("x", yes, "7", yes), ("y", no, "8", no)]
        path = written(tmp_path / "a.csv", map(",".join, rows))
        read = rows_in(path, multi_label=True, label_column="b, a")
        assert read.labels == [("b", "a"), ()]
        assert read.remarks == (
            f"{path}: the text is column text, the label column b, a; not used: id",
        )

    def test_are_classes_in_their_order_even_if_no_text_has_them(self, tmp_path: Path) -> None:
        path = written(
            tmp_path / "a.csv", ["text,b,a,c", *(f"t{n},{n % 2},0,1" for n in range(20))]
        )
        source = own(path, multi_label=True, label_column="b,a,c")
        assert source.classes == ("b", "a", "c")
        texts, labels = source.read("train")
        assert labels.dtype == np.float32
        assert labels.tolist() == [[int(text[1:]) % 2, 0, 1] for text in texts]
        assert [warning.partition(": ")[2] for warning in source.warnings] == [
            "classes without a text in the test split: 'a'",
            "classes with fewer than 10 texts to train on: 'b', 'a'",
            "labels that all texts to train on have: 'c'",
        ]

    @pytest.mark.parametrize(("value", "shown"), [("-1", "'-1'"), ("", "no value"), ("x", "'x'")])
    def test_have_nothing_else(self, value: str, shown: str, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", ["text,x,y", f"t,0,{value}"])
        with one_line_error(f"line 2 has {shown} in column y, where 0 or 1 is needed"):
            labels_in(path, label_column="x,y")

    def test_must_be_there(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", ["text,x,y", "t,0,1"])
        with one_line_error("`label_column` z is not a column of .*a.csv"):
            labels_in(path, label_column="x,z")
        with one_line_error("name a column twice: text, x, x"):
            labels_in(path, text_columns="text", label_column="x,x")


class TestLists:
    @given(
        sets=st.lists(
            st.lists(st.sampled_from(["a", "b|c", "d, e", "1"]), unique=True), min_size=1
        ),
        kind=st.sampled_from(["json", "parquet", "large"]),
    )
    def test_are_read_as_they_are_written(
        self, scratch: Path, sets: list[list[str]], kind: str
    ) -> None:
        texts = [f"text {number}" for number in range(len(sets))]
        if kind == "json":
            path = jsonl(scratch, sets)
        else:
            lists = pyarrow.list_ if kind == "parquet" else pyarrow.large_list
            column = pyarrow.array(sets, lists(pyarrow.string()))
            path = scratch / "a.parquet"
            pyarrow.parquet.write_table(pyarrow.table({"text": texts, "labels": column}), path)
        assert labels_in(path) == [tuple(labels) for labels in sets]

    @pytest.mark.parametrize(
        "feature",
        [
            {"_type": "Sequence", "feature": {"_type": "ClassLabel", "names": ["x", "y", "z"]}},
            {"_type": "List", "feature": {"_type": "ClassLabel", "names": ["x", "y", "z"]}},
            [{"_type": "ClassLabel", "names": ["x", "y", "z"]}],
        ],
        ids=["Sequence", "List", "brackets"],
    )
    def test_have_the_names_of_hugging_face(self, feature: object, tmp_path: Path) -> None:
        table = pyarrow.table({"text": ["t", "u"], "tags": [[0, 2], [2]]})
        about = {"info": {"features": {"tags": feature, "text": {"_type": "Value"}}}}
        path = tmp_path / "a.parquet"
        pyarrow.parquet.write_table(
            table.replace_schema_metadata({"huggingface": json.dumps(about)}), path
        )
        rows = rows_in(path, multi_label=True)
        assert (rows.labels, rows.label_names) == ([("x", "z"), ("z",)], ("x", "y", "z"))

    def test_of_tfds(self, tmp_path: Path) -> None:
        of_class = tfds.features.ClassLabel(names=["bad", "good", "odd"])
        features = {"text": tfds.features.Text(), "tags": tfds.features.Sequence(of_class)}
        examples = [{"text": f"t {n}", "tags": [2, 0] if n % 3 else []} for n in range(9)]
        write_tfds(tmp_path, "several", features, {"train": examples})
        rows = rows_in("tfds:several", data_dir=str(tmp_path), multi_label=True)
        expected = {f"t {n}": ("odd", "bad") if n % 3 else () for n in range(9)}
        assert dict(zip(rows.texts, rows.labels, strict=True)) == expected
        assert rows.label_names == ("bad", "good", "odd")

    def test_are_said_to_need_multi_label(self, tmp_path: Path) -> None:
        with one_line_error("line 1 has a list of labels.*, or allow them with `multi_label`"):
            rows_in(jsonl(tmp_path, [["a"]]))

    @pytest.mark.parametrize(
        ("labels", "problem"),
        [
            (["a", None], "has a missing value in a list"),
            (["a", ["b"]], "has a list in a list"),
            (["a", " "], "has an empty label"),
            ({"a": 1}, "has a dict where a text or a label should be"),
        ],
        ids=str,
    )
    def test_of_other_things_are_bad_rows(
        self, labels: object, problem: str, tmp_path: Path
    ) -> None:
        with one_line_error(f"line 2 {problem}"):
            labels_in(jsonl(tmp_path, [["a"], labels]))

    def test_are_no_texts(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.jsonl", ['{"text": ["a"], "labels": ["b"]}'])
        with one_line_error("line 1 has a list where a text should be"):
            labels_in(path)


def test_the_labels_of_fasttext_are_all_before_the_text(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", ["__label__a __label__b x", "__label__b y __label__a"])
    rows = rows_in(path, multi_label=True)
    assert (rows.texts, rows.labels) == (["x", "y __label__a"], [("a", "b"), ("b",)])


def test_folders_have_one_label_for_each_text(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    written(tmp_path / "a" / "b" / "1.txt", "x")
    with one_line_error(
        "`multi_label`: each text in .*/a has the label of its folder alone; a file"
    ):
        own(tmp_path / "a", multi_label=True)


def test_both_splits_are_matrices_and_have_each_label(tmp_path: Path) -> None:
    path = csv(tmp_path, ["a|b", "c", "b", "a"] * 10)
    source = own(path, multi_label=True)
    assert (source.classes, source.multi_label) == (("a", "b", "c"), True)
    for split, rows in (("train", 32), ("test", 8)):
        texts, labels = source.read(split)
        assert (labels.shape, labels.dtype) == ((rows, 3), np.float32)
        for text, row in zip(texts, labels.tolist(), strict=True):
            assert row == [float(name in SETS[int(text[5:]) % 4]) for name in "abc"]
        assert np.all(labels.any(axis=0))


def test_other_files_are_read_by_the_labels_of_the_model(tmp_path: Path) -> None:
    path = csv(tmp_path, ["b", "b|a"])
    config = DataConfig(dataset=str(path), multi_label=True, label_separator="|")
    labels, _ = read_labelled(config, ("a", "b", "c"), ignored)
    assert labels.tolist() == [[0, 1, 0], [1, 1, 0]]
    with one_line_error("has labels that no training text has: 'a'; known are 'b', 'c'"):
        read_labelled(config, ("b", "c"), ignored)


def test_other_files_may_have_another_form_than_that_of_the_training_texts(tmp_path: Path) -> None:
    config = DataConfig(
        dataset=str(written(tmp_path / "a.txt", "__label__a __label__b x\n")),
        multi_label=True,
        label_separator="|",
        allow_no_labels=True,
        text_columns="plot",
        label_column="genres",
    )
    assert read_labelled(config, ("a", "b"), ignored)[0].tolist() == [[1, 1]]
    file = written(tmp_path / "a.csv", ["text,a,b", "x,0,1"])
    with one_line_error("`label_column` genres is not a column of .*a.txt"):
        read_labelled(config, ("a", "b"), ignored, ("label_column",))
    columns = dataclasses.replace(
        config, dataset=str(file), text_columns="text", label_column="a,b"
    )
    assert read_labelled(columns, ("a", "b"), ignored, ("label_column",))[0].tolist() == [[0, 1]]
    with one_line_error("`label_separator` . has no effect on columns of 0 and 1"):
        read_labelled(columns, ("a", "b"), ignored, ("label_column", "label_separator"))
