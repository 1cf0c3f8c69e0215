"""Training steps over more and more devices: strong and weak scaling, in one process and several.

    python benchmarks/scaling.py --json FILE

The devices are CPU devices of this machine, on which only as many as it has cores can gain
anything. Configurations take turns; each is idle except in its own. docs/scaling.md shows the
results.
"""

import contextlib
import dataclasses
import functools
import socket
import time
from typing import Any

import runner
from peers import LEARNING_RATE, Task
from step_time import padded_epoch

ARCH, MAX_LENGTH, ROWS = "lstm", 500, 64
DEVICES = (1, 2, 4, 8)


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


class Member:
    """One process of a configuration."""

    def __init__(self, configuration: Configuration, process_id: int, coordinator: str):
        from flax_imdb import models
        from flax_imdb.data import Batching
        from flax_imdb.devices import make_mesh, select_devices
        from flax_imdb.distributed import Processes, join
        from flax_imdb.training import Trainer, create_state
        from flax_imdb.tuning import tune_process

        if configuration.processes > 1:
            join(Processes(False, coordinator, configuration.processes, process_id))
        tune_process()
        devices = select_devices("cpu")
        assert len(devices) == configuration.devices
        task = Task(ARCH, "cpu", configuration.batch_size, MAX_LENGTH)
        self._examples, self._plan = padded_epoch(task)
        batching = Batching(task.batch_size, MAX_LENGTH, multiple_of=len(devices))
        self._trainer = Trainer(make_mesh(devices), batching)
        model = models.build(models.ModelConfig(ARCH), task.vocab_size)
        state = create_state(model, learning_rate=LEARNING_RATE, seed=7)
        self._state = self._trainer.place(state)

    def seconds(self, steps: int) -> float:
        """How long it takes to train so many steps."""
        import jax

        from flax_imdb.training import one_late

        start = time.perf_counter()
        steps_of_turn = self._trainer.steps(self._state, self._examples, self._plan[:steps])
        for self._state, metrics in one_late(steps_of_turn):
            jax.device_get(metrics)
        return time.perf_counter() - start


class Group:
    """The processes of a configuration, up and idle until their turn."""

    def __init__(self, configuration: Configuration):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            coordinator = f"127.0.0.1:{probe.getsockname()[1]}"
        own = configuration.devices // configuration.processes
        variables = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(own)}
        self._members = [
            runner.Process(
                f"process {i} of {configuration}",
                Member,
                *(configuration, i, coordinator),
                **variables,
            )
            for i in range(configuration.processes)
        ]

    def step_ms(self, steps: int) -> float:
        """Milliseconds of a step, of the slowest process."""
        for member in self._members:
            member.send("seconds", steps)
        return 1e3 * max(member.receive() for member in self._members) / steps

    def close(self) -> None:
        """End the processes: none of several ends before all are told to."""
        for member in self._members:
            member.hang_up()
        for member in self._members:
            member.join()


def measure(rounds: int, steps: int) -> list[dict[str, Any]]:
    """A row for each configuration; all take turns."""
    with contextlib.ExitStack() as stack:
        turns = {}
        for configuration in configurations():
            group = Group(configuration)
            stack.callback(group.close)
            group.step_ms(2)  # Compiles.
            turns[configuration] = functools.partial(group.step_ms, steps)
        taken = runner.take_turns(turns, rounds)
    rows = [vars(of) | runner.summarize(step_ms) for of, step_ms in taken.items()]
    return [
        row | {"examples_per_second": 1e3 * row["batch_size"] / row["step_ms_median"]}
        for row in rows
    ]


def main() -> None:
    """Measure, print and write."""
    parser = runner.Parser(__doc__)
    parser.add_argument("--rounds", type=runner.at_least(2), default=7)
    parser.add_argument("--steps", type=runner.at_least(1), default=3, help="steps of a turn")
    options = parser.parse_args()
    rows = measure(options.rounds, options.steps)
    for row in rows:
        print(
            f"{row['scaling']:7}{row['processes']:3} processes {row['devices']:3} devices "
            f"{row['batch_size']:4} rows{row['step_ms_median']:9.1f} ms"
            f"{row['examples_per_second']:8.0f} examples/s"
        )
    of = {"arch": ARCH, "max_length": MAX_LENGTH, "rounds": options.rounds, "steps": options.steps}
    runner.write(options.json, {**of, "rows": rows})


if __name__ == "__main__":
    main()
