"""The recipes on the real reviews, over several seeds: accuracy, time and memory.

    python benchmarks/recipes.py
    python benchmarks/recipes.py --recipe strong --seeds 3 --validate
    python benchmarks/recipes.py --recipe strong --seeds 3 --without adversarial_norm,word_dropout

With `--validate` a fifth of the training reviews is held out, those of other films, and the test
split is not looked at (see held_out.py). With `--without` so, too, and the settings have their
defaults, one at a time: what each gains.
Each seed is ``train.py --recipe NAME --seed SEED`` in a process of its own. Seeds that are finished
are not trained again. The results are kept in benchmarks/results/recipes, and those on the test
split in the package, too, for `flax-imdb recipes`.
"""

import functools
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import held_out
import jax
import numpy as np
import runner

import flax_imdb
from flax_imdb.config import RECIPES, ExperimentConfig, settings
from flax_imdb.training import predict_labels

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "recipes"
PUBLISHED = ROOT / "flax_imdb" / "recipes.json"
HEADS = ("lstm", "ngrams")


def train(flags: list[object]) -> tuple[float, float]:
    """Run train.py; returns its seconds and its peak memory in MB."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, ROOT / "train.py", *map(str, flags)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(process.returncode)
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def accuracy_of_heads(workdir: Path) -> dict[str, float]:
    """What each head of a run's classifier reaches alone on the run's test split."""
    model = flax_imdb.load(workdir)
    examples = model.test_examples()
    apply = jax.jit(
        lambda state, batch: state.apply(
            {"params": state.params}, batch["tokens"], batch["lengths"], method="heads"
        )
    )
    correct: dict[str, float] = {}
    for planned in model.trainer.batching.plan_evaluation(examples):
        batch = model.trainer.batching.make(examples, planned)
        for name, logits in zip(HEADS, apply(model.state, batch).each, strict=False):
            right = (np.asarray(predict_labels(logits)) == batch["labels"]) * batch["weights"]
            correct[name] = correct.get(name, 0.0) + float(right.sum())
    return {name: count / len(examples) for name, count in correct.items()}


def measure(
    recipe: str, without: str | None, workdir: Path, reviews: list[object], seed: int
) -> dict[str, Any]:
    """Train with a seed, and measure it; with the default of one setting, if it is given."""
    run = workdir / f"seed-{seed}"
    flags: list[object] = ["--recipe", recipe, *reviews, "--seed", seed]
    if without is not None:
        flags += [f"--{without.replace('_', '-')}", settings(ExperimentConfig())[without]]
    seconds, memory = train([*flags, "--no-baseline", "--workdir", run, "--overwrite"])
    result = json.loads((run / "result.json").read_text())
    return {
        "accuracy": result["test_accuracy"],
        # In a process of its own, since a process is said to need what its parent has needed.
        "heads": runner.in_new_process(accuracy_of_heads, run),
        "seconds": seconds,
        "train_seconds": result["train_seconds"],
        "peak_memory_mb": memory,
    }


def publish() -> None:
    """Copy the results on the test split to where `flax-imdb recipes` reads them."""
    results = {name: RESULTS / f"{name}.json" for name in RECIPES}
    found = {name: json.loads(path.read_text()) for name, path in results.items() if path.exists()}
    PUBLISHED.write_text(json.dumps(found, indent=2, allow_nan=False) + "\n")


def main() -> None:
    """Train what is asked for and is not finished."""
    parser = runner.Parser(__doc__, json=False)
    parser.add_argument("--recipe", type=runner.names(*RECIPES), default=",".join(RECIPES))
    parser.add_argument("--seeds", type=runner.at_least(1), default=5, help="how many, from 1 on")
    parser.add_argument(
        "--validate", action="store_true", help="on training reviews of other films"
    )
    settings_of_recipes = {name for recipe in RECIPES.values() for name in recipe.settings}
    parser.add_argument("--without", type=runner.names(*sorted(settings_of_recipes)), default="")
    parser.add_argument("--workdir", type=Path, default=ROOT / "runs" / "recipes")
    options = parser.parse_args()
    options.validate |= bool(options.without)
    reviews: list[object] = ["--dataset", "imdb_reviews"]
    if options.validate:
        train_file, other_films = held_out.write_split(options.workdir / "validation")
        reviews = ["--dataset", train_file, "--test-dataset", other_films]
    for recipe, without in itertools.product(options.recipe, options.without or [None]):
        name = recipe + (f"-without-{without}" if without else "")
        path = RESULTS / ("validation" if options.validate else "") / f"{name}.json"
        workdir = options.workdir / path.relative_to(RESULTS).with_suffix("")
        of_recipe = RECIPES[recipe].settings
        of_run = {name: value for name, value in of_recipe.items() if name != without}
        runner.measure_seeds(
            path,
            options.seeds,
            functools.partial(measure, recipe, without, workdir, reviews),
            {"recipe": recipe, "settings": of_run},
        )
    publish()


if __name__ == "__main__":
    main()
