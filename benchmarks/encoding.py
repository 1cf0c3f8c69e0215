"""Time and memory from a large file of short texts to the first steps of training.

    python benchmarks/encoding.py --json FILE

The texts are generated, about 10 words each, and written as CSV. A process of its own reads and
encodes them with an empty cache, and plans and begins an epoch; another begins one from the cache
that this leaves. Beside it: the time to encode the real reviews, of $TFDS_DATA_DIR, now and a text
at a time.
"""

import csv
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import runner

WORDS = 100_000
"""Number of different words, the first of which is the most frequent."""

STEPS = 20
ROUNDS = 3
_TEXTS_AT_ONCE = 2**16


def texts(number: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Generated texts of 5 to 15 words, and their labels."""
    rng = np.random.default_rng(seed)
    words = np.array([f"word{word}" for word in range(WORDS)], object)
    for start in range(0, number, _TEXTS_AT_ONCE):
        lengths = rng.integers(5, 16, min(_TEXTS_AT_ONCE, number - start))
        # As in natural language, the frequency of a word is about one over its rank.
        chosen = words[(WORDS ** rng.random(lengths.sum())).astype(int) - 1]
        labels = rng.integers(0, 2, len(lengths)).tolist()
        for of_text, label in zip(np.split(chosen, np.cumsum(lengths)[:-1]), labels, strict=True):
            yield " ".join(of_text), ("bad", "good")[label]


def write(path: Path, number: int) -> None:
    """Write generated texts as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(texts(number))


def start(path: str) -> dict[str, float | None]:
    """Do what the command does up to the first steps: seconds, and megabytes at most."""
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)  # Another cache.
    import jax

    from flax_imdb import cli  # noqa: F401 (the command imports it)
    from flax_imdb.config import ExperimentConfig
    from flax_imdb.data import DataConfig, load_dataset
    from flax_imdb.devices import select_devices
    from flax_imdb.tuning import release_memory, tune_process

    config = ExperimentConfig(data=DataConfig(path))
    tune_process()
    devices = select_devices("cpu", config.training.batch_size)
    imported_mb = runner.peak_memory_mb()
    began = time.perf_counter()
    dataset = load_dataset(config.data)
    loaded = time.perf_counter()
    loaded_mb = runner.peak_memory_mb()
    release_memory()
    trainer = config.trainer(devices)
    state = trainer.place(config.create_state(dataset.info.task))
    planning = time.perf_counter()
    plan = trainer.batching.plan_epoch(dataset.train, seed=1, epoch=1)
    batch = trainer.batching.make(dataset.train, plan[0])
    planned = time.perf_counter()
    assert len(batch["labels"]) == config.training.batch_size
    for _, metrics in trainer.steps(state, dataset.train, plan[:STEPS]):
        jax.device_get(metrics)
    return {
        "seconds_to_load": loaded - began,
        "seconds_to_plan": planned - planning,
        "imported_mb": imported_mb,
        "loaded_mb": loaded_mb,
        "peak_mb": runner.peak_memory_mb(),
    }


def measure(number: int) -> list[dict[str, Any]]:
    """A first start and a second one, on so many texts."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "texts.csv"
        write(path, number)
        size = path.stat().st_size / 1e6
        rows = []
        for cache in ("empty", "filled"):
            row = runner.in_new_process(start, str(path), FLAX_IMDB_CACHE=f"{directory}/cache")
            rows.append({"texts": number, "file_mb": size, "cache": cache} | row)
            print(rows[-1], flush=True)
    return rows


def read_reviews() -> dict[str, float]:
    """Seconds to read the real reviews, and to encode them now, and a text at a time."""
    from flax_imdb.data import Examples, Vocabulary, encode, split_words
    from flax_imdb.data.sources import SPLITS, ArraySource, find_reviews

    source = find_reviews("imdb_reviews")
    began = time.perf_counter()
    splits = {split: source.read(split) for split in SPLITS}
    read = time.perf_counter() - began
    every = [text for of_split, _ in splits.values() for text in of_split]
    labels = np.concatenate([labels for _, labels in splits.values()])

    together = ArraySource(every, labels, source.classes)
    _ = together.fingerprint  # Hashed once, and no part of encoding.

    def at_once() -> float:
        began = time.perf_counter()
        encode(together, "unicode")
        return time.perf_counter() - began

    def one_by_one() -> float:
        began = time.perf_counter()
        words = [split_words(text) for text in every]
        vocabulary = Vocabulary.build(words)
        Examples.build([vocabulary.encode(of_text) for of_text in words], labels)
        return time.perf_counter() - began

    at_once()  # Loads what it needs.
    taken = runner.take_turns({"encode": at_once, "one_by_one": one_by_one}, ROUNDS)
    return {"read": read} | {name: statistics.median(times) for name, times in taken.items()}


def main() -> None:
    """Measure, print and write."""
    parser = runner.Parser(__doc__)
    parser.add_argument(
        "--texts",
        type=runner.names(),
        default=["1000000", "4000000", "16000000"],
        help="how many generated texts, separated by commas",
    )
    options = parser.parse_args()
    reviews = runner.in_new_process(read_reviews)
    print("reviews, seconds:", {name: round(seconds, 2) for name, seconds in reviews.items()})
    rows = [row for number in options.texts for row in measure(int(number))]
    runner.write(options.json, {"words": WORDS, "steps": STEPS, "reviews": reviews, "rows": rows})


if __name__ == "__main__":
    main()
