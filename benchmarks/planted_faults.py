"""What ``flax-imdb check`` finds of faults that were planted in the real reviews.

    python benchmarks/planted_faults.py --json benchmarks/results/planted_faults.json

All 50,000 reviews are written to two CSV files, train.csv and test.csv, with faults of several
kinds: wrong labels, copies within a split and across, copies with a few words changed, labels that
are spelled otherwise. The command checks them in a process of its own. A second pair of files has
shortcuts: one class is cut short, or begins in the same way. They are planted again with each seed;
without any faults the reviews are checked once. docs/check.md shows the results. Takes about a
minute for each seed on two cores.
"""

import csv
import dataclasses
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import runner

from flax_imdb.data import split_words
from flax_imdb.data.sources import SPLITS, find_reviews

WRONG = 0.05
COPIES = 200
"""Of each kind."""

CHANGED_WORDS = 5
SPELLED = 200
SHORT_WORDS = 60
SHARE_OF_SOURCE = 0.3
OPENING = "From the Evening Courier: "
ROWS_OF_SHORTCUTS = 10_000

PAIRS = ("duplicate", "leak", "near duplicate", "near leak")
"""The kinds of copies."""

SPELLINGS = {"negative": ("Negative", "NEGATIVE"), "positive": ("Positive", "posi tive")}


@dataclasses.dataclass
class Row:
    """A row of a file.

    Attributes:
      text: the text.
      label: its label.
      split: the file.
      fault: what was planted in it: ``"label"`` or ``"spelling"``; empty if neither was.
      pairs: the numbers of the copies that it is one of.
    """

    text: str
    label: str
    split: str
    fault: str = ""
    pairs: tuple[int, ...] = ()


Places = dict[tuple[str, int], Row]
"""The rows by file and line."""


def reviews(number: int | None = None) -> list[Row]:
    """The reviews, or a random part of so many, each text once."""
    source = find_reviews("imdb_reviews")
    rows: dict[str, Row] = {}
    for split in SPLITS:
        texts, labels = source.read(split)
        for text, label in zip(texts, labels.tolist(), strict=True):
            rows.setdefault(" ".join(split_words(text)), Row(text, source.classes[label], split))
    different = [*rows.values()]
    if number is None:
        return different
    chosen = np.random.default_rng(0).choice(len(different), number, replace=False)
    return [different[row] for row in np.sort(chosen).tolist()]


def plant(
    rows: Sequence[Row], seed: int, copies: int = COPIES, spelled: int = SPELLED
) -> tuple[list[Row], list[str]]:
    """The rows with wrong labels, copies and other spellings, and the kind of each pair."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows)).tolist()
    planted = [dataclasses.replace(row) for row in rows]
    wrong = round(WRONG * len(rows))
    for number in order[:wrong]:
        row = planted[number]
        row.label = "positive" if row.label == "negative" else "negative"
        row.fault = "label"
    rest = iter(order[wrong:])
    for _ in range(spelled):
        row = planted[next(rest)]
        row.label = str(rng.choice(SPELLINGS[row.label]))
        row.fault = "spelling"
    pairs = [kind for kind in PAIRS for _ in range(copies)]
    for number, kind in enumerate(pairs):
        row = planted[next(rest)]
        row.pairs = (number,)
        text = changed(row.text, rng) if kind.startswith("near") else row.text
        other = "test" if row.split == "train" else "train"
        split = other if kind.endswith("leak") else row.split
        planted.append(Row(text, row.label, split, pairs=(number,)))
    return [planted[number] for number in rng.permutation(len(planted)).tolist()], pairs


def changed(text: str, rng: np.random.Generator) -> str:
    """The text with some words replaced; of a text of fewer than 100 words one."""
    words = text.split(" ")
    count = CHANGED_WORDS if len(words) >= 100 else 1
    for place in rng.choice(len(words), count, replace=False).tolist():
        words[place] = f"changed{place}"
    return " ".join(words)


def with_shortcut(rows: Sequence[Row], kind: str, seed: int) -> list[Row]:
    """The rows, of which the negative ones are short, or often begin alike."""
    rng = np.random.default_rng(seed)
    planted = []
    for row in rows:
        text = row.text
        if row.label == "negative" and kind == "length":
            text = " ".join(text.split(" ")[:SHORT_WORDS])
        elif row.label == "negative" and kind == "source" and rng.random() < SHARE_OF_SOURCE:
            text = OPENING + text
        planted.append(dataclasses.replace(row, text=text))
    return planted


def write(directory: Path, rows: Sequence[Row]) -> Places:
    """Write train.csv and test.csv; returns the rows by file and line."""
    places = {}
    for split in SPLITS:
        path, of_split = directory / f"{split}.csv", [row for row in rows if row.split == split]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *((r.text, r.label) for r in of_split)])
        with path.open(newline="") as file:
            reader = csv.reader(file)
            line = 1
            for row in (None, *of_split):
                if row is not None:
                    places[path.name, line] = row
                next(reader)
                line = reader.line_num + 1
    return places


def check(directory: Path, *dataset: str) -> tuple[dict[str, Any], list[dict[str, str]], Any]:
    """Run the command: what it prints, the rows that it writes, and how long it took."""
    output = directory / "doubtful.csv"
    command = [sys.executable, "-m", "flax_imdb", "check", *dataset, "--json"]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [*command, "--output", output, "--overwrite"], check=True, stdout=subprocess.PIPE
    )
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = {
        "seconds": seconds,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_memory_mb": after.ru_maxrss / 1024,
        "load": os.getloadavg()[0],
    }
    with output.open(newline="") as file:
        return json.loads(done.stdout), [*csv.DictReader(file)], used


def of_files(directory: Path) -> tuple[str, ...]:
    """The flags for the two files."""
    return str(directory / "train.csv"), "--test-dataset", str(directory / "test.csv")


def judge(places: Places, pairs: Sequence[str], found: Sequence[dict[str, str]]) -> dict[str, Any]:
    """What was found of what was planted, and what was accused besides."""
    listed: dict[str, list[tuple[Row, str]]] = {}
    for each in found:
        row = places[Path(each["file"]).name, int(each["line"])]
        listed.setdefault(each["finding"], []).append((row, each["why"]))
    of_kinds = {kind: _of_pairs(kind, pairs, listed) for kind in PAIRS}
    copies = [*listed.get("leak", ()), *listed.get("duplicate", ())]
    besides = [(row, why) for row, why in copies if not row.pairs]
    spelled = [row.fault == "spelling" for row, _ in listed.get("spelling", ())]
    return {
        "rows": len(places),
        "label": _of_labels(places, listed.get("label", ())),
        **of_kinds,
        "spelling": {"planted": _planted(places, "spelling"), "found": sum(spelled)},
        "falsely_accused": {
            "copies": sum(
                not are_alike(row.text, _other(why, places).text) for row, why in besides
            ),
            "copies_of_the_reviews": len(besides),
            "spelling": len(spelled) - sum(spelled),
        },
    }


def _planted(places: Places, fault: str) -> int:
    return sum(row.fault == fault for row in places.values())


def _of_labels(places: Places, listed: Sequence[tuple[Row, str]]) -> dict[str, float]:
    wrong = [row.fault == "label" for row, _ in listed]
    probable = [row.fault == "label" for row, why in listed if why.startswith("probably")]
    planted = _planted(places, "label")
    tenth = len(places) // 10
    return {
        "planted": planted,
        "listed": len(listed),
        "found": sum(wrong) / planted,
        "found_in_first_tenth": sum(wrong[:tenth]) / planted,
        "right_in_first_tenth": sum(wrong[:tenth]) / tenth,
        "probable": len(probable),
        "probable_found": sum(probable) / planted,
        "probable_right": sum(probable) / max(len(probable), 1),
    }


def _of_pairs(
    kind: str, pairs: Sequence[str], listed: dict[str, list[tuple[Row, str]]]
) -> dict[str, int]:
    """Of the copies of a kind, those of which one of both rows is listed."""
    wanted = {number for number, of_pair in enumerate(pairs) if of_pair == kind}
    rows = listed.get("leak" if kind.endswith("leak") else "duplicate", ())
    return {
        "planted": len(wanted),
        "found": len(wanted & {number for row, _ in rows for number in row.pairs}),
    }


def _other(why: str, places: Places) -> Row:
    """The row that a row is a copy of."""
    ((line, name),) = re.findall(r"line (\d+) of (\w+\.csv)", why)
    return places[name, int(line)]


def are_alike(first: str, second: str) -> bool:
    """Whether two texts share 70 % of their runs of three words, or have the same words."""
    words, others = split_words(first), split_words(second)
    runs, theirs = ({*zip(w, w[1:], w[2:], strict=False)} for w in (words, others))
    both, either = len(runs & theirs), len(runs | theirs)
    return words == others or (both > 0 and both >= 0.7 * either)


def measure(rows: Sequence[Row], part: Sequence[Row], seed: int) -> dict[str, Any]:
    """Plant with a seed, and check."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        planted, pairs = plant(rows, seed)
        places = write(directory, planted)
        _, found, used = check(directory, *of_files(directory))
        shortcuts: dict[str, Any] = {}
        for kind in ("length", "source"):
            write(directory, with_shortcut(part, kind, seed))
            printed, _, _ = check(directory, *of_files(directory))
            shortcuts[kind] = [
                {key: each[key] for key in ("label", "mark", "in_class", "elsewhere", "strength")}
                for each in printed["shortcuts"]
            ]
    return {"seed": seed, **judge(places, pairs, found), "shortcuts": shortcuts, **used}


def without_faults() -> dict[str, Any]:
    """Check the reviews as they are."""
    with tempfile.TemporaryDirectory() as name:
        printed, _, used = check(Path(name), "imdb_reviews")
    kept = ("summary", "findings", "labels", "shortcuts", "learning_curve")
    return {**{key: printed[key] for key in kept}, **used}


def main() -> None:
    """Check the reviews without faults, and with those of each seed."""
    parser = runner.Parser(__doc__)
    parser.add_argument("--seeds", type=runner.at_least(1), default=3)
    options = parser.parse_args()
    results: dict[str, Any] = {
        "wrong_labels": WRONG,
        "copies": COPIES,
        "changed_words": CHANGED_WORDS,
        "spelled": SPELLED,
        "short_words": SHORT_WORDS,
        "share_of_source": SHARE_OF_SOURCE,
        "rows_of_shortcuts": ROWS_OF_SHORTCUTS,
        "rows": [],
    }
    results["without_faults"] = without_faults()
    print(results["without_faults"], flush=True)
    rows, part = reviews(), reviews(ROWS_OF_SHORTCUTS)
    for seed in range(1, options.seeds + 1):
        results["rows"].append(measure(rows, part, seed))
        print(results["rows"][-1], flush=True)
        runner.write(options.json, results)


if __name__ == "__main__":
    main()
