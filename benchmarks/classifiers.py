"""Other classifiers on the real reviews: accuracy, time and memory.

    python benchmarks/classifiers.py
    KERAS_BACKEND=tensorflow python benchmarks/classifiers.py --only keras_example --seeds 3

They are `peers.word_counts`, which needs nothing more, `peers.fasttext`, which needs floret, and
`peers.keras_example`, which needs the extra `peers`. Each fit is in a process of its own. Seeds
that are finished are not fitted again. The results are kept in benchmarks/results/classifiers;
docs/results.md shows them beside the recipes.
"""

import importlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import runner

from flax_imdb.data import DataConfig
from flax_imdb.data.sources import find_source

RESULTS = Path(__file__).parent / "results" / "classifiers"
CLASSIFIERS = ("word_counts", "fasttext", "keras_example")


def measure(name: str, seed: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Fit with a seed and predict the test reviews; the row of results, and the versions."""
    start = time.perf_counter()
    source = find_source(DataConfig(dataset="imdb_reviews"))
    classifier = importlib.import_module(f"peers.{name}")
    model = classifier.fit(*source.read("train"), seed)
    texts, labels = source.read("test")
    accuracy = float(np.mean(model.predict(texts) == labels))
    row = {
        "seed": seed,
        "accuracy": accuracy,
        "seconds": time.perf_counter() - start,
        "peak_memory_mb": runner.peak_memory_mb(),
    }
    return row, classifier.VERSIONS


def main() -> None:
    """Measure what is asked for and is not finished."""
    parser = runner.Parser(__doc__, json=False)
    parser.add_argument("--only", type=runner.names(*CLASSIFIERS), default="word_counts,fasttext")
    parser.add_argument("--seeds", type=runner.at_least(1), default=5, help="how many, from 1 on")
    options = parser.parse_args()
    for name in options.only:
        path = RESULTS / f"{name}.json"
        rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []
        for seed in range(len(rows) + 1, options.seeds + 1):
            row, versions = runner.in_new_process(measure, name, seed)
            rows.append(row)
            print(name, row)
            versions = runner.machine()["versions"] | versions
            runner.write(path, {"classifier": name, "versions": versions, "rows": rows})


if __name__ == "__main__":
    main()
