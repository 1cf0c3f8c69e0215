"""Texts with several of eight labels, whose words' order decides: F1 beside logistic regressions.

    python benchmarks/multi_label.py --json benchmarks/results/multi_label.json

A text says of some labels "more LABEL-a than LABEL-b", or the same the other way round: it has the
label in the first case alone. The words tell which labels a text speaks of, and their order which
it has. Some labels are wrong, so that no model can be better than the rule itself, whose scores are
reported. Beside the command, over several seeds, stands one logistic regression for each label on
tf-idf weighted word counts, trained on the same rows: with thresholds of 0.5, and with those that
are chosen in the same way on the same validation rows. docs/multi_label.md shows the results.
Takes five minutes on two cores.
"""

import dataclasses
import json
import re
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import runner
from rich.console import Console

import flax_imdb
from flax_imdb.config import ExperimentConfig
from flax_imdb.data import DataConfig, load_dataset
from flax_imdb.data.sources import find_source
from flax_imdb.models import ModelConfig
from flax_imdb.results import Result
from flax_imdb.training import TrainConfig, above, choose_thresholds
from flax_imdb.tuning import tune_process

LABELS = ("action", "comedy", "crime", "drama", "family", "music", "romance", "war")
ROWS, VALIDATION, EPOCHS = 6_000, 500, 12
SAID, WRONG = 0.4, 0.03
LEARNING_RATE = 5e-3
MODEL = ModelConfig(pooling="max")
FILLER = (
    *("story", "plot", "sound", "price", "cast", "colour", "service", "book", "place", "idea"),
    *("cover", "taste", "screen", "song", "end", "start", "room", "staff", "design", "voice"),
)

# What a text says of a label: which of its two words comes first.
_SAID = re.compile(r"more (\w+)-(a|b) than")


def generate(rows: int) -> list[dict[str, Any]]:
    """Texts and the list of the labels of each; the same for the same number of them."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(rows):
        parts, labels = [], []
        for name in rng.permutation(LABELS):
            if rng.random() >= SAID:
                continue
            first, second = ("a", "b") if rng.random() < 0.5 else ("b", "a")
            filler = rng.choice(FILLER)
            parts.append(f"the {filler} is more {name}-{first} than {name}-{second}")
            if (first == "a") == (rng.random() >= WRONG):
                labels.append(str(name))
        parts.append(f"I mean {' and '.join(rng.choice(FILLER, 4, replace=False))}")
        made.append({"text": ", ".join(parts), "labels": sorted(labels)})
    return made


def by_rule(texts: Sequence[str]) -> np.ndarray:
    """What the rule says of texts: 1 for each label that it gives them."""
    given = [{name for name, first in _SAID.findall(text) if first == "a"} for text in texts]
    return np.array([[name in names for name in LABELS] for names in given], int)


def f1(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """The scores of predicted labels."""
    from sklearn import metrics

    return {
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "micro_f1": float(metrics.f1_score(labels, predicted, average="micro")),
        "macro_f1": float(metrics.f1_score(labels, predicted, average="macro")),
    }


def beside(config: DataConfig) -> dict[str, dict[str, float]]:
    """The scores of the rule, and of logistic regressions on word counts."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline

    source, dataset = find_source(config), load_dataset(config)
    texts = {split: source.read(split)[0] for split in ("train", "test")}
    (train, train_labels), (validation, validation_labels), (test, labels) = (
        ([texts[split][i] for i in examples.ids], examples.labels.astype(int))
        for split, examples in (
            ("train", dataset.train),
            ("train", dataset.validation),
            ("test", dataset.test),
        )
    )
    model = make_pipeline(
        TfidfVectorizer(token_pattern=r"[\w-]+"),
        OneVsRestClassifier(LogisticRegression(max_iter=1000)),
    ).fit(train, train_labels)
    probabilities = model.predict_proba(test)
    chosen = choose_thresholds(model.predict_proba(validation), validation_labels)
    return {
        "rule": f1(labels, by_rule(test)),
        "word_counts": f1(labels, model.predict(test)),
        "word_counts_thresholds": f1(labels, above(probabilities, chosen).astype(int)),
    }


def train(base: ExperimentConfig, seed: int) -> dict[str, float]:
    """The scores of the command with a seed."""
    config = dataclasses.replace(base, training=dataclasses.replace(base.training, seed=seed))
    with tempfile.TemporaryDirectory() as workdir:
        result = flax_imdb.train(config, workdir, baseline=False, console=Console(quiet=True))
    assert isinstance(result, Result)
    assert result.micro_f1 is not None
    return {
        "accuracy": result.test_accuracy,
        "micro_f1": result.micro_f1,
        "macro_f1": result.macro_f1,
        "seconds": result.train_seconds,
    }


def measure(rows: int, validation: int, epochs: int, seeds: int) -> dict[str, Any]:
    """All scores on one generated file."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "labels.jsonl"
        file.write_text("".join(json.dumps(row, allow_nan=False) + "\n" for row in generate(rows)))
        data = DataConfig(dataset=str(file), multi_label=True, validation_examples=validation)
        training = TrainConfig(epochs=epochs, learning_rate=LEARNING_RATE)
        base = ExperimentConfig(MODEL, data, training)
        return {
            "rows": rows,
            "validation": validation,
            "epochs": epochs,
            "pooling": MODEL.pooling,
            "learning_rate": LEARNING_RATE,
            "labels": len(LABELS),
            "wrong": WRONG,
            **beside(data),
            "seeds": [train(base, seed) for seed in range(1, seeds + 1)],
        }


def main() -> None:
    """Measure, print and write."""
    parser = runner.Parser(__doc__)
    parser.add_argument("--rows", type=runner.at_least(100), default=ROWS)
    parser.add_argument("--validation", type=runner.at_least(10), default=VALIDATION)
    parser.add_argument("--epochs", type=runner.at_least(1), default=EPOCHS)
    parser.add_argument("--seeds", type=runner.at_least(2), default=5, help="how many, from 1 on")
    options = parser.parse_args()
    tune_process()
    results = measure(options.rows, options.validation, options.epochs, options.seeds)
    for name in ("rule", "word_counts", "word_counts_thresholds"):
        print(name, results[name])
    for row in results["seeds"]:
        print(row)
    print("micro F1", statistics.mean(row["micro_f1"] for row in results["seeds"]))
    runner.write(options.json, results)


if __name__ == "__main__":
    main()
