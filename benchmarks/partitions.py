"""Prediction by a Dask cluster of this machine's processes, beside that by one process.

    python benchmarks/partitions.py --json FILE

The rows are short random texts. The model has the default size and is trained on a few synthetic
reviews, since the time does not depend on what it has learned. Each process has it compiled
before the time is taken, which includes sending the texts and the answers.
"""

import pickle
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import prediction
import runner


def texts(words: Sequence[str], rows: int) -> list[str]:
    """Random texts of 3 to 12 words."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 13, rows)
    drawn = np.split(rng.choice(np.array(words), lengths.sum()), np.cumsum(lengths)[:-1])
    return [" ".join(of_text) for of_text in drawn]


def seconds_of(ask: Any) -> tuple[float, np.ndarray]:
    """How long it takes to answer, and the answers."""
    start = time.perf_counter()
    answers = np.concatenate(ask())
    return time.perf_counter() - start, answers


def by_one(workdir: str, rows: int, size: int) -> tuple[float, np.ndarray]:
    """Seconds and probabilities of one process with all devices."""
    from flax_imdb.predict import load

    model = load(workdir)
    model.compile()
    partitions = _partitions(model.vocabulary.words, rows, size)
    return seconds_of(lambda: [*map(model.predict_probabilities, partitions)])


def by_cluster(workdir: str, rows: int, size: int, workers: int) -> tuple[float, np.ndarray, int]:
    """Seconds and probabilities of a cluster, each of whose processes has one device.

    Returns:
      Also the size of the pickled model, in bytes.
    """
    from dask.distributed import Client, LocalCluster

    from flax_imdb.predict import load

    model = load(workdir, "cpu")
    partitions = _partitions(model.vocabulary.words, rows, size)
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        env={"JAX_NUM_CPU_DEVICES": "1"},
    )
    with cluster, Client(cluster) as client:
        sent = client.scatter(model, broadcast=True)
        names = client.scheduler_info()["workers"]
        for name in names:  # Each keeps what it was sent, and what it compiles of it.
            client.submit(_compile, sent, workers=[name], pure=False).result()

        def ask() -> list[np.ndarray]:
            answers: list[np.ndarray] = client.gather(client.map(_predict, partitions, model=sent))
            return answers

        return *seconds_of(ask), len(pickle.dumps(model))


def _partitions(words: Sequence[str], rows: int, size: int) -> list[list[str]]:
    all_rows = texts(words, rows)
    return [all_rows[first : first + size] for first in range(0, rows, size)]


def _compile(model: Any) -> None:
    model.compile()


def _predict(partition: list[str], model: Any) -> np.ndarray:
    probabilities: np.ndarray = model.predict_probabilities(partition)
    return probabilities


def main() -> None:
    """Measure, print and write."""
    parser = runner.Parser(__doc__)
    parser.add_argument("--workdir", help="the run of the model")
    parser.add_argument("--rows", type=runner.at_least(1), default=1_000_000)
    parser.add_argument("--partition", type=runner.at_least(1), default=10_000, help="its rows")
    parser.add_argument("--workers", type=runner.at_least(1), default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workdir = options.workdir
        if workdir is None:
            workdir = f"{folder}/run"
            runner.in_new_process(prediction.train, "lstm", workdir)
        task = (workdir, options.rows, options.partition)
        alone, expected = runner.in_new_process(by_one, *task)
        together, answers, size = by_cluster(*task, options.workers)
    results = {
        "rows": options.rows,
        "partition_rows": options.partition,
        "workers": options.workers,
        "pickled_bytes": size,
        "one_process": {"seconds": alone, "rows_per_second": options.rows / alone},
        "cluster": {"seconds": together, "rows_per_second": options.rows / together},
        "other_labels": int(np.sum(answers.argmax(axis=1) != expected.argmax(axis=1))),
        "greatest_difference": float(np.max(np.abs(answers - expected))),
        "same_bits": bool(np.array_equal(answers, expected)),
    }
    print(results)
    runner.write(options.json, results)


if __name__ == "__main__":
    main()
