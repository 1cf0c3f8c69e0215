"""Going on from a trained model, and stopping early, against what one would do instead.

    python benchmarks/going_on.py --json benchmarks/results/going_on.json

Some of IMDB's training reviews are old and some are new, always the same ones. A model of the old
ones goes on with the new ones alone, or with both, and another one begins anew with both. That one
is also trained with patience. A tenth of the rows of each run is held out to choose its epoch. Then
a model of four classes of the texts of own_data.py goes on with few rows that have two other
labels. The rows are written to a temporary directory. docs/going_on.md shows the results. Takes
half an hour on two cores.
"""

import csv
import dataclasses
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import own_data
import runner
from rich.console import Console

import flax_imdb
from flax_imdb.data import DataConfig
from flax_imdb.data.sources import find_source
from flax_imdb.tuning import tune_process

OLD, NEW = 10_000, 5_000
EPOCHS, MORE_EPOCHS, PATIENCE = 8, 3, 2
HELD_OUT = 0.1

# Of the generated texts, and their labels before and after.
CLASSES, OTHER_CLASSES = ("1", "2", "3", "4"), ("bad", "bad", "good", "good")
MANY, FEW, TESTED = 4_000, 100, 1_000
OLD_LABEL_EPOCHS, NEW_LABEL_EPOCHS = 10, 30

Rows = list[tuple[str, str]]


def write(path: Path, rows: Iterable[tuple[str, str]]) -> Path:
    """Write texts and their labels as a table."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


def reviews(old: int, new: int, tested: int | None, directory: Path) -> dict[str, Path]:
    """Files of old, new and all reviews, and of those to test on (None: all)."""
    source = find_source(DataConfig(dataset="imdb_reviews"))

    def chosen(split: Any, number: int | None) -> Rows:
        texts, labels = source.read(split)
        order = np.random.default_rng(0).permutation(len(texts))[:number]
        return [(texts[i], source.classes[labels[i]]) for i in order.tolist()]

    rows = chosen("train", old + new)
    parts = {"old": rows[:old], "new": rows[old:], "all": rows, "test": chosen("test", tested)}
    return {name: write(directory / f"{name}.csv", part) for name, part in parts.items()}


def generated(directory: Path) -> dict[str, Path]:
    """Files of many texts, of few with other labels, and of such to test on."""
    texts, labels = own_data.generate(CLASSES, MANY + FEW + TESTED)
    others = [OTHER_CLASSES[CLASSES.index(label)] for label in labels]
    parts = {
        "old": list(zip(texts, labels, strict=True))[:MANY],
        "new": list(zip(texts, others, strict=True))[MANY:-TESTED],
        "test": list(zip(texts, others, strict=True))[-TESTED:],
    }
    return {name: write(directory / f"{name}.csv", part) for name, part in parts.items()}


def configured(
    base: flax_imdb.ExperimentConfig, file: Path, test: Path | None, seed: int, **training: Any
) -> flax_imdb.ExperimentConfig:
    """The experiment on the rows of a file, a part of which is held out."""
    with file.open(newline="", encoding="utf-8") as rows:
        held_out = round(HELD_OUT * sum(1 for _ in csv.reader(rows)))
    tested = None if test is None else str(test)
    data = {"dataset": str(file), "test_dataset": tested, "validation_examples": held_out}
    return dataclasses.replace(
        base,
        data=dataclasses.replace(base.data, **data),
        training=dataclasses.replace(base.training, seed=seed, **training),
    )


def measure(config: flax_imdb.ExperimentConfig, workdir: Path) -> dict[str, Any]:
    """Train."""
    result = flax_imdb.train(config, workdir, baseline=False, console=Console(quiet=True))
    names = ("test_accuracy", "epochs", "reported_epoch", "train_seconds")
    return {name: getattr(result, name) for name in names}


def new_rows(files: dict[str, Path], arch: str, seed: int, directory: Path) -> dict[str, Any]:
    """The runs of a seed on reviews, by what they are."""
    base = flax_imdb.ExperimentConfig(flax_imdb.ModelConfig(arch=arch))
    test, runs = files["test"], {}
    for name, rows, training in (
        ("old rows", "old", {"epochs": EPOCHS}),
        ("new rows", "new", {"epochs": MORE_EPOCHS}),
        ("old and new rows", "all", {"epochs": MORE_EPOCHS}),
        ("anew", "all", {"epochs": EPOCHS}),
        ("patience", "all", {"epochs": EPOCHS, "patience": PATIENCE}),
    ):
        goes_on = training["epochs"] == MORE_EPOCHS
        start = flax_imdb.start_from(directory / "old rows") if goes_on else base
        config = configured(start, files[rows], test, seed, **training)
        runs[name] = measure(config, directory / name)
    return runs


def new_labels(files: dict[str, Path], seed: int, directory: Path) -> dict[str, Any]:
    """The runs of a seed on generated texts, by what they are."""
    base = flax_imdb.ExperimentConfig()
    # Of so few rows that are held out nearly all may be right: their loss tells more.
    chosen: dict[str, Any] = {"monitor": "loss"}
    old = configured(base, files["old"], None, seed, epochs=OLD_LABEL_EPOCHS, **chosen)
    runs = {"old labels": measure(old, directory / "old labels")}
    start = dataclasses.replace(flax_imdb.start_from(directory / "old labels"), new_head=True)
    for name, begin in (("new head", start), ("anew", base)):
        more = {"epochs": NEW_LABEL_EPOCHS, **chosen}
        config = configured(begin, files["new"], files["test"], seed, **more)
        runs[name] = measure(config, directory / name)
    return runs


def main() -> None:
    """Train all, seed by seed."""
    parser = runner.Parser(__doc__, json=False)
    parser.add_argument("--json", type=Path, required=True, help="results; seeds in it are kept")
    parser.add_argument("--arch", default="conv_lstm")
    parser.add_argument("--old", type=runner.at_least(100), default=OLD)
    parser.add_argument("--new", type=runner.at_least(100), default=NEW)
    parser.add_argument("--test", type=runner.at_least(100), help="reviews (default: all)")
    parser.add_argument("--seeds", type=runner.at_least(2), default=3)
    options = parser.parse_args()
    tune_process()
    about = {name: getattr(options, name) for name in ("arch", "old", "new", "test")}
    about |= {"epochs": EPOCHS, "more_epochs": MORE_EPOCHS, "patience": PATIENCE}
    about |= {"many": MANY, "few": FEW, "label_epochs": NEW_LABEL_EPOCHS}
    with tempfile.TemporaryDirectory() as made:
        of_reviews, of_others = Path(made, "reviews"), Path(made, "generated")
        of_reviews.mkdir()
        of_others.mkdir()
        files = reviews(options.old, options.new, options.test, of_reviews)
        others = generated(of_others)

        def of_seed(seed: int) -> dict[str, Any]:
            return {
                "new_rows": new_rows(files, options.arch, seed, of_reviews / str(seed)),
                "new_labels": new_labels(others, seed, of_others / str(seed)),
            }

        runner.measure_seeds(options.json, options.seeds, of_seed, about)


if __name__ == "__main__":
    main()
