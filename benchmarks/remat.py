"""What long sequences cost, with and without rematerialisation over time: memory and time.

    python benchmarks/remat.py --json FILE

Each configuration runs in a process of its own, one after the other, all rows at full length.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LENGTHS = (4096, 16384)
REMAT_STEPS = (None, 16, 128, 1024)
ROWS, STEPS = 64, 3


def child(max_length: int, remat_steps: int | None) -> dict[str, Any]:
    """Step time and peak memory of `lstm`."""
    import jax
    from peers import LEARNING_RATE, Task, peak_memory_mb
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
        "peak_memory_mb": peak_memory_mb(),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="where to write the results")
    options = parser.parse_args()
    rows = []
    for configuration in itertools.product(LENGTHS, REMAT_STEPS):
        command = [sys.executable, __file__, "--child", json.dumps(configuration)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout))
        print(rows[-1])
    if options.json:
        results = {"cpus": os.cpu_count(), "steps": STEPS, "rows": rows}
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(*json.loads(sys.argv[2]))))
    else:
        main()
