"""Sentences that are hard for word counts: how many of each kind a run's model answers right.

    python benchmarks/challenge.py runs/tutorial/unicode/*/ --json benchmarks/results/challenge.json

Each directory is that of a run, or of several seeds. The sentences are in
benchmarks/data/challenge.csv, in pairs of almost the same words, one positive and one negative, so
that one half is right by chance. They were written before any recipe was trained, and choose
nothing. docs/results.md shows the figures.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import runner

from flax_imdb.predict import TrainedModel, load

SENTENCES = Path(__file__).parent / "data" / "challenge.csv"


class Sentence(NamedTuple):
    """A sentence of the challenge.

    Attributes:
      kind: what is hard about it.
      label: positive or negative.
      text: the sentence.
    """

    kind: str
    label: str
    text: str


def read() -> list[Sentence]:
    """The sentences."""
    with SENTENCES.open(newline="") as file:
        return [Sentence(**row) for row in csv.DictReader(file)]


def accuracies(model: TrainedModel, sentences: Sequence[Sentence]) -> dict[str, float]:
    """The share of right answers, by kind and of all."""
    predictions = model.predict([sentence.text for sentence in sentences])
    right: dict[str, list[bool]] = {}
    for sentence, prediction in zip(sentences, predictions, strict=True):
        for kind in (sentence.kind, "all"):
            right.setdefault(kind, []).append(prediction.label == sentence.label)
    return {kind: sum(answers) / len(answers) for kind, answers in right.items()}


def score(run: Path, sentences: Sequence[Sentence]) -> dict[str, Any]:
    """The accuracies of a run, or of each of its seeds."""
    of_seeds = [accuracies(load(seed), sentences) for seed in runner.seeds_of(run)]
    by_kind = {kind: [of_seed[kind] for of_seed in of_seeds] for kind in of_seeds[0]}
    return {"run": run.name, "accuracies": by_kind}


def main() -> None:
    """Score all runs."""
    parser = runner.Parser(__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="directories of runs")
    options = parser.parse_args()
    sentences = read()
    rows = []
    for run in options.runs:
        rows.append(score(run, sentences))
        print(rows[-1])
    runner.write(options.json, {"sentences": len(sentences), "rows": rows})


if __name__ == "__main__":
    main()
