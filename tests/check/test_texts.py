"""Where texts are, and what is kept of them."""

import csv
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from checked_rows import rows_of, texts_in, write
from hypothesis import given, settings
from hypothesis import strategies as st

from flax_imdb.check.texts import FORMS, Part, _Looks, alike, mix
from flax_imdb.data import DataConfig, split_words
from flax_imdb.data.sources import find_source
from flax_imdb.data.sources.own import OwnSource
from flax_imdb.data.tokenizer import START

# What may be in a field: quotes, delimiters, all that ends a line for `csv`, and what does not.
FIELD = st.text(st.sampled_from('ab ,"\n\r\u2028\x0b\x85é'), max_size=8)


def places(path: Path, **settings: object) -> list[int | str]:
    return list(texts_in(path, **settings).positions)


class TestPositions:
    @settings(max_examples=30)
    @given(
        st.lists(st.tuples(FIELD, FIELD, st.sampled_from("\n\r"), st.booleans()), max_size=10),
        st.sampled_from(["\n", "\r\n", "\r"]),
    )
    def test_lines_are_those_at_which_python_reads_a_row(
        self, tmp_path_factory: pytest.TempPathFactory, fields: list, end: str
    ) -> None:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL)
        writer.writerow(["id", "text", "label"])
        rows = [("", "first", "a"), *((i, f"t{t}", "ab"[n]) for i, t, _, n in fields)]
        for number, row in enumerate([*rows, *rows, ("", "so", "b"), ("", "last", "b")]):
            out.write(end * (number % 3 == 0))  # A blank line is no row.
            writer.writerow(row)
        path = tmp_path_factory.mktemp("rows") / "rows.csv"
        path.write_bytes(out.getvalue().encode())
        expected, texts = {}, {}
        with path.open(newline="") as file:
            reader = csv.reader(file)
            next(reader)
            while True:
                line = reader.line_num + 1
                row = next(reader, None)
                if row is None:
                    break
                if row:
                    expected[len(expected)] = line
                    texts[len(texts)] = row[1]
        seen: list[str] = []
        found: list[int | str] = []
        OwnSource(DataConfig(dataset=str(path))).scan(
            seen.append, lambda origin, position: found.append(position)
        )
        assert found == list(expected.values())
        assert seen == list(texts.values())

    def test_the_header_is_line_1(self, tmp_path: Path) -> None:
        assert places(write(tmp_path / "a.csv", [("x", "a"), ("y", "b")] * 2)) == [2, 3, 4, 5]

    def test_a_field_of_several_lines_counts_them(self, tmp_path: Path) -> None:
        rows = [("x\ny\r\nz", "a"), ("u", "b"), ("", "a"), ("w\n\nv", "b"), ("s", "a")]
        path = write(tmp_path / "a.csv", rows)
        assert places(path, skip_bad_rows=True) == [2, 5, 7, 10]

    def test_without_a_header_the_first_row_is_line_1(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("x,a\ny,b\nz,a\nw,b\n")
        assert places(path, columns="text,label") == [1, 2, 3, 4]

    def test_of_tsv(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tsv"
        path.write_text('text\tlabel\n"x\ta\n\ny"\tb\nz\ta\nw\tb\n')
        assert places(path) == [2, 4, 5, 6]

    def test_of_json_lines_compressed(self, tmp_path: Path) -> None:
        rows = [json.dumps({"text": f"t{i}", "label": "ab"[i % 2]}) for i in range(4)]
        path = tmp_path / "a.jsonl.gz"
        path.write_bytes(gzip.compress("\n".join([rows[0], "", *rows[1:]]).encode()))
        assert places(path) == [1, 3, 4, 5]

    def test_of_an_array_of_json(self, tmp_path: Path) -> None:
        rows = [{"text": f"t{i}", "label": "ab"[i % 2]} for i in range(4)]
        path = tmp_path / "a.json"
        path.write_text(json.dumps(rows, indent=1))
        lines = path.read_text().split("\n")
        assert places(path) == [n for n, line in enumerate(lines, 1) if line == " {"]

    def test_of_fasttext(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_text("__label__a x\n\n__label__b y\n__label__a z\n__label__b w\n")
        assert places(path) == [1, 3, 4, 5]

    def test_of_parquet_it_is_the_row(self, tmp_path: Path) -> None:
        path = tmp_path / "a.parquet"
        table = pyarrow.table({"text": ["x", "y", "z", "w"], "label": [*"abab"]})
        pyarrow.parquet.write_table(table, path)
        texts = texts_in(path)
        assert list(texts.positions) == [1, 2, 3, 4]
        assert texts.where(2) == "row 3"

    def test_of_folders_it_is_the_file(self, tmp_path: Path) -> None:
        for name in ("a/1.txt", "a/2.txt", "b/1.txt", "b/10.txt"):
            path = tmp_path / "train" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("text")
            (tmp_path / "test" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "test" / name).write_text("text")
        texts = texts_in(tmp_path)
        assert list(texts.positions) == ["a/1.txt", "a/2.txt", "b/1.txt", "b/10.txt"] * 2
        assert [texts.where(row) for row in (1, 4)] == ["a/2.txt of train", "a/1.txt of test"]
        assert texts.in_test.tolist() == [False] * 4 + [True] * 4

    def test_of_the_archive_of_reviews_it_is_the_file(self, reviews: Path) -> None:
        texts = read(DataConfig(dataset="imdb_reviews", data_dir=str(reviews)))
        assert [texts.positions[0], texts.positions[-1]] == [
            "train/neg/0_5.txt",
            "test/pos/39_5.txt",
        ]
        assert {texts.positions[row].split("/")[0] for row in np.flatnonzero(texts.in_test)} == {  # type: ignore[union-attr]
            "test"
        }

    def test_two_files_are_told_apart(self, tmp_path: Path) -> None:
        rows = rows_of(4)
        path, other = write(tmp_path / "a.csv", rows), write(tmp_path / "b.csv", rows)
        texts = texts_in(path, test_dataset=str(other))
        assert list(texts.positions) == [2, 3, 4, 5] * 2
        assert [texts.where(row) for row in (0, 4)] == ["line 2 of a.csv", "line 2 of b.csv"]

    def test_they_are_those_of_the_texts(self, tmp_path: Path) -> None:
        """In whatever order the splits are."""
        rows = rows_of(200)
        texts = texts_in(write(tmp_path / "a.csv", rows))
        with (tmp_path / "a.csv").open(newline="") as file:
            by_line = {n: row[0] for n, row in enumerate(csv.reader(file), 1)}
        for row in range(len(texts)):
            assert texts.excerpts[row] == by_line[texts.positions[row]]  # type: ignore[index]
            assert texts.label(row) == rows[row][1]


def read(config: DataConfig):  # type: ignore[no-untyped-def]
    from flax_imdb.check.texts import read_texts

    return read_texts(find_source(config))


class TestWords:
    def test_they_are_those_of_the_tokenizer(self, tmp_path: Path) -> None:
        rows = [("Good, <br />GOOD film!", "a"), ("It's bad", "b"), ("...", "a"), ("né 3", "b")]
        texts = texts_in(write(tmp_path / "a.csv", rows))
        for row, (text, _) in enumerate(rows):
            start, length = texts.examples.starts[row], texts.examples.lengths[row]
            tokens = texts.examples.inputs[start : start + length]
            assert tokens[0] == START
            assert texts.said(tokens) == " ".join(split_words(text))
        assert texts.lengths.tolist() == [3, 2, 0, 2]
        assert texts.characters.tolist() == [len(text) for text, _ in rows]

    def test_all_parts_together_are_all_texts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        texts = texts_in(write(tmp_path / "a.csv", rows_of(50)))
        monkeypatch.setattr("flax_imdb.check.texts._TOKENS_AT_ONCE", 60)
        parts = [*texts.parts()]
        assert len(parts) > 10
        np.testing.assert_array_equal(
            np.concatenate([part.tokens for part in parts]), texts.examples.inputs
        )
        np.testing.assert_array_equal(
            np.concatenate([part.lengths for part in parts]), texts.examples.lengths
        )
        firsts = np.cumsum([0, *(len(part.lengths) for part in parts)])[:-1]
        assert [part.first for part in parts] == firsts.tolist()

    @given(
        st.lists(st.lists(st.integers(2, 6), max_size=6), min_size=1, max_size=6), st.integers(1, 4)
    )
    def test_runs_are_those_within_a_text(self, texts: list[list[int]], n: int) -> None:
        tokens = np.array([token for text in texts for token in (START, *text)], np.int32)
        part = Part(0, tokens, np.array([len(text) + 1 for text in texts]))
        expected = [
            (row, tuple(text[i : i + n]))
            for row, text in enumerate(texts)
            for i in range(len(text) - n + 1)
        ]
        runs = part.runs(n)
        found = [tuple(tokens[start : start + n].tolist()) for start in runs.starts]
        assert list(zip(runs.owners.tolist(), found, strict=True)) == expected
        hashes: dict = {}
        for run, value in zip(found, runs.hashes.tolist(), strict=True):
            assert hashes.setdefault(run, value) == value
        assert len({*hashes.values()}) == len(hashes)


def test_hashes_of_different_numbers_differ() -> None:
    assert len(np.unique(mix(np.arange(100_000, dtype=np.uint32)))) == 100_000


class TestLooks:
    @pytest.mark.parametrize(
        ("text", "forms"),
        [
            ("A good film.", set()),
            ("a good film.", {"small letters alone"}),
            ("GOOD!", {"capital letters alone"}),
            ("A <br />good film.", {"markup"}),
            ("2 < 3 is True.", set()),
            ("See http://a.example.", {"a web address"}),
            ("Thanks, @someone.", {"an @name"}),
            ("Write to a@b.example.", set()),
            ("Yes #film.", {"a #tag"}),
            ("Née.", {"characters beyond ASCII"}),
            ("A\nb", {"a line break", "no mark at the end"}),
        ],
    )
    def test_forms(self, text: str, forms: set[str]) -> None:
        assert {name for name, has in FORMS.items() if has(text)} == forms

    def test_broken_characters_are_found(self, tmp_path: Path) -> None:
        rows = [
            ("fine, né, “so”", "a"),
            ("lost \ufffd", "b"),
            ("\x96 cp1252 \x96", "a"),
            ("nÃ© â€œso", "b"),
        ]
        texts = texts_in(write(tmp_path / "a.csv", rows))
        assert texts.broken == {1: ("\ufffd",), 2: ("\x96",), 3: ("Ã©", "â€œ")}

    @pytest.mark.parametrize(
        "text",
        [
            "große Straße",
            "École d'Été",
            "Über Öl",
            "£5 und 3 €",
            "😀",
            "SÖHNE",
            "août",
            "dû",
            "“so” — it\u2019s…",
            "Ångström",
            "mąż",
            "Привет",
            "日本",
            "こんにちは",
            "là",
            "\ufeffname",
        ],
    )
    @pytest.mark.parametrize("as_windows", [True, False])
    def test_utf_8_read_as_another_encoding_is_found(self, text: str, as_windows: bool) -> None:
        def read(character: str) -> str:
            content = character.encode()
            if as_windows:  # What has no character there is read as that of Latin-1.
                return "".join(
                    bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in content
                )
            return content.decode("latin-1")

        looks = _Looks()
        looks.take(text)
        looks.take("".join(map(read, text)))
        beyond = [read(character) for character in text if not character.isascii()]
        assert looks.broken == {1: tuple(dict.fromkeys(beyond))}

    @pytest.mark.parametrize(
        "text",
        [
            "«IRMû",
            "“IRMÔ",
            "«Ã»",
            "â€5",
            "»Spaß«",
            "„Spaß“",
            "CAFÉ™ und CAFÉ®",
            "CAFÉ\xa0!",
            "“José…”",
            "olé——",
            "«voilà»…",
            "«\xa0café\xa0»",
            "ÀÉÎÕÜ àéîõü ÿ Þ",
            "São Paulo, 5 € — „naïve“ œuvre",
        ],
    )
    def test_correct_texts_are_not_accused(self, text: str) -> None:
        looks = _Looks()
        looks.take(text)
        assert looks.broken == {}

    def test_a_control_character_after_a_letter_is_found(self) -> None:
        looks = _Looks()
        looks.take("\xe9\x96 and \xe9\x96 \xe9\x96\x96")
        assert looks.broken == {0: ("\x96", "\xe9\x96\x96")}

    def test_an_excerpt_is_one_short_line(self, tmp_path: Path) -> None:
        rows = [("a\n b\r\n" + "c" * 1000, "a"), ("d", "b")] * 2
        texts = texts_in(write(tmp_path / "a.csv", rows))
        assert texts.excerpts[0].startswith("a b ccc")
        assert len(texts.excerpts[0]) == 160


class TestAlike:
    def test_the_most_frequent_name_is_taken(self) -> None:
        classes = ("Pos", "neg", "p os", "pos")
        chosen, of_class = alike(classes, np.array([0, 1, 1, 2, 3, 3], np.int32))
        assert [classes[number] for number in chosen] == ["neg", "pos"]
        assert of_class.tolist() == [1, 0, 1, 1]

    def test_texts_are_of_the_usual_class_and_say_what_is_written(self, tmp_path: Path) -> None:
        rows = [("x", "a"), ("y", "A"), ("z", "b"), ("w", "a"), ("v", "b")] * 2
        texts = texts_in(write(tmp_path / "a.csv", rows))
        assert texts.classes == ("a", "b")
        assert texts.examples.labels[:5].tolist() == [0, 0, 1, 0, 1]
        assert [texts.label(row) for row in range(5)] == ["a", "A", "b", "a", "b"]

    def test_several_labels_of_a_text_are_merged(self, tmp_path: Path) -> None:
        rows = [("x", "a|b"), ("y", "A|c"), ("z", "a|A"), ("w", "c|a"), ("v", "b|a")]
        texts = texts_in(write(tmp_path / "a.csv", rows), multi_label=True)
        assert texts.classes == ("a", "b", "c")
        expected = [[1, 1, 0], [1, 0, 1], [1, 0, 0], [1, 0, 1], [1, 1, 0]]
        assert texts.examples.labels.tolist() == expected
