"""What rematerialisation over time costs and saves on long sequences: time and memory.

    python benchmarks/remat.py --json FILE

Each configuration runs in a process of its own, one after the other, all rows at full length.
"""

import itertools
import statistics
import time
from typing import Any

import runner

LENGTHS = (4096, 16384)
REMAT_STEPS = (None, 16, 128, 1024)
ROWS, STEPS = 64, 3


def measure(max_length: int, remat_steps: int | None) -> dict[str, Any]:
    """Step time and peak memory of `lstm`."""
    import jax
    from peers import LEARNING_RATE, Task
    from step_time import padded_epoch

    from flax_imdb import models
    from flax_imdb.data import Batching
    from flax_imdb.devices import make_mesh, select_devices
    from flax_imdb.training import Trainer, create_state
    from flax_imdb.tuning import tune_process

    tune_process()
    devices = select_devices("cpu", ROWS)
    examples, plan = padded_epoch(Task("lstm", "cpu", ROWS, max_length))
    trainer = Trainer(make_mesh(devices), Batching(ROWS, max_length, multiple_of=len(devices)))
    config = models.ModelConfig("lstm", remat_steps=remat_steps)
    state = trainer.place(
        create_state(models.build(config, 5000), learning_rate=LEARNING_RATE, seed=7)
    )
    milliseconds = []
    for _ in range(STEPS + 1):  # The first compiles.
        start = time.perf_counter()
        ((state, metrics),) = trainer.steps(state, examples, plan[:1])
        jax.device_get(metrics)
        milliseconds.append(1e3 * (time.perf_counter() - start))
    return {
        "max_length": max_length,
        "remat_steps": remat_steps,
        "batch_size": ROWS,
        "step_ms_median": statistics.median(milliseconds[1:]),
        "peak_memory_mb": runner.peak_memory_mb(),
    }


def main() -> None:
    """Measure, print and write."""
    options = runner.Parser(__doc__).parse_args()
    rows = []
    for configuration in itertools.product(LENGTHS, REMAT_STEPS):
        rows.append(runner.in_new_process(measure, *configuration))
        print(rows[-1])
    runner.write(options.json, {"steps": STEPS, "rows": rows})


if __name__ == "__main__":
    main()
