"""What the benchmarks share: flags, subprocesses, taking turns, and the file of results."""

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import re
import statistics
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar
from unittest import mock

from flax_imdb.errors import InputError, UnsupportedError

Contestant = TypeVar("Contestant")


class Parser(argparse.ArgumentParser):
    """Reads a benchmark's flags; an error is one line and status 2.

    Args:
      doc: the benchmark's docstring, whose first line describes it.
      json: whether it has the flag ``--json``.
    """

    def __init__(self, doc: str | None, *, json: bool = True):
        super().__init__(description=(doc or "").partition("\n")[0])
        if json:
            self.add_argument("--json", type=Path, help="where to write the results")

    def error(self, message: str) -> NoReturn:
        """Print it and exit."""
        self.exit(2, f"{self.prog}: {message}\n")


def names(*choices: str) -> Callable[[str], list[str]]:
    """Reads names separated by commas; without `choices` any name is accepted."""

    def read(text: str) -> list[str]:
        chosen = [name for name in text.split(",") if name]
        for name in chosen:
            if choices and name not in choices:
                raise argparse.ArgumentTypeError(f"{name} is unknown: any of {','.join(choices)}")
        return chosen

    return read


def at_least(least: int) -> Callable[[str], int]:
    """Reads a whole number that is not below `least`."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number, {least} or more")
        return int(text)

    return read


def seeds_of(run: Path) -> list[Path]:
    """The directories of a run's seeds, or its own if it has one seed."""
    return sorted(run.glob("seed-*")) or [run]


def write(path: Path | None, results: Mapping[str, Any]) -> None:
    """Write results, with the machine and the versions that gave them; nothing without a path.

    A number that is not finite becomes null.
    """
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = finite(machine() | dict(results))
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n")


def measure_seeds(
    path: Path, seeds: int, measure: Callable[[int], dict[str, Any]], about: Mapping[str, Any]
) -> None:
    """Measure with seeds from 1 on, one row each; those that a file of results has are kept.

    Args:
      path: of the file, which is written after each seed.
      seeds: how many.
      measure: returns the row of a seed.
      about: what else the file says.
    """
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []
    for seed in range(len(rows) + 1, seeds + 1):
        rows.append({"seed": seed, **measure(seed)})
        print(path.stem, rows[-1], flush=True)
        write(path, {**about, "rows": rows})


def finite(value: Any) -> Any:
    """The value with None for each number in it that is not finite, which JSON does not have."""
    if isinstance(value, Mapping):
        return {name: finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def machine() -> dict[str, Any]:
    """The machine, and the versions of what decides results."""
    from flax_imdb import environment  # It imports JAX, which not every process needs.

    return {"cpus": os.cpu_count(), "versions": environment.versions()}


def take_turns(
    contestants: Mapping[Contestant, Callable[[], float]], rounds: int
) -> dict[Contestant, list[float]]:
    """What each contestant returns in each round: whatever slows the machine slows all of them."""
    taken: dict[Contestant, list[float]] = {contestant: [] for contestant in contestants}
    for _ in range(rounds):
        for contestant, take_turn in contestants.items():
            taken[contestant].append(take_turn())
    return taken


def summarize(step_ms: list[float]) -> dict[str, Any]:
    """Median, minimum and quartiles of the milliseconds of a step."""
    first, median, third = statistics.quantiles(step_ms, n=4, method="inclusive")
    return {
        "step_ms_median": median,
        "step_ms_min": min(step_ms),
        "step_ms_quartiles": [first, third],
    }


def peak_memory_mb() -> float | None:
    """The most main memory that this process has held so far, in MB; None except on Linux.

    `resource` would also count the peak of the parent process.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())
    return 1.024e-3 * int(kilobytes)


class Process:
    """An object in a process of its own, idle except while one of its methods is called.

    A context manager: leaving it ends the process.

    Args:
      name: for messages.
      make: makes the object, in its process; a function or class of a module.
      arguments: for `make`.
      variables: of the environment. Frameworks read them when they are first imported.
    """

    def __init__(self, name: str, make: Callable[..., Any], *arguments: Any, **variables: str):
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        with mock.patch.dict(os.environ, variables):
            self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.hang_up()
        self.join()

    def hang_up(self) -> None:
        """Tell it that no more will be asked."""
        self._connection.close()

    def join(self) -> None:
        """Wait for its end."""
        self._process.join()

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method and wait for its result."""
        self.send(method, *arguments)
        return self.receive()

    def send(self, method: str, *arguments: Any) -> None:
        """Call a method; `receive` has the result."""
        with contextlib.suppress(BrokenPipeError):  # What it sent before it ended says why.
            self._connection.send((method, arguments))

    def receive(self) -> Any:
        """The result of the method that was called."""
        try:
            reply = self._connection.recv()
        except (EOFError, ConnectionError):
            raise SystemExit(f"{self.name} ended early: its own message is above") from None
        if isinstance(reply, Exception):
            raise reply
        return reply


def _serve(connection: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Call the methods that are asked for, until the pipe is closed."""
    with contextlib.suppress(EOFError, BrokenPipeError):
        try:
            made = make(*arguments)
            while True:
                method, values = connection.recv()
                connection.send(getattr(made, method)(*values))
        except (InputError, UnsupportedError) as error:
            connection.send(error)


def in_new_process(function: Callable[..., Any], *arguments: Any, **variables: str) -> Any:
    """What a module's function returns in a process of its own."""
    with Process(function.__name__, _Call, function, **variables) as process:
        return process.ask("call", *arguments)


class _Call:
    def __init__(self, function: Callable[..., Any]):
        self.call = function
