"""Runs on a real Slurm, of one host: slurmctld, slurmd and munge, which `.ci/long` installs."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from jobs import Job, assert_same_run
from slurm_cluster import Slurm, missing

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "clusters" / "slurm.sbatch"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

EPOCHS, ENDLESS = 60, 100_000


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    with Slurm() as cluster:
        yield cluster


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where jobs are submitted: what a clone of the project has there, and no runs."""
    (tmp_path / "train.py").symlink_to(ROOT / "train.py")
    return tmp_path


def small(reviews: Path, epochs: int = EPOCHS) -> list[object]:
    """Flags of a small model on few reviews."""
    return [
        *("--arch", "lstm_dropout", "--data-dir", reviews, "--vocab-size", 20, "--max-length", 10),
        *("--features", 8, "--embedding-features", 8, "--batch-size", 36, "--epochs", epochs),
    ]


@pytest.fixture(scope="module")
def alone(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process, without Slurm."""
    workdir = tmp_path_factory.mktemp("alone") / "run"
    arguments = [ROOT / "train.py", *small(reviews), "--workdir", workdir]
    with Job([{"JAX_NUM_CPU_DEVICES": "1"}], [arguments]) as job:
        ((status, _, errors),) = job.ends()
    assert status == 0, errors
    return workdir


def submit(slurm: Slurm, directory: Path, options: list[str], flags: list[object]) -> str:
    """Submit the script of the documentation; returns the job's number."""
    command = ("sbatch", "--parsable", f"--chdir={directory}", *options, SCRIPT, *flags)
    return slurm.run(*command)


def epochs_of(workdir: Path) -> int:
    metrics = workdir / "metrics.jsonl"
    return len(metrics.read_text().splitlines()) if metrics.exists() else 0


def test_srun_trains_to_the_figures_of_one_process(
    slurm: Slurm, reviews: Path, alone: Path, tmp_path: Path
) -> None:
    flags = (*small(reviews), "--distributed", "--workdir", tmp_path / "run")
    output = slurm.run("srun", "--ntasks=2", "python", ROOT / "train.py", *flags)
    assert " in each of 2 processes on 1 host; " in output
    assert "Gloo" not in output
    assert_same_run(tmp_path / "run", alone)


def test_a_job_that_gets_sigterm_saves_and_goes_on_under_its_number(
    slurm: Slurm, reviews: Path, alone: Path, directory: Path
) -> None:
    """As from --signal, shortly before its time is over."""
    number = submit(slurm, directory, ["--ntasks-per-node=2"], small(reviews))
    run = directory / "runs" / number
    slurm.wait_for(lambda: epochs_of(run) > 0)
    slurm.run("scancel", "--signal=TERM", number)
    slurm.wait_for(lambda: slurm.job(number)["JobState"] != "RUNNING")
    assert 0 < epochs_of(run) < EPOCHS
    assert not (run / "result.json").exists()
    slurm.wait_for(lambda: slurm.job(number)["JobState"] == "COMPLETED")
    assert slurm.job(number)["Restarts"] == "1"
    output = (directory / f"slurm-{number}.out").read_text()
    assert output.count("stopped by SIGTERM: continue with --resume") == 2
    assert output.count("resumed after step ") == 1
    assert_same_run(run, alone)


def test_time_that_is_over_starts_a_job_again_and_scancel_does_not(
    slurm: Slurm, reviews: Path, directory: Path
) -> None:
    options = ["--ntasks-per-node=2", "--time=2", "--signal=TERM@20"]
    number = submit(slurm, directory, options, small(reviews, ENDLESS))
    output = directory / f"slurm-{number}.out"
    slurm.wait_for(lambda: output.exists() and "resumed after step " in output.read_text())
    assert slurm.job(number)["Restarts"] == "1"
    reached = epochs_of(directory / "runs" / number)
    slurm.wait_for(lambda: epochs_of(directory / "runs" / number) > reached)
    slurm.run("scancel", number)
    slurm.wait_for(lambda: slurm.run("squeue", "--noheader", f"--jobs={number}", check=False) == "")
    assert slurm.job(number)["JobState"] == "CANCELLED"
    assert slurm.job(number)["Restarts"] == "1"
    assert output.read_text().count("stopped by SIGTERM: continue with --resume") == 4


def test_a_job_array_trains_a_seed_for_each_of_its_tasks(
    slurm: Slurm, reviews: Path, directory: Path
) -> None:
    number = submit(slurm, directory, ["--array=3-4"], small(reviews, epochs=1))
    runs = [directory / "runs" / f"{number}-{task}" for task in (3, 4)]
    slurm.wait_for(lambda: slurm.run("squeue", "--noheader", f"--jobs={number}", check=False) == "")
    results = [json.loads((run / "result.json").read_text()) for run in runs]
    assert [result["seed"] for result in results] == [3, 4]
    assert results[0]["test_loss"] != results[1]["test_loss"]


@pytest.mark.parametrize("lost", [0, 1])
def test_a_task_that_is_killed_ends_the_other_with_one_line(
    slurm: Slurm, reviews: Path, tmp_path: Path, lost: int
) -> None:
    run = tmp_path / "run"
    flags = (*small(reviews, ENDLESS), "--distributed", "--timeout", 20, "--workdir", run)
    with slurm.start("srun", "--ntasks=2", "python", ROOT / "train.py", *flags) as job:
        slurm.wait_for(lambda: epochs_of(run) > 0)
        number = slurm.run("squeue", "--noheader", "--format=%i", "--states=RUNNING")
        # Columns: PID JOBID STEPID LOCALID GLOBALID.
        pids = re.findall(
            r"^(\d+) +\S+ +\S+ +(\d+)", slurm.run("scontrol", "listpids", number), re.M
        )
        os.kill(next(int(pid) for pid, task in pids if int(task) == lost), signal.SIGKILL)
        _, errors = job.communicate(timeout=120)
    assert job.returncode == 128 + signal.SIGKILL
    assert f"task {lost}: Killed" in errors
    assert f"task {1 - lost}: Exited with exit code 1" in errors
    assert errors.count("error: another process has ended or cannot be reached: ") == 1
    assert "Traceback" not in errors
