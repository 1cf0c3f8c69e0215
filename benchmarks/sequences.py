"""Numeric sequences: a generated task and real ones, beside simple baselines of the field.

    pip download sktime --no-deps -d DIR
    python benchmarks/sequences.py --sktime DIR/sktime-VERSION.whl --json FILE

In the generated task two features have pulses in noise, from 2 to 8 in all, and the class is the
feature of the first one. The real tasks are those that the wheel of sktime holds, which is read and
not installed. Of a few settings the one is taken that is best in a cross-validation within the
training split. The model is then trained on all of it with each of several seeds, and tested. The
baselines are one nearest neighbour, by Euclidean distance and by dynamic time warping, and ridge
regression on statistics of each feature. docs/sequences.md shows the results. Takes about eight
minutes on two cores.
"""

import dataclasses
import statistics
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import runner
from sklearn.linear_model import RidgeClassifierCV
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from flax_imdb import LSTMClassifier
from flax_imdb.data import Standardizer
from flax_imdb.tuning import tune_process

REAL = ("ArrowHead", "BasicMotions", "GunPoint", "ItalyPowerDemand", "JapaneseVowels")
GENERATED = "the first pulse"
ROWS = 400
STEPS = 400  # of training
FOLDS = 3

# What is chosen from, by the training split alone.
SETTINGS: dict[str, dict[str, Any]] = {
    "lstm": {"arch": "lstm"},
    "bilstm, pooled": {"arch": "bilstm", "pooling": "max_mean"},
    "conv_lstm, pooled": {"arch": "conv_lstm", "pooling": "max_mean"},
    "conv_lstm, pooled, head dropout 0.5": {
        **{"arch": "conv_lstm", "pooling": "max_mean"},
        **{"head_dropout": 0.5, "word_dropout": 0.1},
    },
}


class Split(NamedTuple):
    """Sequences, arrays [time, features], and the label of each."""

    sequences: list[np.ndarray]
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Task:
    """A task: what is trained on, and what is tested on."""

    name: str
    train: Split
    test: Split


def generate(rows: int, seed: int) -> Split:
    """Noise with 2 to 8 pulses in two features; the label is the feature of the first one."""
    rng = np.random.default_rng(seed)
    sequences, labels = [], []
    for _ in range(rows):
        steps = int(rng.integers(40, 80))
        sequence = rng.normal(0, 0.3, (steps, 2))
        times = np.sort(rng.choice(np.arange(0, steps - 3, 4), rng.integers(2, 9), replace=False))
        features = rng.integers(0, 2, len(times))
        for start, feature in zip(times, features, strict=True):
            sequence[start : start + 3, feature] += 2
        sequences.append(sequence)
        labels.append("ab"[features[0]])
    return Split(sequences, np.array(labels))


def read_ts(text: str) -> Split:
    """A file of the UEA and UCR archive, whose lines are ``1,2:3,4:LABEL``: steps of features."""
    _, _, rows = text.partition("@data\n")
    sequences, labels = [], []
    for row in rows.splitlines():
        *features, label = row.split(":")
        sequences.append(np.array([feature.split(",") for feature in features], float).T)
        labels.append(label)
    return Split(sequences, np.array(labels))


def read_real(wheel: Path, name: str) -> Task:
    """A task that sktime's wheel holds."""
    with zipfile.ZipFile(wheel) as archive:
        train, test = (
            read_ts(archive.read(f"sktime/datasets/data/{name}/{name}_{split}.ts").decode())
            for split in ("TRAIN", "TEST")
        )
    return Task(name, train, test)


def statistics_of(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """Of each feature its mean, deviation, extremes, ends, and mean absolute change."""
    return np.array(
        [
            np.concatenate(
                [
                    *(each.mean(0), each.std(0), each.min(0), each.max(0), each[0], each[-1]),
                    np.abs(np.diff(each, axis=0)).mean(0),
                ]
            )
            for each in sequences
        ]
    )


def ridge(train: Split, test: Split) -> np.ndarray:
    """The labels by ridge regression on `statistics_of` the sequences."""
    model = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(-3, 3, 13)))
    model.fit(statistics_of(train.sequences), train.labels)
    predicted: np.ndarray = model.predict(statistics_of(test.sequences))
    return predicted


def euclidean(train: Split, test: Split) -> np.ndarray | None:
    """The labels of the nearest sequences; None if lengths differ."""
    if len({len(each) for each in (*train.sequences, *test.sequences)}) > 1:
        return None
    ours, theirs = (
        np.stack(sequences).reshape(len(sequences), -1) for sequences in _standardized(train, test)
    )
    squares = (theirs**2).sum(1)[:, None] + (ours**2).sum(1) - 2 * theirs @ ours.T
    return train.labels[np.argmin(squares, axis=1)]


def warped(train: Split, test: Split) -> np.ndarray:
    """The labels of the nearest sequences by dynamic time warping, of any width."""
    ours, theirs = _standardized(train, test)
    return train.labels[np.argmin(dtw(theirs, ours), axis=1)]


def dtw(some: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """The squared distance of each pair by dynamic time warping: [some, others]."""
    first, second = _padded(some), _padded(others)
    ends = np.array([len(each) for each in others])
    distances = np.empty((len(some), len(others)))
    above = np.full((len(some), len(others), second.shape[1] + 1), np.inf)
    above[:, :, 0] = 0  # Before the first step of both.
    for step in range(first.shape[1]):
        row = np.full_like(above, np.inf)
        for other in range(second.shape[1]):
            cost = ((first[:, None, step] - second[None, :, other]) ** 2).sum(-1)
            best = np.minimum(above[:, :, other], above[:, :, other + 1])
            row[:, :, other + 1] = cost + np.minimum(best, row[:, :, other])
        above = row
        for number in np.flatnonzero([len(each) == step + 1 for each in some]):
            distances[number] = above[number, np.arange(len(others)), ends]
    return distances


def _padded(sequences: Sequence[np.ndarray]) -> np.ndarray:
    padded = np.zeros((len(sequences), max(map(len, sequences)), sequences[0].shape[1]))
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded


def _standardized(train: Split, test: Split) -> tuple[list[np.ndarray], list[np.ndarray]]:
    standardize = Standardizer.fit(np.concatenate(train.sequences))
    return [*map(standardize, train.sequences)], [*map(standardize, test.sequences)]


BASELINES: dict[str, Callable[[Split, Split], np.ndarray | None]] = {
    "euclidean": euclidean,
    "dtw": warped,
    "ridge": ridge,
}


def classifier(train: Split, steps: int, **settings: Any) -> LSTMClassifier:
    """The classifier for a task of this size."""
    return LSTMClassifier(
        features=64,
        batch_size=16,
        epochs=max(1, steps * 16 // len(train.labels)),
        learning_rate=3e-3,
        schedule="cosine",
        averaging=None,
        max_length=max(map(len, train.sequences)),
        **settings,
    )


def choose(train: Split, steps: int) -> dict[str, float]:
    """The accuracy of each of `SETTINGS`, in a cross-validation within the training split."""
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return {
        name: statistics.mean(
            cross_val_score(classifier(train, steps, **settings), *train, cv=folds).tolist()
        )
        for name, settings in SETTINGS.items()
    }


def measure(task: Task, seeds: int, steps: int) -> dict[str, Any]:
    """The accuracies of the classifier and of the baselines."""
    start = time.perf_counter()
    validated = choose(task.train, steps)
    chosen = max(validated, key=lambda name: validated[name])
    accuracies = []
    for seed in range(1, seeds + 1):
        model = classifier(task.train, steps, **SETTINGS[chosen], random_state=seed)
        accuracies.append(float(model.fit(*task.train).score(*task.test)))
    seconds = time.perf_counter() - start
    predicted = {name: answer(task.train, task.test) for name, answer in BASELINES.items()}
    lengths = [len(each) for each in (*task.train.sequences, *task.test.sequences)]
    return {
        "task": task.name,
        "train": len(task.train.labels),
        "test": len(task.test.labels),
        "classes": len(set(task.train.labels)),
        "features": task.train.sequences[0].shape[1],
        "shortest": min(lengths),
        "longest": max(lengths),
        "validated": validated,
        "chosen": chosen,
        "accuracies": accuracies,
        "seconds": seconds,
        "baselines": {
            name: None if labels is None else float(np.mean(labels == task.test.labels))
            for name, labels in predicted.items()
        },
    }


def main() -> None:
    """Measure all tasks."""
    parser = runner.Parser(__doc__)
    parser.add_argument("--sktime", type=Path, help="its wheel (default: the generated task alone)")
    names = (GENERATED, *REAL)
    parser.add_argument("--only", type=runner.names(*names), default=list(names))
    parser.add_argument("--seeds", type=runner.at_least(2), default=5)
    parser.add_argument("--steps", type=runner.at_least(1), default=STEPS)
    options = parser.parse_args()
    tune_process()
    tasks = [Task(GENERATED, generate(ROWS, 1), generate(ROWS, 2))]
    tasks += [read_real(options.sktime, name) for name in REAL if options.sktime]
    rows = []
    for task in (task for task in tasks if task.name in options.only):
        rows.append(measure(task, options.seeds, options.steps))
        print(*rows[-1].values(), sep="  ", flush=True)
        runner.write(options.json, {"steps": options.steps, "folds": FOLDS, "rows": rows})


if __name__ == "__main__":
    main()
