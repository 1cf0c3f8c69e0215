"""Runs that Open MPI's mpirun starts, which `.ci/long` installs."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from jobs import Job, assert_same_run

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        shutil.which("mpirun") is None, reason="needs mpirun: apt-get install openmpi-bin"
    ),
]


def flags(reviews: Path, workdir: Path, epochs: int) -> list[object]:
    """Arguments of a small model on few reviews."""
    return [
        *(ROOT / "train.py", "--arch", "lstm_dropout", "--data-dir", reviews, "--vocab-size", 20),
        *("--max-length", 10, "--features", 8, "--embedding-features", 8, "--batch-size", 36),
        *("--epochs", epochs, "--workdir", workdir),
    ]


@contextmanager
def mpirun(arguments: list[object]) -> Iterator[subprocess.Popen[str]]:
    """Two processes, which end at the latest with the context."""
    variables = {
        "JAX_PLATFORMS": "cpu",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    process = subprocess.Popen(
        ["mpirun", "--oversubscribe", "-n", "2", sys.executable, *map(str, arguments)],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()  # It ends what it has started.
        process.communicate(timeout=60)


def test_mpirun_trains_to_the_figures_of_one_process(reviews: Path, tmp_path: Path) -> None:
    with Job([{"JAX_NUM_CPU_DEVICES": "1"}], [flags(reviews, tmp_path / "one", 3)]) as job:
        ((status, _, errors),) = job.ends()
    assert status == 0, errors
    with mpirun([*flags(reviews, tmp_path / "two", 3), "--distributed"]) as process:
        output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert " in each of 2 processes on 1 host; " in output
    assert "Gloo" not in output
    assert_same_run(tmp_path / "two", tmp_path / "one")


def test_a_process_that_is_killed_ends_the_other_with_one_line(
    reviews: Path, tmp_path: Path
) -> None:
    with mpirun([*flags(reviews, tmp_path / "run", 100_000), "--distributed"]) as process:
        children = started(process, tmp_path / "run")
        os.kill(int(children[1]), signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGKILL
    assert errors.count("error: another process has ended or cannot be reached: ") == 1
    assert "Traceback" not in errors
    assert not any(map(runs, children))


def test_a_signal_to_one_process_saves_before_mpirun_ends_all(
    reviews: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with mpirun([*flags(reviews, run, 100_000), "--distributed"]) as process:
        children = started(process, run)
        os.kill(int(children[1]), signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert errors.count("stopped by SIGTERM: continue with --resume --workdir") == 2
    with mpirun([*flags(reviews, run, 100_000), "--distributed", "--resume"]) as process:
        deadline = time.monotonic() + 120
        assert process.stdout is not None
        while "resumed after step " not in (line := process.stdout.readline()):
            assert line
            assert time.monotonic() < deadline


def started(process: subprocess.Popen[str], run: Path) -> list[str]:
    """The processes that mpirun has started, once they have trained for an epoch."""
    metrics = run / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not metrics.exists() or not metrics.read_text():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


def runs(process: str) -> bool:
    """Whether a process is there and no zombie."""
    status = Path("/proc", process, "status")
    return status.exists() and "State:\tZ" not in status.read_text()
