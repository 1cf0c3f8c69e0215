"""Word vectors: how fast a large file is read, and what they gain where few texts have a label.

    python benchmarks/pretrained_vectors.py --part reading --json FILE
    python benchmarks/pretrained_vectors.py --part accuracy --json FILE

`reading` writes a file of a million random vectors of 300 numbers, and reads it in a process of its
own for a vocabulary of 30,000 words. It takes 3 GB in the directory of temporary files.

`accuracy` makes vectors of the texts of IMDB's 25,000 training reviews without their labels: the
truncated singular value decomposition of how often words stand near each other. Then it trains the
default model on a few reviews with their labels, its embedding of the same width each time: begun
at random, with these vectors, or with them and frozen. 500 other training reviews choose the epoch.
It takes about half an hour on two cores. docs/word_vectors.md shows the figures.
"""

import dataclasses
import itertools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import runner
from rich.console import Console

import flax_imdb
from flax_imdb.data import Dataset, Examples, Vocabulary, load_dataset, read_word_vectors
from flax_imdb.data.tokenizer import SPECIAL_TOKENS
from flax_imdb.tuning import tune_process

# Of the large file.
LINES, WIDTH, KNOWN = 1_000_000, 300, 30_000

# Of those that are made here.
OWN_WIDTH, WINDOW, SMOOTHING = 100, 5, 0.75

VALIDATION_EXAMPLES = 500

# Steps enough for an LSTM to learn from so few texts.
EPOCHS = {500: 60, 2_000: 20}

BEGINNINGS: dict[str, dict[str, Any]] = {
    "random": {"embeddings": None},
    "vectors": {},
    "frozen": {"freeze_embeddings": True},
}


def write_large(path: Path, lines: int, width: int) -> None:
    """Write a file in GloVe's form; every third word is capitalized, and vectors come again."""
    rng = np.random.default_rng(0)
    numbers = [" ".join(f"{x:.5f}" for x in rng.normal(size=width)) for _ in range(997)]
    with path.open("w") as file:
        for i in range(lines):
            file.write(f"{'W' if i % 3 == 0 else 'w'}ord{i} {numbers[i % len(numbers)]}\n")


def read_large(path: str, lines: int, known: int) -> dict[str, Any]:
    """Seconds and peak memory of reading, for words from all of the file."""
    apart = lines // known
    vocabulary = Vocabulary(f"word{i}" for i in range(0, known * apart, apart))
    before = runner.peak_memory_mb()
    start = time.perf_counter()
    vectors = read_word_vectors(path, vocabulary)
    return {
        "seconds": time.perf_counter() - start,
        "peak_memory_mb_before": before,
        "peak_memory_mb": runner.peak_memory_mb(),
        "found": len(vectors.ids),
    }


def measure_reading(lines: int, width: int, known: int) -> dict[str, Any]:
    """The figures of a file of this size."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "vectors.txt"
        write_large(path, lines, width)
        size = path.stat().st_size
        read = runner.in_new_process(read_large, str(path), lines, known)
    return {"lines": lines, "width": width, "known": known, "megabytes": size / 1e6, **read}


def near_each_other(examples: Examples, size: int) -> np.ndarray:
    """How often two ids stand within a window, those nearer count more: float64 [size, size]."""
    owners, _, tokens = examples.spread()
    counts = np.zeros(size * size)
    for distance in range(1, WINDOW + 1):
        first, second = tokens[:-distance].astype(np.int64), tokens[distance:]
        together = owners[:-distance] == owners[distance:]
        pairs = (first * size + second)[together]
        counts += np.bincount(pairs, minlength=size * size) / distance
    matrix = counts.reshape(size, size)
    return matrix + matrix.T


def make_vectors(examples: Examples, size: int, width: int) -> np.ndarray:
    """A vector for each word of a vocabulary of this size, float32 [words, width].

    It is the truncated decomposition of the positive pointwise mutual information of words and
    those near them, whose frequencies are smoothed (Levy, Goldberg and Dagan 2015).
    """
    from sklearn.utils.extmath import randomized_svd

    counts = near_each_other(examples, size)[len(SPECIAL_TOKENS) :, len(SPECIAL_TOKENS) :]
    of_words = counts.sum(axis=1) / counts.sum()
    of_contexts = counts.sum(axis=0) ** SMOOTHING
    of_contexts /= of_contexts.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(counts / counts.sum() / np.outer(of_words, of_contexts))
    positive = np.maximum(np.nan_to_num(information, neginf=0), 0).astype(np.float32)
    left, values, _ = randomized_svd(positive, width, random_state=0)
    return (left * np.sqrt(values)).astype(np.float32)


def write_vectors(path: Path, words: Sequence[str], vectors: np.ndarray) -> None:
    """Write vectors in GloVe's form."""
    with path.open("w") as file:
        for word, vector in zip(words, vectors, strict=True):
            file.write(f"{word} {' '.join(f'{number:.6g}' for number in vector.tolist())}\n")


def train(
    base: flax_imdb.ExperimentConfig, beginning: str, examples: int, epochs: int, workdir: Path
) -> dict[str, Any]:
    """Train on so many reviews, with an embedding that begins so."""
    config = dataclasses.replace(
        base,
        data=dataclasses.replace(base.data, train_examples=examples),
        training=dataclasses.replace(base.training, epochs=epochs, **BEGINNINGS[beginning]),
    )
    start = time.perf_counter()
    result = flax_imdb.train(config, workdir, console=Console(quiet=True))
    return {
        "examples": examples,
        "epochs": epochs,
        "beginning": beginning,
        "seconds": time.perf_counter() - start,
        "test_accuracies": result.test_accuracies,
        "baseline_accuracy": result.baseline_accuracy,
    }


def measure_accuracy(base: flax_imdb.ExperimentConfig, sizes: Sequence[int], options: Any) -> None:
    """Train with each beginning on each of these numbers of reviews."""
    whole: Dataset = load_dataset(dataclasses.replace(base.data, validation_examples=0))
    start = time.perf_counter()
    vectors = make_vectors(whole.train, len(whole.info.vocabulary), base.model.embedding_features)
    about = {
        "vectors_seconds": time.perf_counter() - start,
        "width": vectors.shape[1],
        "validation_examples": base.data.validation_examples,
        "test_examples": len(whole.test),
    }
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "vectors.txt"
        write_vectors(path, whole.info.vocabulary.words, vectors)
        training = dataclasses.replace(base.training, embeddings=path)
        base = dataclasses.replace(base, training=training)
        for examples, beginning in itertools.product(sizes, BEGINNINGS):
            workdir = Path(directory) / f"{beginning}-{examples}"
            rows.append(train(base, beginning, examples, EPOCHS[examples], workdir))
            print(rows[-1], flush=True)
            runner.write(options.json, {**about, "rows": rows})


def main() -> None:
    """Measure a part."""
    parser = runner.Parser(__doc__)
    parser.add_argument("--part", choices=["reading", "accuracy"], required=True)
    sizes = [str(examples) for examples in EPOCHS]
    parser.add_argument("--examples", type=runner.names(*sizes), default=",".join(sizes))
    parser.add_argument("--seeds", type=runner.at_least(2), default=3)
    parser.add_argument("--test-examples", type=runner.at_least(1), help="(default: all)")
    options = parser.parse_args()
    tune_process()
    if options.part == "reading":
        results = measure_reading(LINES, WIDTH, KNOWN)
        print(results)
        runner.write(options.json, results)
        return
    base = flax_imdb.ExperimentConfig(
        model=flax_imdb.ModelConfig(embedding_features=OWN_WIDTH),
        data=flax_imdb.DataConfig(
            dataset="imdb_reviews",
            validation_examples=VALIDATION_EXAMPLES,
            test_examples=options.test_examples,
        ),
        runs=options.seeds,
    )
    measure_accuracy(base, [int(size) for size in options.examples], options)


if __name__ == "__main__":
    main()
