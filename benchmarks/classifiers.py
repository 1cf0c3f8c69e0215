"""Other classifiers on the real reviews: accuracy, time and memory.

    python benchmarks/classifiers.py
    KERAS_BACKEND=tensorflow python benchmarks/classifiers.py --only keras_example --seeds 3

They are `peers.word_counts`, which needs nothing more, `peers.fasttext`, which needs floret, and
`peers.keras_example`, which needs the extra `peers`. Each fit is in a process of its own. Seeds
that are finished are not fitted again. The results are kept in benchmarks/results/classifiers;
docs/results.md shows them beside the recipes.
"""

import functools
import importlib
import importlib.metadata
import time
from pathlib import Path
from typing import Any

import numpy as np
import runner

from flax_imdb.data import DataConfig
from flax_imdb.data.sources import find_source

RESULTS = Path(__file__).parent / "results" / "classifiers"
CLASSIFIERS = {"word_counts": "scikit-learn", "fasttext": "floret", "keras_example": "keras"}
"""Of each, the package that computes it."""


def measure(name: str, seed: int) -> dict[str, Any]:
    """Fit with a seed and predict the test reviews; the row of results."""
    start = time.perf_counter()
    source = find_source(DataConfig(dataset="imdb_reviews"))
    classifier = importlib.import_module(f"peers.{name}")
    model = classifier.fit(*source.read("train"), seed)
    texts, labels = source.read("test")
    accuracy = float(np.mean(model.predict(texts) == labels))
    return {
        "accuracy": accuracy,
        "seconds": time.perf_counter() - start,
        "peak_memory_mb": runner.peak_memory_mb(),
    }


def main() -> None:
    """Measure what is asked for and is not finished."""
    parser = runner.Parser(__doc__, json=False)
    parser.add_argument("--only", type=runner.names(*CLASSIFIERS), default="word_counts,fasttext")
    parser.add_argument("--seeds", type=runner.at_least(1), default=5, help="how many, from 1 on")
    options = parser.parse_args()
    for name in options.only:
        path = RESULTS / f"{name}.json"
        package = CLASSIFIERS[name]
        versions = runner.machine()["versions"] | {package: importlib.metadata.version(package)}
        runner.measure_seeds(
            path,
            options.seeds,
            functools.partial(runner.in_new_process, measure, name),
            {"classifier": name, "versions": versions},
        )


if __name__ == "__main__":
    main()
