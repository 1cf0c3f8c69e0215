"""How many reviews a second one core reads, encodes, and puts into batches on a device.

    python benchmarks/data_path.py --json FILE

On the training split of the real reviews, of $TFDS_DATA_DIR: its records, which are in the page
cache; all of its texts at once; and batches at the tutorial's size. docs/scaling.md sets what hosts
with accelerators would need beside it.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import runner

ROWS, MAX_LENGTH = 512, 500
"""Of a batch: of a host with 8 devices, at the tutorial's size."""


def seconds(turn: Callable[[], object], rounds: int) -> float:
    """The median of the seconds that it takes, after a first time."""
    turn()
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        turn()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def measure(rounds: int) -> dict[str, Any]:
    """Bytes of a review at each place of its way, and the seconds of one core for it."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # Before threads are started.
    import jax

    from flax_imdb.data import Batching, Planned, encode
    from flax_imdb.data.sources import ArraySource, find_reviews
    from flax_imdb.devices import select_devices

    source = find_reviews("imdb_reviews")
    texts, labels = source.read("train")
    number = len(texts)
    records = Path(os.environ["TFDS_DATA_DIR"]).glob("imdb_reviews/plain_text/*/*train.array_rec*")
    together = ArraySource(texts, labels, source.classes)
    _ = together.fingerprint  # Hashed once, and no part of encoding.
    examples = encode(together, "unicode").train.limited(5_000, MAX_LENGTH)
    (device,) = select_devices("cpu")
    batching = Batching(ROWS, MAX_LENGTH)
    planned = Planned(np.random.default_rng(0).permutation(len(examples))[:ROWS], MAX_LENGTH)
    batch = batching.make(examples, planned)

    def send() -> None:
        made = batching.make(examples, planned)
        jax.block_until_ready(jax.device_put(made, device, may_alias=False))

    return {
        "reviews": number,
        "bytes": {
            "read": sum(path.stat().st_size for path in records) / number,
            "encode": sum(len(text.encode()) for text in texts) / number,
            "send": sum(array.nbytes for array in jax.tree.leaves(batch)) / ROWS,
        },
        "seconds": {
            "read": seconds(lambda: source.read("train"), rounds) / number,
            "encode": seconds(lambda: encode(together, "unicode"), rounds) / number,
            "send": seconds(send, 20 * rounds) / ROWS,
        },
    }


def main() -> None:
    """Measure, print and write."""
    parser = runner.Parser(__doc__)
    parser.add_argument("--rounds", type=runner.at_least(1), default=5)
    options = parser.parse_args()
    results = runner.in_new_process(measure, options.rounds, JAX_NUM_CPU_DEVICES="1")
    for name, size in results["bytes"].items():
        each = results["seconds"][name]
        print(f"{name:7}{size:7.0f} bytes{1 / each:9.0f} reviews/s{size / each / 1e6:8.1f} MB/s")
    runner.write(options.json, {"rounds": options.rounds, **results})


if __name__ == "__main__":
    main()
