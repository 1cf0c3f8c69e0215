"""The texts of benchmarks/encoding.py, and what a start on them does."""

from pathlib import Path

import encoding
import pytest

from flax_imdb.data import DataConfig, load_dataset, split_words


def test_texts_have_about_ten_words_and_a_label() -> None:
    made = list(encoding.texts(1000))
    assert made == list(encoding.texts(1000))
    words = [len(split_words(text)) for text, _ in made]
    assert (min(words), max(words)) == (5, 15)
    assert {label for _, label in made} == {"bad", "good"}


@pytest.mark.long
def test_ten_times_the_texts_take_little_more_memory() -> None:
    """Of a million texts Python's objects alone would take 130 MB, and of their words 700 MB."""
    few, many = (encoding.measure(number) for number in (100_000, 1_000_000))
    for first, second in zip(few, many, strict=True):
        assert second["peak_mb"] < first["peak_mb"] + 200


def test_a_file_is_written_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAX_IMDB_CACHE", str(tmp_path / "cache"))
    encoding.write(tmp_path / "a.csv", 500)
    dataset = load_dataset(DataConfig(str(tmp_path / "a.csv")))
    assert (len(dataset.train), len(dataset.test)) == (400, 100)
