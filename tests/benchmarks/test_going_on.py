"""The rows of benchmarks/going_on.py, and its runs."""

import csv
from pathlib import Path
from types import SimpleNamespace

import going_on
import pytest

import flax_imdb


def read(file: Path) -> list[list[str]]:
    with file.open(newline="", encoding="utf-8") as rows:
        return list(csv.reader(rows))[1:]


def test_old_and_new_reviews_are_all_of_them_and_always_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f'review {number},\n"so-so"' for number in range(50)]
    source = SimpleNamespace(
        classes=("negative", "positive"),
        read=lambda split: ([f"{split} {text}" for text in texts], [i % 2 for i in range(50)]),
    )
    monkeypatch.setattr(going_on, "find_source", lambda config: source)
    files = going_on.reviews(20, 10, 15, tmp_path)
    rows = {name: read(file) for name, file in files.items()}
    assert [len(rows[name]) for name in ("old", "new", "all", "test")] == [20, 10, 30, 15]
    assert rows["old"] + rows["new"] == rows["all"]
    assert len({text for text, _ in rows["all"]}) == 30
    assert all(text.startswith("test ") for text, _ in rows["test"])
    again = going_on.reviews(20, 10, 15, tmp_path)
    assert rows == {name: read(file) for name, file in again.items()}


def test_runs_go_on_with_other_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        *(("MANY", 80), ("FEW", 40), ("TESTED", 20)),
        *(("OLD_LABEL_EPOCHS", 1), ("NEW_LABEL_EPOCHS", 1)),
    ):
        monkeypatch.setattr(going_on, name, value)
    size = flax_imdb.ModelConfig(features=4, embedding_features=4)
    small = flax_imdb.ExperimentConfig(size, flax_imdb.DataConfig(max_length=20))
    monkeypatch.setattr(going_on.flax_imdb, "ExperimentConfig", lambda: small)
    runs = going_on.new_labels(going_on.generated(tmp_path), 1, tmp_path / "runs")
    assert list(runs) == ["old labels", "new head", "anew"]
    assert all(run["epochs"] == 1 for run in runs.values())
