"""What tells a class without meaning."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checked_rows import rows_of, texts_in, write

from flax_imdb.check.shortcuts import Shortcut, find_shortcuts


def found_in(
    path: Path, change: Callable[[int, str], str], label: str = "pos", rows: int = 200
) -> list[Shortcut]:
    """The shortcuts where texts of a label, each with its number, are changed."""
    numbers = {"neg": 0, "pos": 0}
    changed = []
    for text, of_text in rows_of(rows):
        number = numbers[of_text] = numbers[of_text] + 1
        changed.append((change(number, text) if of_text == label else text, of_text))
    return find_shortcuts(texts_in(write(path / "rows.csv", changed)))


def test_texts_that_differ_by_meaning_alone_have_none(tmp_path: Path) -> None:
    assert found_in(tmp_path, lambda number, text: text) == []


def test_length(tmp_path: Path) -> None:
    (found,) = found_in(tmp_path, lambda number, text: " ".join(text.split()[: number % 12 + 1]))
    assert (found.label, found.mark) == ("pos", "fewer words")
    assert found.elsewhere == 24
    assert found.in_class == pytest.approx(6.5, abs=1)
    assert found.strength == 1
    assert found.example == 1


def test_the_strength_of_a_length_is_the_share_of_pairs(tmp_path: Path) -> None:
    change = lambda number, text: " ".join(text.split() * (1 + number % 3))  # noqa: E731
    (found,) = (each for each in found_in(tmp_path, change, "neg") if each.mark.endswith("words"))
    longer = [24 * (1 + number % 3) for number in range(1, 101)]
    pairs = np.mean([[(a > 24) + 0.5 * (a == 24) for _ in range(100)] for a in longer])
    assert (found.label, found.mark) == ("pos", "fewer words")
    assert found.strength == pytest.approx(pairs)


@pytest.mark.parametrize(
    ("change", "mark"),
    [
        (lambda number, text: f"Reuters report: {text}", "begins with 'reuters'"),
        (lambda number, text: f"{text} sent from my phone", "ends with 'phone'"),
        (lambda number, text: f"{text}\nhttps://a.example", "a web address"),
        (lambda number, text: f"<b>{text}</b>", "markup"),
        (lambda number, text: text.upper(), "capital letters alone"),
        (
            lambda number, text: f"{text[:40]} read all our news {text[40:]}",
            "has 'read all our news'",
        ),
    ],
)
def test_source(tmp_path: Path, change: Callable[[int, str], str], mark: str) -> None:
    """A part of the texts of a class has it, and none of the others."""
    found = found_in(tmp_path, lambda n, text: change(n, text) if n % 10 < 4 else text)
    shortcut = next(each for each in found if each.mark == mark)
    assert shortcut.label == "pos"
    assert shortcut.in_class == pytest.approx(0.4)
    assert shortcut.elsewhere == 0
    assert shortcut.strength == pytest.approx(0.4)
    assert shortcut.example == 1
    assert len(found) <= 3


def test_what_few_texts_have_is_none(tmp_path: Path) -> None:
    assert found_in(tmp_path, lambda n, text: f"Reuters: {text}" if n % 10 == 0 else text) == []


def test_what_both_classes_have_is_none(tmp_path: Path) -> None:
    rows = [(f"Reuters report: {text} https://a.example", label) for text, label in rows_of(200)]
    assert find_shortcuts(texts_in(write(tmp_path / "rows.csv", rows))) == []


def test_of_a_small_class_nothing_is_said(tmp_path: Path) -> None:
    assert found_in(tmp_path, lambda number, text: text.upper(), rows=30) == []


def test_of_several_labels_each_is_looked_at(tmp_path: Path) -> None:
    rows = []
    for number, (text, _) in enumerate(rows_of(200)):
        labels = [name for bit, name in enumerate("abc") if number >> bit & 1]
        text = f"Reuters {text.partition(' ')[2]}" if "b" in labels else text
        rows.append((text, "|".join(labels)))
    texts = texts_in(write(tmp_path / "rows.csv", rows), multi_label=True, allow_no_labels=True)
    found = find_shortcuts(texts)
    assert {each.label for each in found} == {"b"}
    assert found[0].mark == "begins with 'reuters'"
    assert (found[0].in_class, found[0].elsewhere) == (1, 0)
