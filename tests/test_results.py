"""What is written of a finished run, and read again."""

import dataclasses
import json
from typing import Any

import pytest
from results_by_type import example

from flax_imdb.results import Result, Summary


@pytest.mark.parametrize("of", [Result, Summary])
class TestParse:
    def test_gives_what_was_written(self, of: Any) -> None:
        assert of.parse(example(of).dump()) == example(of)

    @pytest.mark.parametrize("content", ["", "[]", "{}", "nan", "\x00", '{"epochs": 3}'])
    def test_gives_none_of_what_is_no_result(self, of: Any, content: str) -> None:
        assert of.parse(content) is None

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("epochs", "much"),
            ("epochs", 1.5),
            ("note", None),
            ("test_accuracy", float("nan")),
            ("test_accuracy", [0.5]),
            ("versions", []),
        ],
    )
    def test_gives_none_where_a_value_is_of_another_kind(
        self, of: Any, name: str, value: Any
    ) -> None:
        content = {**dataclasses.asdict(example(of)), name: value}
        assert of.parse(json.dumps(content)) is None

    def test_reads_what_versions_before_several_labels_wrote(self, of: Any) -> None:
        content = dataclasses.asdict(example(of))
        for name in ("micro_f1", "thresholds"):
            content.pop(name, None)
        found = of.parse(json.dumps(content))
        assert found == dataclasses.replace(
            example(of), **({"micro_f1": None} if of is Result else {})
        )

    def test_gives_none_where_one_is_missing(self, of: Any) -> None:
        content = dataclasses.asdict(example(of))
        del content["test_accuracy"]
        assert of.parse(json.dumps(content)) is None
