"""What is read of long reviews: their tails, their heads, or windows of them.

    python benchmarks/long_texts.py --json benchmarks/results/long_texts.json

Trains the default classifier on 20,000 reviews with each setting of `--long`, and looks at the
other 5,000 after each epoch. The best epoch is evaluated on both the validation and the test
reviews, over all of them and over those of more than `--max-length` tokens. The settings take turns
seed by seed, since their times are compared. Before that, steps on texts of one window and of eight
are measured, each in a process of its own. docs/long_texts.md shows the results. Takes about twenty
minutes on two cores.
"""

import dataclasses
import statistics
from collections.abc import Mapping
from time import perf_counter as clock
from typing import Any, get_args

import jax
import numpy as np
import runner
from peers import ARCHITECTURES

from flax_imdb.config import ExperimentConfig
from flax_imdb.config import recipe as config_of
from flax_imdb.data import DataConfig, Dataset, Examples, Planned, load_dataset
from flax_imdb.data.config import MAX_WINDOWS, Long
from flax_imdb.data.tokenizer import UNKNOWN
from flax_imdb.devices import select_devices
from flax_imdb.models import ModelConfig
from flax_imdb.training import History, TrainConfig
from flax_imdb.tuning import tune_process

VALIDATION_EXAMPLES = 5_000
STEPS = 6


def cost(recipe: str | None, windows: int, remat_steps: int | None) -> dict[str, Any]:
    """The time of a training step on texts of so many windows, and the memory of the process."""
    tune_process()
    config = ExperimentConfig() if recipe is None else config_of(recipe)
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, remat_steps=remat_steps),
        data=dataclasses.replace(config.data, long="windows"),
    )
    trainer = config.trainer(select_devices("auto", config.training.batch_size))
    data, rng = config.data, np.random.default_rng(0)
    assert data.stride is not None
    rows, time = config.training.batch_size, data.max_length + (windows - 1) * data.stride
    texts = rng.integers(UNKNOWN, data.vocab_size, (rows, time), dtype=np.int32)
    examples = Examples.build([*texts], rng.integers(0, 2, rows))
    plan = [Planned(np.arange(rows), time)] * STEPS
    step_ms = []
    state, start = trainer.place(config.create_state()), clock()
    for _, metrics in trainer.steps(state, examples, plan):
        jax.block_until_ready(metrics)
        step_ms.append(1e3 * (clock() - start))
        start = clock()
    return {
        "recipe": recipe,
        "windows": windows,
        "remat_steps": remat_steps,
        "step_ms_median": statistics.median(step_ms[1:]),  # The first was compiled.
        "peak_memory_mb": runner.peak_memory_mb(),
    }


def accuracies(predicted: np.ndarray, examples: Examples, is_long: np.ndarray) -> dict[str, Any]:
    """The accuracy over all examples, and over the long ones; None if there are none."""
    right = predicted == examples.labels
    of_long = float(right[is_long].mean()) if is_long.any() else None
    return {"all": float(right.mean()), "long": of_long}


def measure(
    config: ExperimentConfig, dataset: Dataset, is_long: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Train, and evaluate the epoch that is best on the validation reviews."""
    trainer = config.trainer(select_devices("auto", config.training.batch_size))
    history = History()
    found: dict[str, Any] = {}
    state = trainer.place(config.create_state(dataset.info.task))
    for reached, validated in trainer.train_epochs(state, dataset, history, config.training):
        if history.best() is history.epochs[-1]:
            assert validated is not None
            found = {
                "validation": accuracies(
                    validated.predicted, dataset.validation, is_long["validation"]
                ),
                "test": accuracies(
                    trainer.evaluate(reached, dataset.test).predicted,
                    dataset.test,
                    is_long["test"],
                ),
            }
    seconds = [epoch.seconds - epoch.compile_seconds for epoch in history.epochs]
    return {**found, "epoch_seconds": statistics.median(seconds)}


def long_ones(data: DataConfig) -> dict[str, np.ndarray]:
    """Which validation and test reviews have more than `max_length` tokens."""
    whole = load_dataset(dataclasses.replace(data, max_length=10**6))
    return {
        split: getattr(whole, split).lengths > data.max_length for split in ("validation", "test")
    }


def main() -> None:
    """Train with each length, seed and setting."""
    parser = runner.Parser(__doc__)
    add = parser.add_argument
    add("--arch", choices=ARCHITECTURES, default="lstm")
    add("--max-length", type=runner.names(), default="500,250")
    add("--train-examples", type=runner.at_least(1), help="fewer, for a quick try")
    add("--epochs", type=runner.at_least(1), default=TrainConfig.epochs)
    add("--seeds", type=runner.at_least(1), default=3, help="how many, from 1 on")
    options = parser.parse_args()
    tune_process()
    data = DataConfig(
        dataset="imdb_reviews",
        train_examples=options.train_examples,
        validation_examples=VALIDATION_EXAMPLES,
    )
    costs = [
        runner.in_new_process(cost, recipe, *how)
        for recipe in (None, "strong")
        for how in ((1, None), (MAX_WINDOWS, None), (MAX_WINDOWS, 50))
    ]
    rows: list[dict[str, Any]] = []
    for max_length in map(int, options.max_length):
        settings = {
            long: dataclasses.replace(data, max_length=max_length, long=long)
            for long in get_args(Long)
        }
        datasets = {long: load_dataset(of_long) for long, of_long in settings.items()}
        is_long = long_ones(settings["tail"])
        numbers = {split: int(of_split.sum()) for split, of_split in is_long.items()}
        for seed in range(1, options.seeds + 1):
            training = TrainConfig(epochs=options.epochs, seed=seed)
            for long, dataset in datasets.items():
                config = ExperimentConfig(ModelConfig(options.arch), settings[long], training)
                row = {"max_length": max_length, "long": long, "seed": seed, "long_texts": numbers}
                rows.append(row | measure(config, dataset, is_long))
                print(rows[-1], flush=True)
                about = {"arch": options.arch, "train_examples": len(dataset.train)}
                runner.write(options.json, {**about, "costs": costs, "rows": rows})


if __name__ == "__main__":
    main()
