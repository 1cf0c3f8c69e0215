"""``flax-imdb serve`` as a person types it."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from small_runs import experiment, quiet_train

from flax_imdb import cli
from flax_imdb.cli.serve import ServeOptions
from flax_imdb.predict import load
from flax_imdb.serve import Limits

SERVE = [sys.executable, "-m", "flax_imdb", "serve"]


@pytest.fixture(scope="module")
def workdir(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("serve") / "run"
    quiet_train(experiment(reviews, epochs=1, max_length=10), workdir)
    return workdir


def error(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    assert cli.main(["serve", *map(str, args)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_it_answers_until_it_is_stopped(workdir: Path) -> None:
    with subprocess.Popen(
        [*SERVE, "--workdir", workdir, "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PORT": "0"},
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("Listening at ").strip()
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{address}health") as response:
            assert json.load(response) == {"status": "alive"}
        assert process.stdout.readline().startswith("Ready after ")
        asked = urllib.request.Request(
            f"{address}predict", b'{"text": "a good film"}', {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked) as response:
            (answer,) = json.load(response)["predictions"]
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    (prediction,) = load(workdir).predict(["a good film"])
    assert answer == {"label": prediction.label, "probabilities": prediction.probabilities}


def test_a_port_that_is_taken_is_one_line(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert error(capsys, "--workdir", workdir, "--port", port) == (
            f"error: --port {port} of --host 127.0.0.1 cannot be listened at: Address already in "
            "use; --port 0 takes any that is free"
        )


def test_a_directory_without_a_run_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = error(capsys, "--workdir", tmp_path, "--port", 0)
    assert line == f"error: --workdir {tmp_path} holds no run: name a directory that train.py made"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--port", 65536], "--port 65536 is too large: 65535 at most"),
        (["--max-texts", 0], "--max-texts 0 is too small: 1 or more is needed"),
        (["--max-waiting", 1], "--max-waiting 1 is too small: 256 texts may come in one request"),
        (["--deadline", "nan"], "--deadline nan makes no sense: seconds above 0 are needed"),
        (["--host", "no host"], "--host 'no host' is no address of this machine"),
    ],
)
def test_flags_that_make_no_sense_are_one_line(
    flags: list[object], reason: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert error(capsys, "--workdir", workdir, *flags).startswith(f"error: {reason}")


def test_a_port_of_the_environment_that_is_none_is_one_line(
    workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "http")
    assert error(capsys, "--workdir", workdir) == (
        "error: PORT 'http' is no port: a number up to 65535 is needed"
    )


def test_its_limits_are_those_of_the_library() -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(ServeOptions)}
    assert dataclasses.asdict(Limits()).items() <= defaults.items()


def test_what_is_not_installed_is_named(
    workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert error(capsys, "--workdir", workdir) == (
        "error: serving needs uvicorn, which is not installed: pip install starlette uvicorn "
        "prometheus-client"
    )


def test_a_host_that_others_reach_is_warned_of(
    workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flax_imdb.serve.serve", lambda *arguments: None)
    for host, warnings in (("127.0.0.1", 0), ("localhost", 0), ("0.0.0.0", 1)):
        assert cli.main(["serve", "--workdir", str(workdir), "--port", "0", "--host", host]) == 0
        assert capsys.readouterr().err.count("without a password") == warnings
