"""Files of texts that are written again with the answers in new columns."""

import bz2
import csv
import gzip
import io
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_model import KnownModel
from own_rows import written

from flax_imdb.answers import Answers, Choice
from flax_imdb.data import DataConfig
from flax_imdb.errors import InputError
from flax_imdb.predict_files import InputFile, check_form, predict_file

ADDED = "predicted_label,probability_of_bad,probability_of_good"
GOOD, BAD = "good,0.25,0.75", "bad,0.75,0.25"


def predict(
    file: Path,
    output: Path | None = None,
    classes: tuple[str, ...] = ("bad", "good"),
    choice: Choice | None = None,
    overwrite: bool = False,
    thresholds: tuple[float, ...] = (),
    conformity: tuple[float, ...] = (),
    **settings: Any,
) -> bytes:
    """The content of the new file."""
    output = output or file.with_name(f"new-{file.name}")
    texts = InputFile(str(file), DataConfig(**settings), settings)
    model: Any = KnownModel(*classes, thresholds=thresholds, conformity=conformity)
    answers = Answers(model, choice or Choice())
    predict_file(texts, str(output), answers, overwrite)
    assert [path.name for path in file.parent.glob("*.tmp")] == []
    return output.read_bytes()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for files that are written over and over."""
    return tmp_path_factory.mktemp("scratch")


def csv_row(fields: list[str], quoting: Any) -> str:
    content = io.StringIO()
    csv.writer(content, quoting=quoting).writerow(fields)
    return content.getvalue().removesuffix("\r\n")


class TestCsv:
    def test_each_row_stays_as_it_is(self, tmp_path: Path) -> None:
        """Its quotes, blanks, line breaks in fields and at its end, and missing values."""
        rows = [
            'id, text ,"the ""other"" one"',
            '1,"a ""good"" one, really",  x ',
            "2,bad,",
            '3,"bad,\nor good?","multi\r\nline"\r',
            ' 4 ,"good" , and more" ',
        ]
        found = predict(written(tmp_path / "a.csv", "\n".join(rows[:4])))
        assert found.decode() == (
            f"{rows[0]},{ADDED}\n{rows[1]},{GOOD}\n{rows[2]},{BAD}\n"
            f"{rows[3].removesuffix(chr(13))},{BAD}\r"
        )

    @given(
        rows=st.lists(
            st.lists(st.text("ab\"', \t\n\r\x85\u2028é", max_size=6), min_size=3, max_size=3),
            min_size=1,
            max_size=5,
        ),
        quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        ending=st.sampled_from(["\n", "\r\n"]),
        last=st.booleans(),
    )
    def test_to_each_row_fields_are_added_and_nothing_else_is_done(
        self, scratch: Path, rows: list[list[str]], quoting: Any, ending: str, last: bool
    ) -> None:
        written_rows = [csv_row(row, quoting) for row in (["text", "x", "y"], *rows)]
        content = ending.join(written_rows) + (ending if last else "")
        found = predict(written(scratch / "a.csv", content), overwrite=True).decode()
        for row in written_rows:
            assert found.startswith(row)
            found = found.removeprefix(row)
            added = next(new for new in (f",{ADDED}", f",{BAD}", ",,,") if found.startswith(new))
            found = found.removeprefix(added).removeprefix(ending)
        assert found == ""

    def test_a_row_that_cannot_be_classified_has_no_label(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.csv", ["text,n", ",1", "!!!,2", "good,3", "caf\0,4"])
        assert predict(file).decode().splitlines()[1:] == [
            ",1,,,",
            "!!!,2,,,",
            f"good,3,{GOOD}",
            "caf\0,4,,,",
        ]

    def test_a_text_may_have_several_columns(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.csv", ["title,body", "x,good", "good,bad", ",bad"])
        found = predict(file, text_columns="title,body").decode().splitlines()
        assert found[1:] == [f"x,good,{GOOD}", f"good,bad,{GOOD}", f",bad,{BAD}"]

    def test_the_columns_of_the_training_are_taken_if_they_are_there(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.csv", ["text,note", "good,bad"])
        for trained_on, label in (("note", BAD), ("gone", GOOD)):
            texts = InputFile(str(file), DataConfig(text_columns=trained_on))
            answers = Answers(KnownModel("bad", "good"), Choice())  # type: ignore[arg-type]
            predict_file(texts, str(tmp_path / "o.csv"), answers, overwrite=True)
            assert (tmp_path / "o.csv").read_text().splitlines()[1] == f"good,bad,{label}"

    def test_of_one_column_that_looks_like_several_it_warns(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        predict(written(tmp_path / "a.csv", ["text;label", "good;bad"]))
        assert "has one column, 'text;label'" in capsys.readouterr().err
        predict(written(tmp_path / "b.csv", ["text;label", "good;bad"]), delimiter=";")
        predict(written(tmp_path / "c.csv", ["text", "good;bad"]))
        assert capsys.readouterr().err == ""

    def test_names_that_are_taken_get_an_underscore(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.csv", ["text", "good"])
        again = predict(written(tmp_path / "b.csv", predict(file)))
        assert again.decode().splitlines() == [
            f"text,{ADDED},{ADDED.replace(',', '_,')}_",
            f"good,{GOOD},{GOOD}",
        ]

    def test_without_a_header_there_is_none_in_the_output(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.csv", ["good;1", "bad;2"])
        found = predict(file, columns="text,n", delimiter=";").decode()
        assert found == "good;1;good;0.25;0.75\nbad;2;bad;0.75;0.25\n"

    def test_a_class_is_quoted_where_it_must_be(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.csv", ["text", "x"])
        found = predict(file, classes=('so, "so"', "good")).decode()
        header, row = csv.reader(io.StringIO(found))
        assert header == [
            "text",
            "predicted_label",
            'probability_of_so, "so"',
            "probability_of_good",
        ]
        assert row == ["x", 'so, "so"', "0.75", "0.25"]

    def test_between_tabs_nothing_is_quoted(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.tsv", ["text\tn", 'a "good" one\t"1'])
        assert predict(file).decode().splitlines()[1] == 'a "good" one\t"1\tgood\t0.25\t0.75'

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
    def test_its_encoding_stays(self, tmp_path: Path, encoding: str) -> None:
        content = "text,né\r\ngood,ü\r\n"
        given = {"encoding": encoding.removesuffix("-sig")}
        found = predict(written(tmp_path / "a.csv", content.encode(encoding)), **given)
        assert found == f"text,né,{ADDED}\r\ngood,ü,{GOOD}\r\n".encode(encoding)

    def test_a_mark_says_the_order_of_bytes(self, tmp_path: Path) -> None:
        content = "\ufefftext\ngood\n".encode("utf-16-be")
        found = predict(written(tmp_path / "a.csv", content), encoding="utf-16")
        assert found == f"\ufefftext,{ADDED}\ngood,{GOOD}\n".encode("utf-16-be")

    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    def test_no_mark_is_added(self, tmp_path: Path, mark: str) -> None:
        """Of UTF-8 it may be there, whichever of its names is given."""
        for encoding in ("utf-8", "utf-8-sig"):
            file = written(tmp_path / "a.csv", f"{mark}text\ngood\n".encode())
            found = predict(file, encoding=encoding, overwrite=True)
            assert found == f"{mark}text,{ADDED}\ngood,{GOOD}\n".encode()

    def test_bytes_that_are_not_of_the_encoding_stay(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.csv", b"text,n\ngood,\xe9\n\xe9,1\n")
        assert predict(file).splitlines()[1:] == [b"good,\xe9," + GOOD.encode(), b"\xe9,1,,,"]

    def test_a_class_that_the_encoding_lacks_is_an_error(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.csv", ["text", "x"])
        with pytest.raises(InputError, match="'中' cannot be written in iso8859-1, the"):
            predict(file, classes=("中", "good"), encoding="latin-1")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv"]

    @pytest.mark.parametrize(
        ("ending", "opened"), [(".gz", gzip.open), (".bz2", bz2.open), (".xz", lzma.open)]
    )
    def test_it_may_be_compressed_or_not(self, tmp_path: Path, ending: str, opened: Any) -> None:
        plain = written(tmp_path / "a.csv", ["text", "good"])
        with opened(tmp_path / f"a.csv{ending}", "wt") as out:
            out.write("text\ngood\n")
        expected = predict(plain)
        assert predict(tmp_path / f"a.csv{ending}", tmp_path / "o.csv") == expected
        predict(plain, tmp_path / f"o.csv{ending}")
        with opened(tmp_path / f"o.csv{ending}") as content:
            assert content.read() == expected

    def test_zstandard_is_read_and_written(self, tmp_path: Path) -> None:
        plain = written(tmp_path / "a.csv", ["text", "good"])
        predict(plain, tmp_path / "o.csv.zst")
        again = predict(tmp_path / "o.csv.zst", tmp_path / "p.csv")
        assert again.startswith(predict(plain).splitlines()[0] + b",")


class TestBadRows:
    ROWS = ("text,n", "good,1", "too,many,fields", ",2", "bad,3")

    def test_a_row_that_is_not_to_be_understood_stops_it(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.csv", self.ROWS)
        with pytest.raises(InputError) as raised:
            predict(file)
        assert str(raised.value) == (
            f"{file}: line 3 has 3 fields instead of 2; correct it, or leave such rows out with "
            "`skip_bad_rows`"
        )
        assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]

    def test_rows_without_a_text_are_left_out_if_asked_for(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.csv", self.ROWS)
        assert predict(file, skip_bad_rows=True).decode().splitlines()[1:] == [
            f"good,1,{GOOD}",
            f"bad,3,{BAD}",
        ]
        texts = InputFile(str(file), DataConfig(skip_bad_rows=True))
        assert sum(len(rows.texts) for rows in texts.read()) == 2
        assert texts.note == (
            f"{file}: left out 2 of 4 rows (line 3 has 3 fields instead of 2; line 4 has no text)"
        )


class TestJson:
    def test_keys_are_added_and_the_rest_stays_as_it_is(self, tmp_path: Path) -> None:
        lines = ['{"text": "good", "n": 1.50 }', '{"n":9007199254740993,"text":"bad"}  ']
        found = predict(written(tmp_path / "a.jsonl", "\r\n".join(lines))).decode()
        first, second = found.split("\r\n")
        assert first.startswith(lines[0].removesuffix("}") + ', "predicted_label": "good", ')
        assert second.startswith('{"n":9007199254740993,"text":"bad", ')
        assert second.endswith("}  ")
        assert json.loads(second)["probabilities"] == {"bad": 0.75, "good": 0.25}

    def test_a_row_without_a_text_gets_null(self, tmp_path: Path) -> None:
        found = predict(written(tmp_path / "a.ndjson", ['{"text": "good"}', "{}"])).decode()
        assert found.splitlines()[1] == '{"predicted_label": null, "probabilities": null}'

    def test_an_array_stays_one(self, tmp_path: Path) -> None:
        content = '[{"text": "good",\n  "n": [1]}, {"text": "bad", "n": null}]'
        found = json.loads(predict(written(tmp_path / "a.json", content)))
        assert [row["predicted_label"] for row in found] == ["good", "bad"]
        assert [row["n"] for row in found] == [[1], None]

    def test_keys_that_are_taken_get_an_underscore(self, tmp_path: Path) -> None:
        file = written(
            tmp_path / "a.jsonl", predict(written(tmp_path / "b.jsonl", ['{"text":"x"}']))
        )
        (line,) = predict(file).decode().splitlines()
        assert list(json.loads(line)) == [
            *("text", "predicted_label", "probabilities"),
            *("predicted_label_", "probabilities_"),
        ]

    def test_a_key_that_comes_late_is_no_second_time_written(self, tmp_path: Path) -> None:
        late = [*['{"text": "good"}'] * 1000, '{"text": "good", "probabilities": 1}']
        with pytest.raises(InputError, match="probabilities after its first 1,000 objects"):
            predict(written(tmp_path / "a.jsonl", late))


class TestParquet:
    def test_columns_keep_their_types(self, tmp_path: Path) -> None:
        table = pa.table(
            {
                "text": pa.array(["good", None, "bad", "good"]).dictionary_encode(),
                "when": pa.array([1, 2, None, 4], pa.timestamp("us", "UTC")),
                "nested": pa.array([{"a": [1]}, None, {"a": []}, {"a": None}]),
            }
        ).replace_schema_metadata({"mine": "kept"})
        pq.write_table(table, tmp_path / "a.parquet", row_group_size=3)
        predict(tmp_path / "a.parquet", tmp_path / "o.parquet")
        found = pq.read_table(tmp_path / "o.parquet")
        assert found.select(table.column_names).equals(table)
        assert found.schema.metadata[b"mine"] == b"kept"
        assert found["predicted_label"].to_pylist() == ["good", None, "bad", "good"]
        assert found["probability_of_good"].type == pa.float32()
        assert found["probability_of_good"].to_pylist() == [0.75, None, 0.25, 0.75]

    def test_rows_may_be_left_out(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"text": ["", "bad", None, "good"]}), tmp_path / "a.parquet")
        predict(tmp_path / "a.parquet", tmp_path / "o.parquet", skip_bad_rows=True)
        assert pq.read_table(tmp_path / "o.parquet")["predicted_label"].to_pylist() == [
            "bad",
            "good",
        ]


def test_lines_of_text_get_fields_between_tabs(tmp_path: Path) -> None:
    """They end where those of standard input do, and labels before them are no words."""
    content = "good\r\n\n__label__good bad\nbad\x85and\u2028so on\r\ngood"
    file = tmp_path / "a.txt"
    file.write_bytes(content.encode())
    assert predict(file).decode() == (
        "good\tgood\t0.25\t0.75\r\n\t\t\t\n__label__good bad\tbad\t0.75\t0.25\n"
        "bad\x85and\u2028so on\tbad\t0.75\t0.25\r\ngood\tgood\t0.25\t0.75"
    )


def test_of_many_classes_the_likeliest_have_columns(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", ["text", "good", "!!!"])
    classes = ("bad", "so-so", "good")
    found = predict(file, classes=classes, choice=Choice(top_k=2)).decode()
    assert found.splitlines() == [
        "text,predicted_label,probability,predicted_label_2,probability_2",
        "good,good,0.75,bad,0.125",
        "!!!,,,,",
    ]


def test_a_label_that_is_not_likely_enough_is_empty(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", ["text", "good"])
    found = predict(file, choice=Choice(min_probability=0.8)).decode()
    assert found.splitlines()[1] == "good,,0.25,0.75"


def test_rows_are_predicted_some_at_a_time(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", ["text", *["good"] * 10_000, *["x" * 500_000] * 20])
    model = KnownModel("bad", "good")
    texts = InputFile(str(file), DataConfig())
    sizes = [len(rows.texts) for rows in texts.read()]
    assert sizes[0] == 8_192
    assert max(sizes[1:]) < 2_000
    predict_file(texts, str(tmp_path / "o.csv"), Answers(model, Choice()))  # type: ignore[arg-type]
    assert len((tmp_path / "o.csv").read_bytes().splitlines()) == 10_021
    assert model.largest == 8_192


class TestOutput:
    def test_a_file_that_is_there_is_replaced_if_asked_for_alone(self, tmp_path: Path) -> None:
        """It may be the input itself."""
        file = written(tmp_path / "a.csv", ["text", "good"])
        with pytest.raises(InputError, match=r"`output` .*a\.csv exists: `overwrite` replaces it"):
            predict(file, file)
        assert file.read_text() == "text\ngood\n"
        assert predict(file, file, overwrite=True).decode() == f"text,{ADDED}\ngood,{GOOD}\n"

    def test_nothing_is_left_of_one_that_is_interrupted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*args: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(KnownModel, "predict_encoded", interrupted)
        with pytest.raises(KeyboardInterrupt):
            predict(written(tmp_path / "a.csv", ["text", "good"]))
        assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]

    def test_it_has_the_form_of_the_input(self) -> None:
        check_form("a.csv", "b.csv.gz")
        check_form("a.jsonl.xz", "b.jsonl")
        for output in ("b.tsv", "b", "b.csv.zip"):
            with pytest.raises(InputError, match=r"does not end in \.csv: it has the form of"):
                check_form("a.csv", output)
        with pytest.raises(InputError, match=r"does not end in \.parquet"):
            check_form("a.parquet", "b.parquet.gz")

    def test_flags_without_an_effect_are_refused(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"text": ["good"]}), tmp_path / "a.parquet")
        with pytest.raises(InputError, match="`delimiter` ; has no effect on"):
            predict(tmp_path / "a.parquet", delimiter=";")
        with pytest.raises(InputError, match="`text_columns` text has no effect on"):
            predict(written(tmp_path / "a.txt", ["good"]), text_columns="text")

    def test_which_column_is_the_text_must_be_clear(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="which column is the text: give `text_columns`"):
            predict(written(tmp_path / "a.csv", ["a,b", "good,bad"]))
        assert b"good," in predict(written(tmp_path / "b.csv", ["a", "good"]))


class TestSeveralLabels:
    HALF = (0.5, 0.5)

    def test_are_between_bars_in_a_table_of_texts(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.csv", ["text", "good bad", "neither", "good"])
        assert predict(file, thresholds=self.HALF).decode().splitlines() == [
            "text,predicted_labels,probability_of_bad,probability_of_good",
            "good bad,bad|good,0.75,0.75",
            "neither,,0.25,0.25",
            "good,good,0.25,0.75",
        ]

    def test_come_before_the_likeliest(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.csv", ["text", "good bad"])
        found = predict(file, thresholds=self.HALF, choice=Choice(top_k=2), overwrite=True)
        assert found.decode().splitlines() == [
            "text,predicted_labels,likeliest_label,probability,likeliest_label_2,probability_2",
            "good bad,bad|good,bad,0.75,good,0.75",
        ]

    def test_are_a_list_in_json_and_parquet(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.jsonl", ['{"text": "good bad"}', '{"text": "neither"}'])
        rows = [json.loads(line) for line in predict(file, thresholds=self.HALF).splitlines()]
        assert [row["predicted_labels"] for row in rows] == [["bad", "good"], []]
        assert rows[0]["probabilities"] == {"bad": 0.75, "good": 0.75}
        file = tmp_path / "a.parquet"
        pq.write_table(pa.table({"text": ["good bad", None, "neither"]}), file)
        predict(file, thresholds=self.HALF)
        table = pq.read_table(tmp_path / "new-a.parquet")
        assert table["predicted_labels"].to_pylist() == [["bad", "good"], None, []]
        assert table["probability_of_good"].to_pylist() == [0.75, None, 0.25]


class TestPredictionSets:
    ROWS = tuple(number / 20 for number in range(1, 20))

    def test_are_between_bars_in_a_table_of_texts(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.csv", ["text", "good", "unknown", "..."])
        found = predict(file, conformity=self.ROWS, choice=Choice(abstain=0.7))
        assert found.decode().splitlines() == [
            "text,predicted_label,prediction_set,probability_of_bad,probability_of_good",
            "good,good,good,0.25,0.75",
            "unknown,,bad|good,0.75,0.25",
            "...,,,,",
        ]
        found = predict(
            file, conformity=self.ROWS, choice=Choice(top_k=1, abstain=0.2), overwrite=True
        )
        assert found.decode().splitlines()[:2] == [
            "text,predicted_label,prediction_set,probability",
            "good,,,0.75",
        ]

    def test_are_lists_in_json_and_parquet(self, tmp_path: Path) -> None:
        choice = Choice(abstain=0.2)
        file = written(tmp_path / "a.jsonl", ['{"text": "good"}', '{"text": "unknown"}'])
        rows = predict(file, conformity=self.ROWS, choice=choice).splitlines()
        assert [json.loads(row)["prediction_set"] for row in rows] == [[], ["bad", "good"]]
        assert [json.loads(row)["predicted_label"] for row in rows] == [None, None]
        file = tmp_path / "a.parquet"
        pq.write_table(pa.table({"text": ["good", None]}), file)
        predict(file, conformity=self.ROWS, choice=Choice(abstain=0.7))
        table = pq.read_table(tmp_path / "new-a.parquet")
        assert table["prediction_set"].to_pylist() == [["good"], None]
        assert table["predicted_label"].to_pylist() == ["good", None]
