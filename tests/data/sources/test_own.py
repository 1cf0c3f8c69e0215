"""Datasets of the user's own, from their files to both splits."""

import dataclasses
from pathlib import Path

import dataset_shapes as shapes
import numpy as np
import pytest
from imdb_archive import one_line_error
from own_rows import own, pairs_in, rows_in, written

from flax_imdb.data import DataConfig, encode
from flax_imdb.data.sources import own as module
from flax_imdb.data.sources.own import OwnSource

TEXTS = (
    "A wonderful little production. <br /><br />The filming technique is unassuming.",
    'Née "Basically"; there\'s a family, where 3,5% think so\\',
    "Not 2 breaks,\n\nbut three\n",
    "007",
    "NA",
    "It's so-so...",
)


def two(count: int, *labels: str) -> list[str]:
    return [labels[i % len(labels)] for i in range(count)]


class TestShapes:
    """Files that are shaped like well-known datasets are read as they are."""

    def test_imdb(self, tmp_path: Path) -> None:
        labels = two(6, "positive", "negative")
        path = shapes.write_imdb(tmp_path, TEXTS, labels)
        assert pairs_in(path) == list(zip(TEXTS, labels, strict=True))
        assert own(path).classes == ("negative", "positive")
        assert own(path).name == "IMDB Dataset.csv"

    def test_ag_news(self, tmp_path: Path) -> None:
        labels = two(6, "3", "4", "1")
        path = shapes.write_ag_news(tmp_path, TEXTS, labels)
        settings = {"columns": shapes.AG_NEWS_COLUMNS, "text_columns": "title,text"}
        bodies = [text.replace("\n", "\\n") for text in TEXTS]
        texts = [f"{shapes.title_of(i)}\n{body}" for i, body in enumerate(bodies)]
        assert pairs_in(path, **settings) == list(zip(texts, labels, strict=True))
        assert rows_in(path, columns=shapes.AG_NEWS_COLUMNS).texts == bodies
        with one_line_error(r"its columns.* are 3 \('4'\), A \"title.*give those of all columns"):
            rows_in(path)

    def test_yelp_polarity(self, tmp_path: Path) -> None:
        path = shapes.write_yelp_polarity(tmp_path, TEXTS, two(6, "1", "2"))
        bodies = [text.replace("\n", "\\n") for text in TEXTS]
        assert rows_in(path, columns="label,text").texts == bodies
        assert own(path, columns="label,text").classes == ("1", "2")

    def test_sentiment140(self, tmp_path: Path) -> None:
        path = shapes.write_sentiment140(tmp_path, TEXTS, two(6, "4", "0"))
        settings = {"columns": shapes.SENTIMENT140_COLUMNS}
        assert rows_in(path, encoding="latin-1", **settings).texts == list(TEXTS)
        assert own(path, encoding="latin-1", **settings).classes == ("0", "4")
        with one_line_error("line 2 is not utf-8.*`encoding` latin-1 or cp1252 may be right"):
            rows_in(path, **settings)

    def test_sst2(self, tmp_path: Path) -> None:
        texts = ["hide new secretions ", '"great film', 'so so"', '36" screen', '"bad"', "it 's"]
        labels = two(6, "0", "1")
        path = shapes.write_sst2(tmp_path, texts, labels)
        assert pairs_in(path) == list(zip(texts, labels, strict=True))

    def test_amazon(self, tmp_path: Path) -> None:
        labels = two(12, "5.0", "1.0", "3.0")
        path = shapes.write_amazon(tmp_path, [*TEXTS, *TEXTS], labels)
        assert pairs_in(path) == list(zip([*TEXTS, *TEXTS], labels, strict=True))
        assert own(path).classes == ("1.0", "3.0", "5.0")
        without = shapes.write_amazon(tmp_path, ["", "a", "b", "c"], two(4, "1.0", "2.0"))
        with one_line_error("line 1 has no text"):
            rows_in(without)
        rows = rows_in(without, text_columns="summary,reviewText")
        assert rows.texts[:2] == [shapes.title_of(0), f"{shapes.title_of(1)}\na"]

    def test_dbpedia(self, tmp_path: Path) -> None:
        texts = [f"{text} {i}" for i in range(14) for text in TEXTS]
        labels = two(len(texts), *(str(i) for i in range(14, 0, -1)))
        path = shapes.write_dbpedia(tmp_path, texts, labels)
        settings = {"columns": shapes.DBPEDIA_COLUMNS}
        assert rows_in(path, **settings).texts == [f" {text}" for text in texts]
        source = own(path, text_columns="title,content", **settings)
        assert source.classes == tuple(str(i) for i in range(1, 15))

    def test_hugging_face(self, tmp_path: Path) -> None:
        names = ["neg", "neutral", "absent", "pos"]
        path = shapes.write_hugging_face(tmp_path, TEXTS, [3, 0, 3, 0, 1, 1], names)
        assert rows_in(path).texts == list(TEXTS)
        assert own(path).classes == ("neg", "neutral", "pos")

    def test_movie_reviews(self, tmp_path: Path) -> None:
        path = shapes.write_folder(tmp_path, TEXTS, two(6, "pos", "neg"))
        assert sorted(rows_in(path).texts) == sorted(text.strip() for text in TEXTS)
        assert own(path).name == "txt_sentoken"


def table(path: Path, labels: list[str], prefix: str = "text") -> Path:
    rows = [f"{prefix} {i},{label}" for i, label in enumerate(labels)]
    return written(path, ["text,label", *rows])


class TestSplit:
    def test_is_a_part_of_the_file_in_its_order(self, tmp_path: Path) -> None:
        path = table(tmp_path / "a.csv", two(100, "b", "a", "c", "b"))
        source = own(path)
        train, test = source.read("train"), source.read("test")
        numbers = [[int(text.split()[1]) for text in texts] for texts, _ in (train, test)]
        assert [len(part) for part in numbers] == [80, 20]
        assert all(part == sorted(part) for part in numbers)
        assert sorted(numbers[0] + numbers[1]) == list(range(100))
        assert np.bincount(test[1]).tolist() == [5, 10, 5]
        for texts, labels in (train, test):
            assert labels.dtype == np.int32
            for text, label in zip(texts, labels, strict=True):
                assert source.classes[label] == two(100, "b", "a", "c", "b")[int(text.split()[1])]
        assert len(own(path, test_fraction=0.4).read("test")[0]) == 40

    def test_trains_on_classes_that_are_too_small(self, tmp_path: Path) -> None:
        path = table(tmp_path / "a.csv", ["a", "b", "x", "a", "b", "z", "y", "a", "w", *"aaa"])
        source = own(path)
        assert [len(source.read(split)[0]) for split in ("train", "test")] == [10, 2]
        assert source.warnings == (
            f"{path}: classes without a text in the test split: 'w', 'x', 'y' and 1 more",
            f"{path}: classes with fewer than 10 texts to train on: 'a', 'b', 'w' and 3 more",
        )

    def test_may_be_a_file_of_its_own(self, tmp_path: Path) -> None:
        path = table(tmp_path / "a.csv", two(20, "a", "b"))
        test = table(tmp_path / "test.csv", ["b", "b", "a"], "test")
        source = own(path, test_dataset=str(test))
        assert source.read("train")[0] == [f"text {i}" for i in range(20)]
        assert source.read("test")[0] == ["test 0", "test 1", "test 2"]
        assert source.read("test")[1].tolist() == [1, 1, 0]
        assert source.warnings == ()

    def test_may_be_a_file_of_another_kind(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", ["x,stars,review", *["1,a,b", "1,b,c"] * 4])
        lines = ['{"review": "d", "stars": "b"}', '{"review": "e", "stars": "a"}']
        test = written(tmp_path / "a.json", lines)
        assert own(path, test_dataset=str(test)).read("test")[1].tolist() == [1, 0]
        folder = shapes.write_folder(tmp_path, ["d", "e", "f", "g"], ["b", "a", "b", "a"])
        assert own(path, test_dataset=str(folder)).read("test")[0] == ["e", "g", "d", "f"]
        assert own(folder, test_dataset=str(path)).read("test")[0] == ["b", "c"] * 4

    def test_of_its_own_has_the_same_columns(self, tmp_path: Path) -> None:
        path = table(tmp_path / "a.csv", two(10, "a", "b"))
        test = written(tmp_path / "test.csv", ["review,label", "c,a"])
        with one_line_error(f"`text_columns` text is not a column of {test}; its columns"):
            own(path, test_dataset=str(test))

    def test_of_its_own_has_no_other_labels(self, tmp_path: Path) -> None:
        path = table(tmp_path / "a.csv", two(10, "a", "b"))
        test = table(tmp_path / "test.csv", ["a", "c", "B"])
        with one_line_error(
            f"{test} has labels that no training text has: 'B', 'c'; known are 'a', 'b'"
        ):
            own(path, test_dataset=str(test)).read("train")

    def test_of_its_own_must_be_there(self, tmp_path: Path) -> None:
        path = table(tmp_path / "a.csv", two(10, "a", "b"))
        with one_line_error(f"`test_dataset` {tmp_path}/b.csv is no file or folder"):
            own(path, test_dataset=str(tmp_path / "b.csv"))


class TestLabels:
    def test_are_two_at_least(self, tmp_path: Path) -> None:
        with one_line_error("a.csv: column label has one label alone, 'a'"):
            own(table(tmp_path / "a.csv", ["a"] * 10)).read("train")
        folder = shapes.write_folder(tmp_path, ["d", "e"], ["b", "b"])
        with one_line_error("txt_sentoken has one label alone, 'b': two classes or more are need"):
            own(folder).read("train")

    def test_are_not_one_for_each_row(self, tmp_path: Path) -> None:
        path = table(tmp_path / "a.csv", [f"a{i}" for i in range(100)])
        with one_line_error("column label has 100 different labels in 100 rows, so it is hardly"):
            _ = own(path).classes

    def test_may_be_ten_thousand(self, tmp_path: Path) -> None:
        path = table(tmp_path / "a.csv", two(20_000, *map(str, range(10_000))))
        source = own(path)
        assert source.classes == tuple(map(str, range(10_000)))
        assert np.bincount(source.read("test")[1]).tolist() == [1] * 10_000
        with one_line_error("has 10,001 different labels, of which 10,000 are allowed"):
            own(table(path, two(30_003, *map(str, range(10_001))))).read("test")

    def test_that_are_alike_are_a_warning(self, tmp_path: Path) -> None:
        path = table(tmp_path / "a.csv", two(60, "pos", "Pos", "neg", "n eg"))
        assert own(path).warnings == (
            "labels that differ by case or blanks alone are classes of their own: 'n eg' and 'neg',"
            " 'Pos' and 'pos'",
        )

    def test_that_are_made_of_others_are_a_warning(self, tmp_path: Path) -> None:
        path = table(tmp_path / "a.csv", two(90, "a", "b", "a|b", "a|c", "b;x"))
        (warning,) = own(path).warnings
        assert warning == (
            f"{path}: labels that look like several of a text: 'a|b'; multi_label and "
            "label_separator take them apart"
        )


class TestFingerprint:
    def test_is_that_of_the_content(self, tmp_path: Path) -> None:
        path = table(tmp_path / "a.csv", two(10, "a", "b"))
        before = own(path).fingerprint
        assert len(bytes.fromhex(before)) == 32
        copy = written(tmp_path / "copy.csv", path.read_bytes())
        assert own(copy).fingerprint == before
        table(path, two(10, "b", "a"))
        assert own(path).fingerprint != before

    @pytest.mark.parametrize(
        "settings",
        [
            {"text_columns": "label", "label_column": "text"},
            {"skip_bad_rows": True},
            {"encoding": "latin-1"},
            {"delimiter": ";"},
            {"test_fraction": 0.3},
            {"test_dataset": "b.csv"},
        ],
        ids=str,
    )
    def test_is_that_of_the_settings(
        self, settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        rows = [f"text {i},{i % 2},;x" for i in range(10)]
        written(tmp_path / "a.csv", ["text,label,;text;label", *rows])
        written(tmp_path / "b.csv", (tmp_path / "a.csv").read_bytes())
        assert own("a.csv", **settings).fingerprint != own("a.csv").fingerprint

    @pytest.mark.parametrize(
        "settings", [{"encoding": "UTF8"}, {"delimiter": ","}, {"vocab_size": 10}], ids=str
    )
    def test_is_not_that_of_what_changes_nothing(
        self, settings: dict[str, object], tmp_path: Path
    ) -> None:
        path = table(tmp_path / "a.csv", two(10, "a", "b"))
        assert own(path, **settings).fingerprint == own(path).fingerprint

    def test_is_not_that_of_test_fraction_where_there_is_a_test_split(self, tmp_path: Path) -> None:
        path = table(tmp_path / "a.csv", two(10, "a", "b"))
        source = own(path, test_dataset=str(path))
        source._config = dataclasses.replace(source._config, test_fraction=0.5)
        assert source.fingerprint == own(path, test_dataset=str(path)).fingerprint

    @pytest.mark.parametrize("name", ["text", 'a, "text"', "a.b"])
    def test_is_the_same_with_the_columns_that_were_chosen(self, name: str, tmp_path: Path) -> None:
        rows = [f'x{i},{i % 2},"y"' for i in range(10)]
        header = 'text,label,"{}"'.format(name.replace("text", "more").replace('"', '""'))
        path = written(tmp_path / "a.csv", [header, *rows])
        first = own(path)
        again = OwnSource(dataclasses.replace(DataConfig(dataset=str(path)), **first.found))
        assert again.fingerprint == first.fingerprint
        assert again.remarks == ()
        named = name.replace("text", "more").replace('"', '""')
        other = own(path, text_columns=f'text,"{named}"')
        again = OwnSource(dataclasses.replace(DataConfig(dataset=str(path)), **other.found))
        assert again.read("train")[0] == other.read("train")[0]

    def test_is_known_before_anything_is_parsed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = table(tmp_path / "a.csv", two(10, "a", "b"))
        expected = own(path).fingerprint
        monkeypatch.delattr(module, "read_rows")
        assert own(path).fingerprint == expected

    def test_is_that_of_what_was_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = table(tmp_path / "a.csv", two(10, "a", "b"))
        source = own(path)
        _ = source.fingerprint
        table(path, two(12, "a", "b"))
        with one_line_error(f"{path} was changed while it was read"):
            source.read("train")

    def test_is_parsed_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = own(table(tmp_path / "a.csv", two(10, "a", "b")))
        corpus = encode(source, "unicode")
        monkeypatch.delattr(module, "read_rows")
        assert source.classes == corpus.info.classes == ("a", "b")
        assert source.remarks == corpus.remarks


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "content", "settings"),
        [
            ("a.csv", "text,label\na,b\n", {"data_dir": "x"}),
            ("a.json", '{"text": "a", "label": "b"}', {"delimiter": ","}),
            ("a.json", '{"text": "a", "label": "b"}', {"columns": "text,label"}),
            ("a.txt", "__label__a b", {"columns": "text,label"}),
        ],
    )
    def test_without_effect_are_an_error(
        self, name: str, content: str, settings: dict[str, str], tmp_path: Path
    ) -> None:
        path = written(tmp_path / name, content)
        (setting,) = settings
        with one_line_error(f"`{setting}` {settings[setting]} has no effect on {path}"):
            own(path, **settings)

    def test_a_fraction_of_a_split_dataset_is_an_error(self, tmp_path: Path) -> None:
        paths = [written(tmp_path / name, "text,label\na,1\nb,2\n") for name in ("a.csv", "b.csv")]
        with one_line_error(f"`test_fraction` 0.5 has no effect: {paths[0]} has a test split"):
            own(paths[0], test_dataset=str(paths[1]), test_fraction=0.5)

    def test_of_text_have_no_effect_on_parquet(self, tmp_path: Path) -> None:
        path = shapes.write_hugging_face(tmp_path, TEXTS, [0, 1] * 3, ["a", "b"])
        with one_line_error(f"`encoding` latin-1 has no effect on {path}"):
            own(path, encoding="latin-1")


class TestLocation:
    def test_is_absolute(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = table(tmp_path / "a.csv", two(10, "a", "b"))
        monkeypatch.chdir(tmp_path)
        assert own("a.csv").location == str(path)
        assert own("./a.csv").name == "a.csv"
        shapes.write_folder(tmp_path, ["a", "b"], ["c", "d"])
        assert own("txt_sentoken/").name == "txt_sentoken"
        found = own("a.csv", test_dataset="a.csv").found
        assert found == {
            "dataset": str(path),
            "data_dir": None,
            "test_dataset": str(path),
            "text_columns": "text",
            "label_column": "label",
            "label_separator": None,
        }

    def test_may_begin_with_a_tilde(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = table(tmp_path / "a.csv", two(10, "a", "b"))
        monkeypatch.setenv("HOME", str(tmp_path))
        assert own("~/a.csv").location == str(path)


class TestStream:
    """A text after another, so that they need not fit into memory."""

    def test_texts_are_handed_over_in_the_order_of_the_rows(self, tmp_path: Path) -> None:
        rows = two(10, "a", "b")
        source = own(table(tmp_path / "a.csv", rows))
        texts: list[str] = []
        labels, in_test = source.scan(texts.append)
        assert pairs_in(tmp_path / "a.csv") == [
            (text, source.classes[label]) for text, label in zip(texts, labels, strict=True)
        ]
        for split, chosen in (("train", ~in_test), ("test", in_test)):
            found, of_split = source.read(split)
            assert found == [text for text, is_in in zip(texts, chosen, strict=True) if is_in]
            np.testing.assert_array_equal(of_split, labels[chosen])

    def test_some_texts_of_a_split(self, tmp_path: Path) -> None:
        source = own(table(tmp_path / "a.csv", two(20, "a", "b")))
        texts, _ = source.read("test")
        assert source.texts("test", [2, 0, 2]) == [texts[2], texts[0], texts[2]]
        assert source.texts("train", []) == []
