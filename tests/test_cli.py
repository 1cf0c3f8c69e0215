"""The commands as a person types them: output, one-line errors, exit status."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import fake_reviews
import jax
import pytest

from flax_imdb import cli, models

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_reviews.write(tmp_path_factory.mktemp("reviews"))


def run(*args: object, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, from another directory."""
    done = subprocess.run(
        [sys.executable, *map(str, args)],
        input=stdin,
        capture_output=True,
        cwd=os.environ["FLAX_IMDB_CACHE"],
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def train(*args: object) -> subprocess.CompletedProcess[str]:
    return run(ROOT / "train.py", *args)


def flax_imdb(*args: object, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    return run("-c", "from flax_imdb.cli import script; script()", *args, stdin=stdin)


@pytest.fixture(scope="module")
def workdir(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, started from the command line."""
    workdir = tmp_path_factory.mktemp("cli") / "run"
    small = ("--vocab-size", 20, "--max-length", 10, "--features", 8, "--embedding-features", 8)
    done = train(
        *("--arch", "lstm", "--device", "cpu", "--data-dir", reviews, "--workdir", workdir),
        *("--epochs", 2, "--batch-size", 8, "--learning-rate", 0.02, *small),
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((workdir / "result.json").read_text())
    assert done.stdout.endswith(f"\nAccuracy: {result['test_accuracy']:.2%}\n")
    assert result["devices"] == 1
    return workdir


class TestCommands:
    def test_evaluate_repeats_the_printed_accuracy(self, workdir: Path) -> None:
        result = json.loads((workdir / "result.json").read_text())
        done = flax_imdb("evaluate", "--workdir", workdir)
        assert done.returncode == 0, done.stderr
        assert done.stdout == (
            f"Loss: {result['test_loss']:.4f}\nAccuracy: {result['test_accuracy']:.2%}\n"
        )

    def test_resume_needs_no_other_flag(self, workdir: Path) -> None:
        """What is not given means what the run was started with."""
        done = train("--workdir", workdir, "--resume")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("Accuracy: ")

    def test_predict_arguments(self, workdir: Path) -> None:
        done = flax_imdb("predict", "--workdir", workdir, "a good film", "a bad film")
        assert done.returncode == 0, done.stderr
        (good, good_label), (bad, bad_label) = (
            line.split("\t") for line in done.stdout.splitlines()
        )
        assert (good_label, bad_label) == ("positive", "negative")
        assert 0 <= float(bad) < 0.5 < float(good) <= 1

    def test_predict_answers_for_the_lines_that_can_be_read(self, workdir: Path) -> None:
        lines = [b"a good film", b"", b"caf\xe9", b"x" * 1_000_001, b"a bad film"]
        done = flax_imdb("predict", "--workdir", workdir, stdin=b"\n".join(lines))
        labels = [line.split("\t")[1] for line in done.stdout.splitlines()]
        assert labels == ["positive", "unreadable", "unreadable", "unreadable", "negative"]
        assert done.stderr.splitlines() == [
            "error: text 2: no words in ''",
            "error: text 3: not UTF-8",
            "error: text 4: 1,000,001 characters are too many for a review: 1,000,000 at most",
        ]
        assert done.returncode == 2

    def test_a_reader_that_has_enough(self, workdir: Path) -> None:
        """It ends as if SIGPIPE had ended it, without a word."""
        script = "from flax_imdb.cli import script; script()"
        command = f"{sys.executable} -c '{script}' predict --workdir {workdir} | head -n 1"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            input=b"a good film\n" * 10_000,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 141
        assert done.stdout.count(b"\n") == 1
        assert not done.stderr

    def test_help(self, capsys: pytest.CaptureFixture[str]) -> None:
        for args in ([], ["--help"]):
            assert cli.main(args) == 0
            shown = capsys.readouterr().out
            assert all(f"\n  {command} " in shown for command in cli.COMMANDS)
        with pytest.raises(SystemExit) as exit:
            cli.run(cli.train, ["--help"], "train.py")
        assert exit.value.code == 0
        shown = capsys.readouterr().out
        assert "--learning-rate" in shown
        assert all(arch in shown for arch in models.ARCHITECTURES)


class TestBadInput:
    """One line that names the value and what would be right, and status 2."""

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            ("--arch gru", "--arch gru is unknown: one of lstm, lstm_dropout"),
            ("--device tpu", "--device tpu is not there: JAX"),
            ("--device npu", "npu"),
            ("--epochs 0", "--epochs 0 is too small: 1 or more is needed"),
            ("--epochs -3", "--epochs -3 is too small"),
            ("--epochs many", "--epochs: invalid literal for int() with base 10: 'many'"),
            ("--epochs 1.5", "'1.5'"),
            ("--batch-size 0", "--batch-size 0 is too small: 1 or more is needed"),
            ("--max-length 0", "--max-length 0 is too small: 1 or more is needed"),
            ("--vocab-size 3", "--vocab-size 3 is too small: 4 or more is needed"),
            ("--learning-rate nan", "--learning-rate nan makes no sense: a finite number above 0"),
            ("--learning-rate 0", "--learning-rate 0.0 makes no sense"),
            ("--learning-rate -1e-3", "--learning-rate -0.001 makes no sense"),
            ("--learning-rate inf", "--learning-rate inf makes no sense"),
            ("--seed -1", "--seed -1 is too small: 0 or more is needed"),
            ("--seed 4294967296", "--seed 4294967296 is too large: 4294967295 at most"),
            ("--features 0", "--features 0 is too small: 1 or more is needed"),
            ("--train-examples 0", "--train-examples 0 is too small: 1 or more is needed"),
            ("--test-examples 0", "--test-examples 0 is too small: 1 or more is needed"),
            ("--validation-examples -1", "--validation-examples -1 is too small: 0 or more"),
            ("--runs 0", "--runs 0 is too small: 1 or more is needed"),
            ("--seed 4294967295 --runs 2", "--runs 2 from --seed 4294967295 on needs a seed"),
            ("--max-length 1000000000000", "--max-length 1000000000000 is too large: 1000000"),
            ("--dataset mnist", "'mnist'"),
            ("--precision float16", "'float16'"),
            ("--remat-steps 0", "--remat-steps 0 is too small: 1 or more is needed"),
            ("--implementation gru", "--implementation gru is unknown: one of auto, scan, fused"),
            (
                "--implementation pallas --features 200",
                "--implementation 'pallas' holds its recurrent kernel in shared memory, which has "
                "room for 112 features in float32, not for 200: 'auto' takes another",
            ),
            ("--implementation cudnn --arch bilstm", "'cudnn' has no recurrent dropout"),
            ("--microbatches 0", "--microbatches 0 is too small: 1 or more is needed"),
            ("--microbatches 65", "--microbatches 65 is too large: a batch has --batch-size 64"),
            ("--coordinator host:1", "go together: --num-processes is missing"),
            ("--timeout 0", "--timeout 0 is too small: 1 or more is needed"),
            ("--vocab-size 10000001", "--vocab-size 10000001 is too large: 10000000 at most"),
            ("--features 65537", "--features 65537 is too large: 65536 at most"),
            ("--embedding-features 0", "--embedding-features 0 is too small: 1 or more"),
            ("--embedding-features 65537", "--embedding-features 65537 is too large: 65536"),
            ("--batch-size 65537", "--batch-size 65537 is too large: 65536 at most"),
            ("--learning-rate 1e-50", "--learning-rate 1e-50 makes no sense: a finite number"),
            ("--learning-rate 1e39", "--learning-rate 1e+39 makes no sense"),
            ("--clip-norm 0", "--clip-norm 0.0 makes no sense: a finite number above 0 is needed"),
            ("--clip-norm nan", "--clip-norm nan makes no sense"),
            ("--max-length 1000001", "--max-length 1000001 is too large: 1000000 at most"),
            ("--num-processes 1048577 --process-id 0 --coordinator a:1", "1048577 is too large"),
            ("--timeout 86401", "--timeout 86401 is too large: 86400 at most"),
            ("--checkpoint-steps 0", "--checkpoint-steps 0 is too small: 1 or more is needed"),
            ("--checkpoint-minutes 0", "--checkpoint-minutes 0.0 makes no sense"),
            ("--checkpoint-minutes inf", "--checkpoint-minutes inf makes no sense"),
            ("--keep-checkpoints 0", "--keep-checkpoints 0 is too small: 1 or more is needed"),
            ("--train-examples -1", "--train-examples -1 is too small: 1 or more is needed"),
            ("--padding left", "'left'"),
            ("--data-dir /nowhere", "--data-dir /nowhere is not a directory"),
            ("--resume", "--resume needs --workdir"),
            ("--epoch 3", "Unrecognized options: --epoch, 3"),
            ("lstm", "Unrecognized options: lstm"),
            ("--epochs", "Missing value for argument '--epochs'"),
        ],
    )
    def test_of_train(
        self,
        args: str,
        message: str,
        capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert cli.run(cli.train, args.split(), "train.py") == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.startswith("error: ")
        assert output.err.count("\n") == 1
        assert message in output.err
        assert "─" not in output.err

    @pytest.mark.parametrize(
        "args",
        [
            "--epochs 1000000000000000000000 --batch-size 65536 --microbatches 65536",
            "--learning-rate 3.4e38 --clip-norm 1.2e-38 --seed 4294967295 --max-length 1000000",
            "--learning-rate 1.2e-38 --clip-norm 3.4e38 --seed 0 --max-length 1 --vocab-size 4",
            "--vocab-size 10000000 --features 65536 --embedding-features 65536 --remat-steps 1",
            "--features 1 --embedding-features 1 --batch-size 1 --checkpoint-steps 1 --timeout 1",
            "--checkpoint-minutes 1e300 --keep-checkpoints 1000000000000 --timeout 86400",
            "--checkpoint-minutes 1e-300 --validation-examples 0 --runs 1 --train-examples 1",
        ],
    )
    def test_the_limits_themselves_are_good(
        self, args: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """What is not there is found out after the numbers were looked at."""
        assert cli.run(cli.train, [*args.split(), "--data-dir", "/nowhere"], "train.py") == 2
        assert capsys.readouterr().err.startswith("error: --data-dir /nowhere is not a directory")

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (MemoryError("Unable to allocate 9 GiB"), "Unable to allocate 9 GiB"),
            (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 bytes"), "RESOURCE_EXHAUSTED: 9"),
        ],
    )
    def test_out_of_memory(
        self, error: Exception, message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def command(args: list[str], prog: str) -> int:
            raise error

        assert cli.run(command, [], "train.py") == 1
        said = capsys.readouterr().err
        assert said.startswith("error: out of memory: a smaller --batch-size, --microbatches 4 or")
        assert message in said
        assert said.count("\n") == 1

    def test_ctrl_c_before_it_trains(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """There is nothing to continue: what is in the directory is another run, or none."""

        def interrupted(*args: object, **options: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("flax_imdb.run.train", interrupted)
        assert cli.run(cli.train, ["--workdir", "new"], "train.py") == 130
        said = capsys.readouterr().err
        assert said == "stopped by SIGINT before there was anything new to save\n"

    def test_a_bug_shows_its_traceback(self) -> None:
        def command(args: list[str], prog: str) -> int:
            raise jax.errors.JaxRuntimeError("INTERNAL: what is this")

        with pytest.raises(jax.errors.JaxRuntimeError):
            cli.run(command, [], "train.py")

    @pytest.mark.parametrize(
        ("error", "last_line"),
        [
            (ValueError("UNKNOWN: Gloo failed\nhere"), "reached: UNKNOWN: Gloo failed here"),
            (jax.errors.JaxRuntimeError("UNAVAILABLE: gone"), "reached: UNAVAILABLE: gone"),
            (ValueError("a bug"), "ValueError: a bug"),
        ],
    )
    def test_one_of_several_processes_ends_at_once_with_a_line_or_with_a_bugs_traceback(
        self,
        error: Exception,
        last_line: str,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def command(args: list[str], prog: str) -> int:
            raise error

        monkeypatch.setattr(cli, "is_one_of_several", lambda: True)
        monkeypatch.setattr("flax_imdb.watch._last_word", threading.RLock())
        monkeypatch.setattr("os._exit", sys.exit)
        with pytest.raises(SystemExit) as end:
            cli.run(command, [], "train.py")
        assert end.value.code == 1
        said = capsys.readouterr().err
        assert said.endswith(f"{last_line}\n")
        assert ("Traceback" in said) == ("a bug" in said)
        assert (said.count("\n") == 1) != ("a bug" in said)

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["train", "--arch", "gru"], "--arch gru is unknown"),
            (["fly"], "command fly is unknown: one of train, evaluate, predict"),
            (["evaluate"], "--workdir"),
            (["evaluate", "--workdir", "/nowhere"], "--workdir /nowhere holds no run"),
            (["predict", "--workdir", "/nowhere", "text"], "--workdir /nowhere holds no run"),
            (["predict", "text"], "--workdir"),
        ],
    )
    def test_of_the_installed_command(
        self, args: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(args) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert message in error

    def test_no_traceback_from_a_process(self, tmp_path: Path) -> None:
        """A workdir that cannot be made, and a run that is in the way."""
        (tmp_path / "file").write_text("")
        for args, message in (
            (("--workdir", tmp_path / "file" / "run"), "cannot be written"),
            (("--workdir", tmp_path / "file"), "cannot be written"),
        ):
            done = train("--dataset", "synthetic", *args)
            assert done.returncode == 2
            assert message in done.stderr
            assert done.stderr.count("\n") == 1
