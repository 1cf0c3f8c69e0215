"""Prediction: how long one text takes, how soon the command answers, and what many lines need.

    python benchmarks/prediction.py --arch lstm,bilstm,conv_lstm --json FILE

The models have the default sizes and are trained on a few synthetic reviews, since the time does
not depend on what they have learned.
"""

import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import runner
from peers import ARCHITECTURES

LENGTHS = (1, 10, 100, 250, 500)  # words
LINES = (100_000, 1_000_000)


def train(model: str, workdir: str) -> None:
    """Train an architecture of the default size, or a recipe, on a few synthetic reviews."""
    from flax_imdb.config import RECIPES, ExperimentConfig, recipe
    from flax_imdb.experiment import train
    from flax_imdb.models import ModelConfig

    config = recipe(model) if model in RECIPES else ExperimentConfig(ModelConfig(model))
    config = dataclasses.replace(
        config,
        data=dataclasses.replace(
            config.data, dataset="synthetic", train_examples=128, test_examples=64
        ),
        training=dataclasses.replace(config.training, epochs=1),
    )
    train(config, workdir, baseline=False)


def latency(workdir: str, lengths: Sequence[int], repeats: int) -> list[dict[str, float]]:
    """Median and 99th percentile of the milliseconds that one text of each length takes, warm."""
    from flax_imdb.predict import load
    from flax_imdb.tuning import tune_process

    tune_process()
    model = load(workdir)
    model.compile(rows=1)
    rng = np.random.default_rng(0)
    rows = []
    for length in lengths:
        milliseconds = []
        for _ in range(repeats):
            text = " ".join(rng.choice(model.vocabulary.words, length))
            start = time.perf_counter()
            model.predict([text])
            milliseconds.append(1e3 * (time.perf_counter() - start))
        median, high = np.percentile(milliseconds, [50, 99])
        rows.append({"words": length, "ms_median": float(median), "ms_p99": float(high)})
    return rows


def start(workdir: str, times: int) -> dict[str, float]:
    """Seconds from the start of the command to its end, for one text, and those of its CPUs.

    The first time its programs are compiled, and kept. The others are medians.
    """
    command = [sys.executable, "-m", "flax_imdb", "predict", "--workdir", workdir, "a good film"]
    wall, cpus = [], []
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "FLAX_IMDB_CACHE": cache}
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        for _ in range(times + 1):
            before, began = os.times(), time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
            wall.append(time.perf_counter() - began)
            after = os.times()
            user = after.children_user - before.children_user
            cpus.append(user + after.children_system - before.children_system)
    return {
        "seconds": statistics.median(wall[1:]),
        "cpu_seconds": statistics.median(cpus[1:]),
        "first_seconds": wall[0],
    }


def predict_lines(workdir: str, lines: int) -> dict[str, float]:
    """Seconds and peak memory of predicting a CSV file of so many short lines."""
    from flax_imdb import cli
    from flax_imdb.workdir import Workdir

    info = Workdir(workdir).dataset_info()
    assert info is not None
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "lines.csv")
        with file.open("w") as out:
            out.write("id,text\n")
            for number in range(lines):
                words = rng.choice(info.vocabulary.words, rng.integers(3, 13))
                out.write(f"{number},{' '.join(words)}\n")
        start = time.perf_counter()
        output = ["--output", f"{folder}/answers.csv"]
        status = cli.main(["predict", "--workdir", workdir, "--input", str(file), *output])
        assert status == 0
        seconds = time.perf_counter() - start
    return {"lines": lines, "seconds": seconds, "peak_memory_mb": runner.peak_memory_mb() or 0.0}


def measure(arch: str, repeats: int, starts: int) -> dict[str, Any]:
    """The figures of an architecture."""
    with tempfile.TemporaryDirectory() as folder:
        workdir = f"{folder}/run"
        runner.in_new_process(train, arch, workdir)
        return {
            "arch": arch,
            "latency": runner.in_new_process(latency, workdir, LENGTHS, repeats),
            "start": start(workdir, starts),
            "lines": [runner.in_new_process(predict_lines, workdir, lines) for lines in LINES],
        }


def main() -> None:
    """Measure, print and write."""
    parser = runner.Parser(__doc__)
    parser.add_argument("--arch", type=runner.names(*ARCHITECTURES), default="lstm")
    parser.add_argument("--repeats", type=runner.at_least(10), default=300)
    parser.add_argument("--starts", type=runner.at_least(1), default=7)
    options = parser.parse_args()
    rows = []
    for arch in options.arch:
        rows.append(measure(arch, options.repeats, options.starts))
        print(rows[-1], flush=True)
    runner.write(options.json, {"repeats": options.repeats, "rows": rows})


if __name__ == "__main__":
    main()
