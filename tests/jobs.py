"""Jobs of several processes on one machine."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from numerics import assert_close

from flax_imdb.predict import load


def assert_same_run(workdir: Path, alone: Path) -> None:
    """Assert that two runs have the same parameters and metrics, up to rounding."""
    assert_close(load(workdir).state.params, load(alone).state.params, 1e-4)
    names = ("train_loss", "train_accuracy", "eval_loss", "eval_accuracy", "step")
    records, expected = (
        [
            {name: json.loads(line)[name] for name in names}
            for line in (directory / "metrics.jsonl").open()
        ]
        for directory in (workdir, alone)
    )
    assert_close(records, expected)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Job:
    """Context manager of processes that are started together; on exit it kills those left.

    Args:
      environments: environment variables of each process.
      arguments: arguments of each process, after `python`.
    """

    def __init__(self, environments: list[dict[str, str]], arguments: list[list[object]]):
        self.processes = [
            subprocess.Popen(
                [sys.executable, *map(str, own)],
                env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for environment, own in zip(environments, arguments, strict=True)
        ]

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()

    def wait_for_epoch(self, workdir: Path) -> None:
        """Wait until the first epoch has ended; no process may end before that."""
        deadline = time.monotonic() + 100
        while not (workdir / "metrics.jsonl").exists():
            assert time.monotonic() < deadline
            assert all(process.poll() is None for process in self.processes)
            time.sleep(0.05)

    def end(self, number: int) -> tuple[int, str, str]:
        """Wait for a process; returns its exit status, output and errors."""
        process = self.processes[number]
        output, errors = process.communicate(timeout=120)
        return process.returncode, output, errors

    def ends(self) -> list[tuple[int, str, str]]:
        """Wait for all processes; see `end`."""
        return [self.end(number) for number in range(len(self.processes))]
