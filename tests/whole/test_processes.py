"""A run in several processes, as on several hosts: the results of one, and no one left waiting."""

import json
import signal
import socket
from pathlib import Path
from typing import Any

import fake_reviews
import few_vectors
import jax
import numpy as np
import pytest
from jobs import Job, assert_same_run, free_port

from flax_imdb import experiment
from flax_imdb.config import load_config
from flax_imdb.predict import load

ROOT = Path(__file__).parents[2]


def train(reviews: Path, count: int, *flags: object, differing: Any = None) -> list[list[object]]:
    """Arguments of `count` processes; `differing` are more flags of some of them, by number.

    The embedding begins with word vectors, which the first process reads for all.
    """
    vectors = few_vectors.write(reviews / "vectors.txt")
    address = f"127.0.0.1:{free_port()}"
    small = ("--vocab-size", 20, "--max-length", 10, "--features", 8, "--embedding-features", 8)
    return [
        [
            *(ROOT / "train.py", "--arch", "lstm_dropout", "--data-dir", reviews, *small),
            *("--embeddings", vectors),
            *("--batch-size", 36, "--epochs", 2, "--learning-rate", 0.02, "--timeout", 60),
            *("--coordinator", address, "--num-processes", count, "--process-id", number),
            *flags,
            *(differing or {}).get(number, ()),
        ]
        for number in range(count)
    ]


def with_devices(count: int, devices: int) -> list[dict[str, str]]:
    return [{"JAX_NUM_CPU_DEVICES": str(devices)}] * count


def error_lines(errors: str) -> list[str]:
    """What this project says, without what JAX's libraries log."""
    return [line for line in errors.splitlines() if line.startswith("error:")]


@pytest.fixture(scope="module")
def two(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs in two processes of two devices each; its last batch is part filling."""
    workdir = tmp_path_factory.mktemp("two") / "run"
    with Job(with_devices(2, 2), train(reviews, 2, "--workdir", workdir)) as job:
        (status, output, errors), (other_status, other_output, _) = job.ends()
    assert (status, other_status) == (0, 0), errors
    assert "; 4 x cpu, 2 in each of 2 processes on 1 host; " in output
    assert "Gloo" not in output + other_output
    assert "Accuracy" in output
    assert "Accuracy" not in other_output  # One speaks.
    return workdir


@pytest.fixture(scope="module")
def alone(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("alone") / "run"
    flags = ("--workdir", workdir)
    with Job(with_devices(1, 1), [train(reviews, 1, *flags)[0]]) as job:
        ((status, _, errors),) = job.ends()
    assert status == 0, errors
    return workdir


class TestSameResults:
    def test_two_processes_give_the_results_of_one(self, two: Path, alone: Path) -> None:
        assert_same_run(two, alone)
        result = json.loads((two / "result.json").read_text())
        assert (result["processes"], result["devices"]) == (2, 4)
        left, of_one = ({path.name for path in run.iterdir()} for run in (two, alone))
        assert left == of_one

    @pytest.mark.long
    def test_four_processes_of_a_job_on_slurm_give_the_results_of_one(
        self, reviews: Path, alone: Path, tmp_path: Path
    ) -> None:
        """Which says who is who, and how many cores each has."""
        slurm = {
            "SLURM_JOB_ID": str(free_port()),  # JAX makes the port of it.
            "SLURM_STEP_NODELIST": "localhost",
            "SLURM_NTASKS": "4",
            "SLURM_CPUS_PER_TASK": "1",
        }
        environments = [
            {**slurm, "SLURM_PROCID": str(number), "SLURM_LOCALID": str(number)}
            for number in range(4)
        ]
        flags = ("--distributed", "--microbatches", 3, "--workdir", tmp_path / "run")
        arguments = [[*own[: own.index("--coordinator")], *flags] for own in train(reviews, 4)]
        with Job(environments, arguments) as job:
            ends = job.ends()
        assert [status for status, *_ in ends] == [0] * 4
        assert "; 4 x cpu, 1 in each of 4 processes on 1 host; " in ends[0][1]
        assert_same_run(tmp_path / "run", alone)


@pytest.mark.long
def test_three_processes_train_on_numeric_sequences_as_one(tmp_path: Path) -> None:
    """Each standardizes by the same statistics, and has its rows of each batch."""
    rng = np.random.default_rng(0)
    inputs = rng.normal([3, 1e5], [1, 50], (80, 9, 2))
    labels = (inputs[:, -1, 0] > inputs[:, 0, 0]).astype(int)
    np.savez(tmp_path / "x.npz", inputs=inputs, labels=labels, lengths=rng.integers(3, 10, 80))
    flags = ("--dataset", tmp_path / "x.npz", "--max-length", 8, "--word-dropout", 0.1)
    for count, name in ((3, "three"), (1, "one")):
        arguments = train(tmp_path, count, *flags, "--workdir", tmp_path / name)
        arguments = [_without(own, *OF_TEXTS) for own in arguments]
        with Job(with_devices(count, 1), arguments) as job:
            for status, _, errors in job.ends():
                assert status == 0, errors
    assert_same_run(tmp_path / "three", tmp_path / "one")


OF_EMBEDDING = ("--embeddings", "--embedding-features")
OF_TEXTS = ("--data-dir", "--vocab-size", *OF_EMBEDDING)


def _without(arguments: list[object], *flags: str) -> list[object]:
    """The arguments without these flags and their values."""
    dropped = {arguments.index(flag) + n for flag in flags for n in (0, 1)}
    return [each for number, each in enumerate(arguments) if number not in dropped]


@pytest.mark.long
def test_two_processes_go_on_from_a_run_and_stop_early_as_one_does(
    reviews: Path, alone: Path, tmp_path: Path
) -> None:
    flags = ("--init-from", alone, "--dataset", "imdb_reviews", "--validation-examples", 24)
    flags += ("--epochs", 9, "--patience", 1, "--monitor", "roc_auc")
    arguments = train(reviews, 2, *flags, "--workdir", tmp_path / "two")
    arguments = [_without(own, *OF_EMBEDDING) for own in arguments]
    with Job(with_devices(2, 2), arguments) as job:
        assert [status for status, *_ in job.ends()] == [0, 0]
    config = load_config(tmp_path / "two" / "config.json")
    result = experiment.train(config, tmp_path / "one", baseline=False)
    both = json.loads((tmp_path / "two" / "result.json").read_text())
    assert (both["epochs"], both["stopped_early"]) == (result.epochs, True)
    assert_same_run(tmp_path / "two", tmp_path / "one")


def test_a_signal_to_one_process_stops_all_at_one_step(reviews: Path, tmp_path: Path) -> None:
    """Another process says that it was SIGTERM. The run goes on as if none came.

    That the first process saves from time to time does not matter.
    """
    workdir = tmp_path / "run"
    flags = ("--workdir", workdir, "--epochs", 100_000, "--checkpoint-steps", 3)
    with Job(with_devices(2, 2), train(reviews, 2, *flags)) as job:
        job.wait_for_epoch(workdir)
        job.processes[1].send_signal(signal.SIGINT)
        ends = job.ends()
    for (status, _, errors), number in zip(ends, (signal.SIGTERM, signal.SIGINT), strict=True):
        assert status == 128 + number
        assert f"stopped by {number.name}: continue with --resume --workdir {workdir}" in errors
        assert "Traceback" not in errors
    epochs = len((workdir / "metrics.jsonl").read_text().splitlines()) + 1
    config = json.loads((workdir / "config.json").read_text())
    config["training"]["epochs"] = epochs  # No more than that, of the many it was to have.
    (workdir / "config.json").write_text(json.dumps(config))
    never_stopped = tmp_path / "never-stopped"
    for own, resume in ((workdir, ["--resume"]), (never_stopped, [])):
        arguments = train(reviews, 2, "--workdir", own, "--epochs", epochs, *resume)
        with Job(with_devices(2, 2), arguments) as job:
            assert [status for status, *_ in job.ends()] == [0, 0]
    ours, theirs = (load(each).state.params for each in (workdir, never_stopped))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, epochs + 1))


# A network in which an answer of process 0 takes a while.
SLOW = """
import sys, time
from flax_imdb import cli, watch

def copy_slowly(source, target):
    while data := source.recv(1 << 16):
        time.sleep(0.2)
        target.sendall(data)
    return True

watch._copy = copy_slowly
sys.exit(cli.run(cli.command("train"), sys.argv[1:], "train.py"))
"""


@pytest.mark.long
def test_a_signal_stops_processes_that_are_far_apart(reviews: Path, tmp_path: Path) -> None:
    arguments = train(reviews, 2, "--workdir", tmp_path / "run", "--epochs", 100_000)
    arguments[1] = ["-c", SLOW, *arguments[1][1:]]
    with Job(with_devices(2, 1), arguments) as job:
        job.wait_for_epoch(tmp_path / "run")
        job.processes[1].send_signal(signal.SIGTERM)
        for status, _, errors in job.ends():
            assert status == 128 + signal.SIGTERM
            assert "stopped by SIGTERM: continue with --resume" in errors


class TestFailures:
    @pytest.mark.parametrize(
        ("number", "lost"), [(signal.SIGKILL, 0), (signal.SIGKILL, 1), (signal.SIGSTOP, 1)]
    )
    def test_a_process_that_is_killed_or_stopped_ends_the_others_with_one_line(
        self, reviews: Path, tmp_path: Path, number: signal.Signals, lost: int
    ) -> None:
        flags = ("--workdir", tmp_path / "run", "--epochs", 100_000, "--timeout", 10)
        with Job(with_devices(2, 1), train(reviews, 2, *flags)) as job:
            job.wait_for_epoch(tmp_path / "run")
            job.processes[lost].send_signal(number)
            status, _, errors = job.end(1 - lost)
        assert status == 1
        (line,) = error_lines(errors)
        assert line.startswith("error: another process has ended or cannot be reached: ")
        assert "Traceback" not in errors
        assert "Check failure stack trace" not in errors

    @pytest.mark.long
    def test_process_0_that_is_frozen_ends_the_others(self, reviews: Path, tmp_path: Path) -> None:
        """Process 0, in which JAX's coordinator is; benchmarks/faults.py freezes others, too."""
        flags = ("--workdir", tmp_path / "run", "--epochs", 100_000, "--timeout", 10)
        with Job(with_devices(3, 1), train(reviews, 3, *flags)) as job:
            first, *others = job.processes
            job.wait_for_epoch(tmp_path / "run")
            first.send_signal(signal.SIGSTOP)
            for other in others:
                _, errors = other.communicate(timeout=60)
                assert other.returncode == 1
                assert error_lines(errors) == [
                    "error: another process has ended or cannot be reached: no answer for 10 s"
                ]
                assert "stack trace" not in errors

    @pytest.mark.parametrize(
        ("differing", "complaint"),
        [
            (
                ("--learning-rate", 0.5),
                "the processes disagree: --learning-rate is 0.02 in process 0 and 0.5 in process 1",
            ),
            (
                ("--data-dir", "{others}"),
                "the processes disagree: the fingerprint of the texts is ",
            ),
            (("--data-dir", "/nowhere"), "--data-dir /nowhere "),
        ],
    )
    def test_processes_that_differ_are_refused(
        self, reviews: Path, tmp_path: Path, differing: tuple[Any, ...], complaint: str
    ) -> None:
        others = fake_reviews.write(tmp_path, train=20)
        differing = tuple(str(flag).format(others=others) for flag in differing)
        arguments = train(reviews, 2, "--workdir", tmp_path / "run", differing={1: differing})
        with Job(with_devices(2, 1), arguments) as job:
            for status, output, errors in job.ends():
                assert status == 2
                (line,) = error_lines(errors)
                assert complaint in line
                assert "parameter" not in output  # Nothing was made yet.
        assert not (tmp_path / "run").exists()

    def test_fewer_rows_than_devices_are_refused(self, reviews: Path) -> None:
        arguments = train(reviews, 2, "--batch-size", 1)
        with Job(with_devices(2, 1), arguments) as job:
            for status, _, errors in job.ends():
                assert status == 2
                assert error_lines(errors) == [
                    "error: --batch-size 1 is too small for 2 devices: each needs a row"
                ]

    @pytest.mark.parametrize("number", [0, 1])
    def test_others_that_do_not_come_are_an_error_after_the_timeout(
        self, reviews: Path, number: int
    ) -> None:
        arguments = [*train(reviews, 2)[number], "--timeout", 2]
        with Job([{}], [arguments]) as job:
            ((status, _, errors),) = job.ends()
        assert status == 2
        assert errors.startswith("error: not all processes met at 127.0.0.1:")
        assert errors.count("\n") == 1
        assert "within 2 s" in errors

    def test_a_port_that_is_taken_is_refused(self, reviews: Path) -> None:
        with socket.socket(socket.AF_INET6) as taken:
            taken.bind(("", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            with Job([{}], [[*train(reviews, 2)[0], "--coordinator", address]]) as job:
                ((status, _, errors),) = job.ends()
        assert status == 2
        assert errors == f"error: --coordinator {address} cannot be used: Address already in use\n"

    def test_distributed_without_a_cluster_is_refused(self) -> None:
        with Job([{}], [[ROOT / "train.py", "--distributed"]]) as job:
            ((status, _, errors),) = job.ends()
        assert status == 2
        assert errors.startswith("error: --distributed finds no cluster that it knows")
        assert errors.count("\n") == 1
