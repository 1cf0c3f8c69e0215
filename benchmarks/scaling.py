"""Training steps over more and more devices: strong and weak scaling, in one process and several.

    python benchmarks/scaling.py --json FILE

The devices are CPU devices of this machine, on which only as many as it has cores can gain
anything. Configurations take turns; each is idle but in its turn. docs/scaling.md shows the
results, and works out from them what accelerators would gain.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ARCH, MAX_LENGTH, ROWS = "lstm", 500, 64
DEVICES = (1, 2, 4, 8)
MARK = "seconds:"  # The libraries print, too.


@dataclasses.dataclass(frozen=True)
class Configuration:
    """What is trained, and where.

    Attributes:
      scaling: ``"strong"``: the same batch, ever thinner; ``"weak"``: as many rows on each device.
      processes: number of processes.
      devices: number of devices of all processes together.
      batch_size: rows of a batch, over all devices.
    """

    scaling: str
    processes: int
    devices: int
    batch_size: int


def configurations() -> list[Configuration]:
    """All that are measured."""
    shapes = [(1, devices) for devices in DEVICES] + [(2, 2), (4, 4)]
    return [
        Configuration(scaling, processes, devices, ROWS * (1 if scaling == "strong" else devices))
        for scaling in ("strong", "weak")
        for processes, devices in shapes
    ]


def serve(configuration: Configuration, process_id: int, coordinator: str) -> None:
    """One process of a configuration: trains as many steps as each line of its input says."""
    import jax
    import numpy as np
    from peers import LEARNING_RATE, Task
    from step_time import padded_epoch

    from flax_imdb import models
    from flax_imdb.data import Batching
    from flax_imdb.devices import make_mesh, select_devices
    from flax_imdb.distributed import Processes, join
    from flax_imdb.training import Trainer, create_state, one_late
    from flax_imdb.tuning import tune_process

    if configuration.processes > 1:
        join(Processes(False, coordinator, configuration.processes, process_id))
    tune_process()
    devices = select_devices("cpu")
    assert len(devices) == configuration.devices
    task = Task(ARCH, "cpu", configuration.batch_size, MAX_LENGTH)
    examples, plan = padded_epoch(task)
    batching = Batching(task.batch_size, MAX_LENGTH, multiple_of=len(devices))
    trainer = Trainer(make_mesh(devices), batching)
    model = models.build(models.ModelConfig(ARCH), task.vocab_size)
    state = trainer.place(create_state(model, learning_rate=LEARNING_RATE, seed=7))
    parameters = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(state.params))
    print(MARK, parameters, flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        steps = trainer.steps(state, examples, plan[: int(line)])
        for state, metrics in one_late(steps):  # noqa: B007
            jax.device_get(metrics)
        print(MARK, time.perf_counter() - start, flush=True)


class Group:
    """The processes of a configuration."""

    def __init__(self, configuration: Configuration):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            coordinator = f"127.0.0.1:{probe.getsockname()[1]}"
        own = configuration.devices // configuration.processes
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(own)}
        arguments = json.dumps([*vars(configuration).values()])
        self.configuration = configuration
        self._processes = [
            subprocess.Popen(
                [sys.executable, __file__, "--child", arguments, str(number), coordinator],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(configuration.processes)
        ]
        self.parameters = int(self._replies()[0])

    def seconds(self, steps: int) -> float:
        """Train so many steps; the time of the slowest process."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{steps}\n")
            process.stdin.flush()
        return max(self._replies())

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            process.wait()

    def _replies(self) -> list[float]:
        return [float(self._reply(process)) for process in self._processes]

    @staticmethod
    def _reply(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(MARK):
                return line.removeprefix(MARK)
        raise SystemExit("a process ended early: its own message is above")


@contextlib.contextmanager
def started() -> Iterator[list[Group]]:
    """All configurations, up and idle."""
    groups: list[Group] = []
    try:
        for configuration in configurations():
            groups.append(Group(configuration))
            groups[-1].seconds(2)  # Compiles.
        yield groups
    finally:
        for group in groups:
            group.close()


def measure(rounds: int, steps: int) -> dict[str, Any]:
    """Let all take turns."""
    milliseconds: dict[Configuration, list[float]] = {}
    with started() as groups:
        parameters = groups[0].parameters
        for _ in range(rounds):
            for group in groups:
                seconds = group.seconds(steps)
                milliseconds.setdefault(group.configuration, []).append(1e3 * seconds / steps)
    rows = []
    for configuration, ms in milliseconds.items():
        first, median, third = statistics.quantiles(ms, n=4, method="inclusive")
        rows.append(
            vars(configuration)
            | {
                "step_ms_median": median,
                "step_ms_quartiles": [first, third],
                "examples_per_second": 1e3 * configuration.batch_size / median,
            }
        )
    return {
        "arch": ARCH,
        "max_length": MAX_LENGTH,
        "parameters": parameters,
        "cpus": os.cpu_count(),
        "rounds": rounds,
        "steps": steps,
        "python": platform.python_version(),
        "rows": rows,
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="steps of a turn")
    parser.add_argument("--json", type=Path, help="where to write the results")
    options = parser.parse_args()
    results = measure(options.rounds, options.steps)
    for row in results["rows"]:
        print(
            f"{row['scaling']:7}{row['processes']:3} processes {row['devices']:3} devices "
            f"{row['batch_size']:4} rows{row['step_ms_median']:9.1f} ms"
            f"{row['examples_per_second']:8.0f} examples/s"
        )
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        serve(Configuration(*json.loads(sys.argv[2])), int(sys.argv[3]), sys.argv[4])
    else:
        main()
