"""Whether prediction sets have the true class as often as was asked for, and what abstaining gives.

    python benchmarks/abstaining.py --json benchmarks/results/abstain.json

Over several seeds an LSTM is trained on some of the training reviews and calibrated with others.
The coverage of its sets is measured on training reviews that neither were trained on nor chose
anything, which are exchangeable with those of the calibration; on the test reviews, which are of
other films; and on the project's synthetic reviews, which are of nothing that it knows. From the
reviews of the first kind other ones are drawn to calibrate with, many times: what is promised is
the mean over such draws. Texts of unknown words alone must have all classes in their sets.

Beside it stands `flax_imdb.LSTMClassifier` on generated texts of six classes, whose words tell the
class with some probability. docs/abstain.md shows the results. Takes fifteen minutes on two cores.
"""

import dataclasses
import statistics
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import runner
from rich.console import Console

import flax_imdb
from flax_imdb.config import ExperimentConfig
from flax_imdb.data import DataConfig, Examples, load_dataset
from flax_imdb.data.sources import find_source
from flax_imdb.models import ModelConfig
from flax_imdb.predict import TrainedModel, read_texts
from flax_imdb.scores import score_sets
from flax_imdb.training import TrainConfig, least_probability, prediction_sets
from flax_imdb.training.metrics import of_each_class
from flax_imdb.tuning import tune_process

COVERAGES = (0.8, 0.9, 0.95, 0.99)
TRAIN, CALIBRATION, EPOCHS, SYNTHETIC = 15_000, 2_000, 3, 5_000
DRAWS, UNKNOWN = 1_000, 500

CLASSES = ("comedy", "crime", "drama", "horror", "romance", "war")
ROWS, ROWS_TO_TEST, CALIBRATION_FRACTION = 6_000, 5_000, 0.2
WORDS, OWN, OTHER = 14, 0.25, 0.12
FILLER = ("story", "plot", "sound", "cast", "place", "idea", "screen", "song", "end", "voice")


def scores(model: TrainedModel, examples: Examples, probabilities: np.ndarray) -> dict[str, Any]:
    """The accuracy on some examples, and the scores of the sets for each coverage.

    Args:
      model: the model.
      examples: the examples.
      probabilities: of their classes.
    """
    unknown, labels = examples.are_unknown(), examples.labels
    leasts = {each: model.least_probability(each) for each in COVERAGES}
    return {
        "texts": len(examples),
        "unknown": int(unknown.sum()),
        "accuracy": float(np.mean(np.argmax(probabilities, 1) == labels)),
        "sets": [
            dataclasses.asdict(
                score_sets(prediction_sets(probabilities, least, unknown), labels, coverage)
            )
            for coverage, least in leasts.items()
        ],
    }


def redrawn(probabilities: np.ndarray, labels: np.ndarray, rows: int, draws: int) -> list[Any]:
    """Mean and deviation of the coverage over draws of the rows to calibrate with."""
    rng = np.random.default_rng(0)
    found: dict[float, list[float]] = {coverage: [] for coverage in COVERAGES}
    own = probabilities[np.arange(len(labels)), labels]
    for _ in range(draws):
        order = rng.permutation(len(labels))
        drawn, others = order[:rows], order[rows:]
        ascending = np.sort(own[drawn]).tolist()
        for coverage in COVERAGES:
            least = least_probability(ascending, coverage)
            found[coverage].append(float(np.mean(own[others] >= least)))
    return [
        {"stated": stated, "mean": statistics.mean(each), "std": statistics.stdev(each)}
        for stated, each in found.items()
    ]


def synthetic_reviews(model: TrainedModel, reviews: int) -> Examples:
    """The first synthetic test reviews, as a model reads them."""
    source, data = find_source(DataConfig(dataset="synthetic")), model.config.data
    assert source.classes == model.info.classes
    texts, labels = source.read("test")
    words = read_texts(texts[:reviews], model.vocabulary.rules)
    examples = Examples.build([*map(model.vocabulary.encode, words)], labels[:reviews])
    return examples.limited(data.vocab_size, data.longest, data.end)


def unknown_texts(model: TrainedModel, texts: int) -> list[str]:
    """Texts without a single word that the model knows, from one to as many as it reads."""
    rng = np.random.default_rng(0)
    known = set(model.vocabulary.words)
    letters = np.array(list("bcdfghjklmnpqrstvwxz"))
    made = ("".join(word) for word in rng.choice(letters, (texts, 9)))
    words = [word for word in made if word not in known]
    longest = model.config.data.longest
    return [
        " ".join(rng.choice(words, length)) for length in rng.geometric(1 / 60, texts) % longest + 1
    ]


def measure_reviews(
    seed: int, train: int = TRAIN, calibration: int = CALIBRATION, epochs: int = EPOCHS, **data: Any
) -> dict[str, Any]:
    """What a seed gives on the reviews; `data` are settings of `DataConfig`."""
    of_run = DataConfig(
        **{"dataset": "imdb_reviews", **data},
        train_examples=train,
        calibration_examples=calibration,
        test_examples=min(1_000, train),  # All are tested on once, below.
    )
    config = ExperimentConfig(ModelConfig("lstm"), of_run, TrainConfig(epochs=epochs, seed=seed))
    with tempfile.TemporaryDirectory() as workdir:
        flax_imdb.train(config, workdir, baseline=False, console=Console(quiet=True))
        model = flax_imdb.load(workdir)
    whole = load_dataset(
        dataclasses.replace(of_run, train_examples=None, test_examples=None, calibration_examples=0)
    )
    split = load_dataset(of_run)
    used = np.concatenate([split.train.ids, split.calibration.ids])
    unused = whole.train.take(np.setdiff1d(np.arange(len(whole.train)), used))
    synthetic = synthetic_reviews(model, SYNTHETIC)
    pool = whole.train.take(np.union1d(unused.ids, split.calibration.ids))
    predicted = model.predict(unknown_texts(model, UNKNOWN), abstain=COVERAGES[0])
    predict = model.trainer.predictor(model.state)
    found: dict[str, Any] = {}
    for name, examples in (
        ("training_reviews", unused),
        ("test_reviews", whole.test),
        ("synthetic_reviews", synthetic),
    ):
        found[name] = scores(model, examples, of_each_class(predict(examples)))
    of_pool = of_each_class(predict(pool))
    return {
        **found,
        "redrawn": redrawn(of_pool, pool.labels, calibration, DRAWS),
        "unknown": {
            "texts": len(predicted),
            "abstained": sum(each.label is None for each in predicted),
            "whole_sets": sum(each.prediction_set == model.info.classes for each in predicted),
        },
    }


def generate(rows: int, seed: int) -> tuple[list[str], list[str]]:
    """Texts and their classes. Of a text's words some are of its class and some of another one."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES, rows)
    texts = []
    for label in labels:
        other = rng.choice([name for name in CLASSES if name != label])
        kinds = rng.choice(3, WORDS, p=[OWN, OTHER, 1 - OWN - OTHER])
        numbers = rng.integers(0, 10, WORDS)
        words = [
            FILLER[number] if kind == 2 else f"{(label, other)[kind]}{number}"
            for kind, number in zip(kinds, numbers, strict=True)
        ]
        texts.append(" ".join(words))
    return texts, labels.tolist()


def measure_classes(
    seed: int, rows: int = ROWS, tests: int = ROWS_TO_TEST, epochs: int = 8
) -> dict[str, Any]:
    """What a seed of the estimator gives on generated texts of six classes."""
    texts, labels = generate(rows, seed)
    classifier = flax_imdb.LSTMClassifier(
        features=32,
        pooling="max",
        epochs=epochs,
        learning_rate=5e-3,
        random_state=seed,
        calibration_fraction=CALIBRATION_FRACTION,
    ).fit(texts, labels)
    texts, labels = generate(tests, 1_000 + seed)
    numbers = np.searchsorted(classifier.classes_, labels)
    return {
        "texts": tests,
        "accuracy": float(classifier.score(texts, labels)),
        "sets": [
            dataclasses.asdict(score_sets(classifier.predict_set(texts, each), numbers, each))
            for each in COVERAGES
        ],
    }


def measure(seeds: Sequence[int]) -> dict[str, Any]:
    """All figures."""
    found: dict[str, Any] = {
        "coverages": COVERAGES,
        "train": TRAIN,
        "calibration": CALIBRATION,
        "epochs": EPOCHS,
        "draws": DRAWS,
        "rows": ROWS,
        "classes": len(CLASSES),
        "calibration_of_classes": round(CALIBRATION_FRACTION * ROWS),
        "reviews": [],
        "generated": [],
    }
    for seed in seeds:
        for name, of in (("generated", measure_classes), ("reviews", measure_reviews)):
            found[name].append({"seed": seed, **of(seed)})
            print(name, found[name][-1], flush=True)
    return found


def main() -> None:
    """Measure, print and write."""
    parser = runner.Parser(__doc__)
    parser.add_argument("--seeds", type=runner.at_least(2), default=5, help="how many, from 1 on")
    options = parser.parse_args()
    tune_process()
    runner.write(options.json, measure(range(1, options.seeds + 1)))


if __name__ == "__main__":
    main()
