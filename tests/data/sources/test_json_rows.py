"""Tables of JSON."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imdb_archive import one_line_error
from own_rows import pairs_in, rows_in, written

from flax_imdb.data.sources import problem_of_label

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
LABELS = TEXTS.map(str.strip).filter(lambda label: not problem_of_label(label))
ROWS = st.lists(st.tuples(TEXTS.filter(str.strip), LABELS), min_size=1, max_size=6)


class TestRoundTrip:
    @given(rows=ROWS, ascii=st.booleans(), form=st.sampled_from(["lines", "array", "indented"]))
    def test_what_is_written_is_read(
        self, scratch: Path, rows: list[tuple[str, str]], ascii: bool, form: str
    ) -> None:
        objects = [{"id": i, "text": text, "label": label} for i, (text, label) in enumerate(rows)]
        if form == "lines":
            content = "\n".join(json.dumps(found, ensure_ascii=ascii) for found in objects)
        else:
            indent = 2 if form == "indented" else None
            content = json.dumps(objects, ensure_ascii=ascii, indent=indent)
        path = written(scratch / "a.json", content)
        assert pairs_in(path) == rows


class TestValues:
    @pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.ndjson"])
    @pytest.mark.parametrize(
        ("labels", "read"),
        [
            (['"1"', "2"], ["1", "2"]),
            (["1", '"2"', "1"], ["1", "2", "1"]),
            (["true", "false"], ["true", "false"]),
            (["5.0", "5"], ["5.0", "5"]),
            (['"2020-01-01"', '"01"'], ["2020-01-01", "01"]),
            (["1e400", "-0"], ["1e400", "-0"]),
            (["9" * 900, "1"], ["9" * 900, "1"]),
        ],
        ids=str,
    )
    def test_are_as_written(
        self, name: str, labels: Sequence[str], read: Sequence[str], tmp_path: Path
    ) -> None:
        lines = [f'{{"text": "a", "label": {label}}}' for label in labels]
        assert rows_in(written(tmp_path / name, lines)).labels == read

    def test_that_are_missing_or_no_text_are_bad_rows(self, tmp_path: Path) -> None:
        lines = [
            '{"text": "a", "label": null}',
            '{"label": "b"}',
            '{"text": ["a"], "label": "b"}',
            '{"text": "c", "label": "d"}',
        ]
        path = written(tmp_path / "a.json", lines)
        with one_line_error("line 1 has no label; line 2 has no text; line 3 has a list where a"):
            rows_in(path)
        assert pairs_in(path, skip_bad_rows=True) == [("c", "d")]

    def test_that_are_very_long_numbers_are_bad_rows(self, tmp_path: Path) -> None:
        """And nothing is computed."""
        line = f'{{"text": "a", "label": {"9" * 1_000_000}}}'
        with one_line_error("line 1 has a label of 1,000,000 characters, of which 1,000 are all"):
            rows_in(written(tmp_path / "a.json", line))

    @pytest.mark.parametrize("escape", [r"\ud800", r"a\udfffb", r"\udc80"])
    def test_that_are_half_a_character_are_bad_rows(self, escape: str, tmp_path: Path) -> None:
        lines = [f'{{"text": "{escape}", "label": "a"}}', r'{"text": "\ud83d\ude00", "label": "b"}']
        path = written(tmp_path / "a.json", lines)
        with one_line_error("line 1 (has half a character|is not utf-8)"):
            rows_in(path)
        assert pairs_in(path, skip_bad_rows=True) == [("😀", "b")]

    def test_may_be_in_objects(self, tmp_path: Path) -> None:
        lines = [
            '{"review": {"text": "a", "style": {"x": [1, {}]}}, "meta.stars": 1, "label": {}}',
            '{"review": {"text": "b"}, "meta.stars": 2, "review.title": "c"}',
        ]
        columns = {"label_column": "meta.stars", "text_columns": "review.title,review.text"}
        path = written(tmp_path / "a.json", lines)
        assert pairs_in(path, **columns) == [("a", "1"), ("c\nb", "2")]
        with one_line_error(
            r"columns.* are review.text \('a'\), review.style.x \('\[...\]'\), meta.stars \('1'\), "
            r"review.title \('c'\)"
        ):
            rows_in(path)

    def test_may_have_keys_that_others_lack(self, tmp_path: Path) -> None:
        lines = ['{"id": 1, "text": "a", "label": "b"}', '{"label": "c", "text": "d", "x": {}}']
        assert pairs_in(written(tmp_path / "a.json", lines)) == [("a", "b"), ("d", "c")]


class TestMalformed:
    @pytest.mark.parametrize(
        "line",
        [
            "{",
            "{'text': 'a', 'label': 'b'}",
            '{"text": "a", "label": NaN}',
            '{"text": "a", "label": -Infinity}',
            '{"text": "a", "label": "b"} {}',
            '"text"',
            "1",
            "[1]",
            "[" * 100_000,
            '{"text":' * 100_000,
            '{"text": "a\tb", "label": "c"}',
            "text,label",
        ],
        ids=lambda line: line[:30],
    )
    def test_lines_are_bad_rows(self, line: str, tmp_path: Path) -> None:
        lines = ['{"text": "c", "label": "d"}', "", line]
        path = written(tmp_path / "a.json", lines)
        with one_line_error(r"1 of 2 rows \(line 3 is (not )?(a )?JSON"):
            rows_in(path)
        assert pairs_in(path, skip_bad_rows=True) == [("c", "d")]

    @pytest.mark.parametrize(
        ("content", "line"),
        [
            ('[{"text": "a",\n "label": "b"},\n{]', 3),
            ('[{"text": "a",\n "label": "b"}\n\n{}]', 4),
            ('[{"text": "a",\n "label": "b"},\n]', 3),
            ('\n[{"text": "a",\n "label": "b"}\n]\n[]', 4),
            ('[{"text": "a",\n "label": "b"},', 2),
            ('[{"text": "a",\n "label": "b"}', 2),
            ('[\n{"text": "a", "label": NaN}]', 2),
            ("[\n" + "[" * 100_000, 2),
        ],
    )
    @pytest.mark.parametrize("skip", [True, False])
    def test_arrays_are_an_error(self, content: str, line: int, skip: bool, tmp_path: Path) -> None:
        with one_line_error(f"a.json: line {line} "):
            rows_in(written(tmp_path / "a.json", content), skip_bad_rows=skip)

    def test_elements_are_bad_rows(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.json", '[\n1,\n{"text": "c", "label": "d"}\n]\n')
        with one_line_error(r"1 of 2 rows \(line 2 is not a JSON object"):
            rows_in(path)
        assert pairs_in(path, skip_bad_rows=True) == [("c", "d")]

    @pytest.mark.parametrize("content", ["[]", "{}", "[{}]"])
    def test_files_without_values_are_an_error(self, content: str, tmp_path: Path) -> None:
        with one_line_error("a.json is empty: a JSON object on each line is needed"):
            rows_in(written(tmp_path / "a.json", content))
