"""What is planted by benchmarks/planted_faults.py, and how it judges what is found."""

import csv
from pathlib import Path

import numpy as np
import planted_faults
from checked_rows import rows_of
from planted_faults import PAIRS, Row

from flax_imdb.data import DataConfig, split_words
from flax_imdb.data.sources import find_source


def rows(number: int, words: int = 110) -> list[Row]:
    names = {"neg": "negative", "pos": "positive"}
    return [
        Row(text.replace(" a ", " a,\n"), names[label], ("train", "test")[n % 3 == 0])
        for n, (text, label) in enumerate(rows_of(number, words=words))
    ]


def test_so_much_is_planted() -> None:
    before = rows(400)
    planted, pairs = planted_faults.plant(before, seed=1, copies=5, spelled=30)
    assert planted_faults.plant(before, seed=1, copies=5, spelled=30) == (planted, pairs)
    assert len(planted) == 400 + 5 * len(PAIRS)
    assert sum(row.fault == "label" for row in planted) == 20
    assert sum(row.fault == "spelling" for row in planted) == 30
    label_of = {row.text: row.label for row in before}
    for row in planted:
        if not row.pairs:
            right = "".join(row.label.split()).lower() == label_of[row.text]
            assert right == (row.fault != "label")
    for number, kind in enumerate(pairs):
        first, second = (row for row in planted if row.pairs == (number,))
        assert (first.split != second.split) == kind.endswith("leak")
        assert (first.text != second.text) == kind.startswith("near")
        assert planted_faults.are_alike(first.text, second.text)


def test_texts_are_alike_if_they_share_seven_tenths_of_their_runs() -> None:
    text = " ".join(f"w{number}" for number in range(100))
    rng = np.random.default_rng(0)
    assert planted_faults.are_alike(text, planted_faults.changed(text, rng))
    for _ in range(20):
        text = planted_faults.changed(text, rng)
    assert not planted_faults.are_alike(text, " ".join(f"w{number}" for number in range(100)))
    assert planted_faults.are_alike("a b", "A, b.")
    assert not planted_faults.are_alike("a b", "a c")


def test_the_command_finds_it_where_it_is_said_to_be(tmp_path: Path) -> None:
    planted, pairs = planted_faults.plant(rows(400), seed=1, copies=5, spelled=30)
    places = planted_faults.write(tmp_path, planted)
    source = find_source(
        DataConfig(dataset=str(tmp_path / "train.csv"), test_dataset=str(tmp_path / "test.csv"))
    )
    found = {}
    texts: list[str] = []
    source.scan(texts.append, lambda origin, line: found.update({(origin.place, line): texts[-1]}))
    assert {(Path(place).name, line): text for (place, line), text in found.items()} == {
        place: row.text for place, row in places.items()
    }
    printed, listed, used = planted_faults.check(tmp_path, *planted_faults.of_files(tmp_path))
    assert printed["summary"]["rows"] == len(planted)
    assert used["seconds"] > 0
    judged = planted_faults.judge(places, pairs, listed)
    assert judged["rows"] == 420
    assert judged["label"]["planted"] == 20
    assert judged["label"]["found_in_first_tenth"] > 0.9
    assert judged["falsely_accused"] == {"copies": 0, "copies_of_the_reviews": 0, "spelling": 0}
    for kind in PAIRS:
        assert judged[kind] == {"planted": 5, "found": 5}
    assert judged["spelling"] == {"planted": 30, "found": 30}


def test_what_is_accused_besides_is_counted() -> None:
    words = "one two three four five six seven"
    texts = [words, words, "another text altogether", f"{words} more"]
    places = {("a.csv", n): Row(text, "x", "train") for n, text in enumerate(texts)}
    why = "the same words as line 0 of a.csv"
    listed = [
        {"finding": "duplicate", "file": "/x/a.csv", "line": str(n), "why": why} for n in (1, 2, 3)
    ]
    listed.append({"finding": "spelling", "file": "/x/a.csv", "line": "1", "why": "so"})
    places["a.csv", 4] = Row("a", "y", "train", "label")
    judged = planted_faults.judge({**places, **_many(places)}, [], listed)
    assert judged["falsely_accused"] == {"copies": 1, "copies_of_the_reviews": 3, "spelling": 1}


def _many(places: dict[tuple[str, int], Row]) -> dict[tuple[str, int], Row]:
    """More rows, so that there is a tenth of them."""
    return {("b.csv", number): Row("b", "y", "train") for number in range(10 - len(places) + 5)}


def test_shortcuts_are_of_one_class() -> None:
    before = rows(200)
    for kind in ("length", "source"):
        for old, new in zip(before, planted_faults.with_shortcut(before, kind, 1), strict=True):
            if old.label == "positive":
                assert old == new
    short = planted_faults.with_shortcut(before, "length", 1)
    assert all(len(r.text.split(" ")) <= 60 for r in short if r.label == "negative")
    sourced = planted_faults.with_shortcut(before, "source", 1)
    share = np.mean([r.text.startswith("From the Evening") for r in sourced])
    assert 0.08 < share < 0.22
    assert split_words(planted_faults.OPENING) == ["from", "the", "evening", "courier"]


def test_lines_are_those_of_the_csv_module(tmp_path: Path) -> None:
    places = planted_faults.write(tmp_path, [Row("a\nb", "x", "train"), Row("c", "y", "train")])
    assert [line for _, line in places] == [2, 4]
    with (tmp_path / "train.csv").open(newline="") as file:
        assert len([*csv.reader(file)]) == 3
