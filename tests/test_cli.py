"""The commands as a person types them: output, one-line errors, exit status."""

import datetime
import functools
import io
import json
import os
import re
import runpy
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import ClassVar

import jax
import pytest

import flax_imdb as flax_imdb_package
from flax_imdb import cli, models
from flax_imdb.config import RECIPES
from flax_imdb.report import ProgramConsole
from flax_imdb.workdir import Workdir

ROOT = Path(__file__).parents[1]


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


SCRIPT = "from flax_imdb.cli import script; script()"


def flax_imdb(*args: object, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    return run("-c", SCRIPT, *args, stdin=stdin)


def shell(
    command: str, directory: Path, stdin: bytes = b"", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a line of bash."""
    done = subprocess.run(
        ["bash", "-c", command],
        input=stdin,
        capture_output=True,
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=False,
    )
    return subprocess.CompletedProcess(
        command, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


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
        assert f"macro F1 {result['macro_f1']:.2%}" in done.stdout
        assert done.stdout.endswith(
            f"Loss: {result['test_loss']:.4f}\nAccuracy: {result['test_accuracy']:.2%}\n"
        )

    def test_resume_needs_no_other_flag(self, workdir: Path) -> None:
        """What is not given means what the run was started with."""
        done = train("--workdir", workdir, "--resume")
        assert done.returncode == 0, done.stderr
        assert "epoch" not in done.stdout
        assert done.stdout.splitlines()[-1].startswith("Accuracy: ")

    def test_predict_labels_each_argument(self, workdir: Path) -> None:
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
            "error: text 4: 1,000,001 characters are too many: 1,000,000 at most",
        ]
        assert done.returncode == 2

    def ask(
        self, workdir: Path, *flags: str | Path, stdin: bytes = b"", status: int = 0
    ) -> tuple[str, str]:
        """What predict prints on both streams."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(stdin)))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            args = ["predict", "--workdir", str(workdir), *map(str, flags)]
            assert cli.main(args) == status
        return out.getvalue(), err.getvalue()

    def test_predict_answers_exactly_the_lines(self, workdir: Path) -> None:
        """They end with line feeds, and with no other character that ends lines elsewhere."""
        stdin = "good\n\nX\u0085Y\u2028Z good\r\ngood".encode()
        answers, _ = self.ask(workdir, "--json", stdin=stdin, status=2)
        first, empty, strange, last = map(json.loads, answers.splitlines())
        assert first == last
        assert list(first["probabilities"]) == ["negative", "positive"]
        assert first["label"] == strange["label"] == "positive"
        assert empty == {"error": "no words in ''"}
        assert self.ask(workdir) == ("", "")

    def test_predict_answers_each_line_as_it_comes(self, workdir: Path) -> None:
        script = "from flax_imdb.cli import script; script()"
        with subprocess.Popen(
            [sys.executable, "-c", script, "predict", "--workdir", workdir],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for text, label in ((b"a good film\n", b"positive\n"), (b"bad\n", b"negative\n")):
                process.stdin.write(text)
                process.stdin.flush()
                assert process.stdout.readline().endswith(label)
            process.stdin.close()
            assert process.wait() == 0

    def test_a_table_on_standard_input_is_noticed(self, workdir: Path) -> None:
        answers, said = self.ask(workdir, stdin=b"id;Review Text\n1;a good film\n")
        assert said.splitlines()[0] == (
            "warning: standard input begins like a table, with the columns id, Review Text: each "
            "line is taken for a text, and --input FILE reads a table"
        )
        assert answers.count("\n") == 2

    def test_predict_reads_and_writes_files(self, workdir: Path, tmp_path: Path) -> None:
        file, output = tmp_path / "a.csv", tmp_path / "o.csv"
        file.write_text('id,text\n1,"a good film"\n2,\n3,a bad film')
        assert self.ask(workdir, "--input", file, "--output", output, status=2) == (
            "",
            f"error: 1 of 3 rows of {file} cannot be classified, and have no label (line 3: has "
            "no text)\n",
        )
        rows = [line.split(",") for line in output.read_text().splitlines()]
        assert [row[2] for row in rows] == ["predicted_label", "positive", "", "negative"]

    def test_rows_that_are_left_out_are_no_error(self, workdir: Path, tmp_path: Path) -> None:
        file = tmp_path / "a.csv"
        file.write_text("id,text\n1,a good film\n2,\n")
        answers, said = self.ask(workdir, "--input", file, "--skip-bad-rows", "--probabilities")
        assert answers.count("\t") == 3
        assert said == f"{file}: left out 1 of 2 rows (line 3 has no text)\n"

    @pytest.mark.parametrize(
        ("flags", "reason"),
        [
            (["--input", "a.csv", "good"], "--input a.csv and texts are given: one of them"),
            (["--delimiter", ";"], "--delimiter has no effect: it is for a file"),
            (["--overwrite"], "--overwrite has no effect: it is for a file, given as --output"),
            (["--input", "a.csv", "--output", "b.tsv"], "--output b.tsv does not end in .csv"),
            (["--input", "a.csv", "--output", "b.csv", "--json"], "--json has no effect on b.csv"),
            (["--output", "none/b.txt"], "--output none/b.txt: there is no directory none"),
            (["--output", "/dev/null", "--overwrite"], "is a pipe or a device, not a file"),
            (["--input", "none.csv"], "none.csv cannot be read: No such file"),
            (["--top-k", "0"], "--top-k 0 is too small"),
        ],
    )
    def test_flags_that_make_no_sense_are_refused(
        self, workdir: Path, flags: list[str], reason: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["predict", "--workdir", str(workdir), *flags]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert reason in said
        assert said.count("\n") == 1

    def test_what_is_printed_may_go_to_a_file(self, workdir: Path, tmp_path: Path) -> None:
        output = tmp_path / "answers.jsonl"
        flags = ("--json", "--input", "-", "--output", output)
        assert self.ask(workdir, *flags, stdin=b"good\nbad\n") == ("", "")
        labels = [json.loads(line)["label"] for line in output.read_text().splitlines()]
        assert labels == ["positive", "negative"]

    def test_a_reader_that_has_enough_ends_it_without_a_word(self, workdir: Path) -> None:
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

    @pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
    @pytest.mark.parametrize("how", ["train.py", "flax_imdb", "flax_imdb.cli"])
    def test_the_version_is_shown_however_the_command_is_started(
        self, how: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "argv", [how, "--version"])
        if how.endswith(".py"):
            start = functools.partial(runpy.run_path, str(ROOT / how), run_name="__main__")
        else:
            start = functools.partial(runpy.run_module, how, run_name="__main__")
        with pytest.raises(SystemExit) as exit:
            start()
        assert exit.value.code == 0
        assert capsys.readouterr().out == f"flax-imdb {flax_imdb_package.__version__}\n"

    @pytest.mark.parametrize(("handler", "status"), [("default_int_handler", -2), ("SIG_IGN", 7)])
    @pytest.mark.parametrize("command", ["main", "train"])
    def test_ctrl_c_while_it_imports_ends_it_at_once_unless_it_is_ignored(
        self, command: str, handler: str, status: int
    ) -> None:
        """It ends at once, without a word; where it is ignored, as in a script, it stays so."""
        code = f"""
import os, signal, sys
from flax_imdb.__main__ import {command} as start

class Import:
    def find_spec(name, path, target=None):
        if name == "jax":
            os.kill(os.getpid(), signal.SIGINT)
            sys.exit(7)

signal.signal(signal.SIGINT, signal.{handler})
sys.meta_path.insert(0, Import)
start()
"""
        done = run("-c", code)
        assert (done.returncode, done.stdout, done.stderr) == (status, "", "")

    def test_help_names_every_command_and_every_architecture(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for args in ([], ["--help"]):
            assert cli.main(args) == 0
            shown = capsys.readouterr().out
            assert all(f"\n  {command} " in shown for command in cli.COMMANDS)
        with pytest.raises(SystemExit) as exit:
            cli.run(cli.command("train"), ["--help"], "train.py")
        assert exit.value.code == 0
        shown = capsys.readouterr().out
        assert "--learning-rate" in shown
        assert all(arch in shown for arch in models.ARCHITECTURES)


class TestResume:
    def test_a_setting_that_needs_another_of_the_run_may_be_repeated(
        self, reviews: Path, tmp_path: Path
    ) -> None:
        """70 parts are too many for 64 rows, the default, and not for the run's 96."""
        small = ("--data-dir", reviews, "--max-length", 10, "--features", 2, "--workdir", tmp_path)
        parts = ("--microbatches", 70)
        assert train(*small, "--batch-size", 96, *parts, "--epochs", 1).returncode == 0
        done = train("--workdir", tmp_path, "--resume", *parts, "--epochs", 2)
        assert (done.returncode, done.stderr) == (0, "")

    def test_a_picture_that_is_missing_is_drawn(self, workdir: Path) -> None:
        """As where the process died between the result and the picture."""
        (workdir / "curves.png").unlink()
        assert train("--workdir", workdir, "--resume").returncode == 0
        assert (workdir / "curves.png").exists()


class TestRecipe:
    """A recipe's settings are shown and kept; flags override them."""

    SMALL: ClassVar = ["--features", "2", "--vocab-size", "20", "--max-length", "10"]

    def run(self, *args: object) -> int:
        return cli.run(cli.command("train"), list(map(str, args)), "train.py")

    def test_a_flag_overrides_it(
        self, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        small = ["--data-dir", reviews, *self.SMALL, "--epochs", 1, "--batch-size", 8]
        flags = ["--recipe", "tutorial", "--clip-norm", 2]
        assert self.run(*small, *flags, "--workdir", tmp_path) == 0
        (shown,) = (line for line in capsys.readouterr().out.splitlines() if "recipe" in line)
        assert shown.startswith("recipe tutorial: features 2, ")
        assert "clip_norm 2.0, averaging None" in shown
        config = Workdir(tmp_path).config()
        assert config is not None
        assert (config.recipe, config.data.text) == ("tutorial", "keras")
        assert config.training.clip_norm == 2
        assert self.run("--workdir", tmp_path, "--resume", "--epochs", 2) == 0
        assert self.run("--workdir", tmp_path, "--resume", "--recipe", "strong") == 2
        assert "--recipe" in capsys.readouterr().err

    def test_the_strong_one_sees_the_test_split_once(self, reviews: Path, tmp_path: Path) -> None:
        small = ["--data-dir", reviews, *self.SMALL, "--epochs", 2, "--wide-buckets", 100]
        assert self.run("--recipe", "strong", *small, "--workdir", tmp_path) == 0
        records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
        assert [record["eval_split"] for record in records] == [None, None]
        assert json.loads((tmp_path / "result.json").read_text())["test_accuracy"] > 0
        assert (tmp_path / "curves.png").exists()

    def test_one_that_is_not_there_is_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.run("--recipe", "weak") == 2
        said = capsys.readouterr().err
        assert said == "error: --recipe weak is unknown: one of tutorial, strong\n"


class TestRecipes:
    def test_their_settings_and_what_they_reached(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["recipes"]) == 0
        said = capsys.readouterr().out
        assert [line.partition(":")[0] for line in said.splitlines()[::3]] == list(RECIPES)
        assert "--text keras --clip-norm None" in said
        reached = r"  \d\d\.\d\d% ± \d\.\d\d% of the test reviews right .*, on \d+ CPUs with jax"
        assert len(re.findall(reached, said)) == len(RECIPES)


class TestOwnArchitecture:
    def test_it_is_trained_resumed_and_asked(self, reviews: Path, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text(
            "from flax_imdb.layers import LSTM\n"
            "from flax_imdb.models import register\n\n\n"
            "@register('mine')\n"
            "def mine(config):\n"
            "    return {'encoder': (LSTM(config.features),), 'pooling': 'max'}\n"
        )
        small = f"--data-dir {reviews} --max-length 10 --features 2 --batch-size 8"
        commands = [
            f"{ROOT}/train.py --import mine --arch mine {small} --epochs 1 --workdir w",
            f"{ROOT}/train.py --import=mine --resume --epochs 2 --workdir w",
            "-m flax_imdb evaluate --import mine --workdir w",
            "-m flax_imdb predict --import mine --workdir w 'a film'",
        ]
        done = shell(" && ".join(f"{sys.executable} {rest}" for rest in commands), tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].endswith(("positive", "negative"))

    @pytest.mark.parametrize(
        ("args", "error"),
        [
            (["--import", "no_such"], "error: --import no_such: No module named 'no_such' in the"),
            (["--import", "a-b"], "error: --import 'a-b' is not the name of a module, such as"),
            (["--import"], "error: Missing value for argument '--import'. Expected 1 values\n"),
            (["--arch", "mine"], "; --import the module that registers another"),
        ],
    )
    def test_what_is_not_there_is_one_line(
        self, args: list[str], error: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.run(cli.command("train"), args, "train.py") == 2
        said = capsys.readouterr().err
        assert error in said
        assert said.count("\n") == 1


class TestStreams:
    """Standard input and output as they may be where a person, or a job, has put them."""

    def full(self, monkeypatch: pytest.MonkeyPatch) -> io.TextIOWrapper:
        stream = open("/dev/full", "w")  # noqa: SIM115
        monkeypatch.setattr(sys, "stdout", stream)
        return stream

    @pytest.mark.parametrize(
        "args",
        [["--help"], ["train", "--help"], ["evaluate"], ["predict", "good"], ["train", "--resume"]],
    )
    def test_output_to_a_full_disk_is_an_error(
        self,
        workdir: Path,
        args: list[str],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        if "--help" not in args:
            args = [*args, "--workdir", str(workdir)]
        with self.full(monkeypatch):  # Which has nothing left to write when it is closed.
            assert cli.main(args) == 2
        said = capsys.readouterr().err.removeprefix("SYNTHETIC")
        assert said == "error: standard output cannot be written: No space left on device\n"

    def test_an_error_of_another_file_is_not_that_of_the_output(self) -> None:
        def command(args: list[str], prog: str) -> int:
            raise OSError(28, "No space left on device")

        with pytest.raises(OSError, match="No space"):
            cli.run(command, [], "train.py")

    def test_a_closed_stream_is_taken_for_an_empty_one(
        self, workdir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As Python shows it: None."""
        for name in ("stdin", "stdout", "stderr"):
            monkeypatch.setattr(sys, name, None)
        assert cli.main(["predict", "--workdir", str(workdir)]) == 0
        assert cli.main(["predict", "--workdir", str(workdir), "good"]) == 0
        assert cli.main(["predict", "--workdir", str(workdir), ""]) == 2

    def test_no_file_takes_the_place_of_one_that_is_closed(self, tmp_path: Path) -> None:
        """As a checkpoint would, which what libraries print would damage."""
        code = """
import os
from flax_imdb import cli
cli.run(lambda args, prog: 0, [], "")
with open("file", "w") as file:
    os.write(1, b"printed")
    os.write(2, b"printed")
"""
        done = shell(f"{sys.executable} -c '{code}' <&- >&- 2>&-", tmp_path)
        assert done.returncode == 0
        assert (tmp_path / "file").read_text() == ""

    def test_input_that_cannot_be_read_is_an_error(
        self, workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        unreadable = io.BufferedIOBase()
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=unreadable))
        assert cli.main(["predict", "--workdir", str(workdir)]) == 2
        assert capsys.readouterr().err.startswith("error: standard input cannot be read: ")

    def test_what_the_encoding_cannot_say_is_escaped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def command(args: list[str], prog: str) -> int:
            ProgramConsole().print("w\u00e9rk/caf\udce9", highlight=False)
            print("\u4e2d")
            return 0

        output = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding="ascii"))
        assert cli.run(command, [], "train.py") == 0
        assert output.getvalue() == b"w\\xe9rk/caf\\udce9\n\\u4e2d\n"

    def test_training_ends_without_a_word_when_its_reader_has_enough(
        self,
        reviews: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "w") as output:
            monkeypatch.setattr(sys, "stdout", output)
            args = ["--data-dir", str(reviews), "--workdir", str(tmp_path / "run"), "--features=8"]
            assert cli.run(cli.command("train"), args, "train.py") == 141
        assert capsys.readouterr().err == ""
        assert not (tmp_path / "run" / "checkpoints").exists()


class TestSurroundings:
    def test_a_run_ends_well_whatever_matplotlib_and_home_are_set_to(
        self, reviews: Path, tmp_path: Path
    ) -> None:
        """A notebook's MPLBACKEND, a matplotlibrc of LaTeX, ``~`` for a shell to expand."""
        (tmp_path / "matplotlibrc").write_text("text.usetex: True\nsavefig.format: pdf\n")
        done = shell(
            f"{sys.executable} {ROOT / 'train.py'} --data-dir={reviews} --workdir=~/run --epochs 1 "
            "--vocab-size 20 --max-length 10 --features 8 --embedding-features 8 --batch-size 8",
            tmp_path,
            HOME=str(tmp_path),
            MPLBACKEND="module://not_installed.backend",
        )
        assert done.returncode == 0
        assert all("most frequent class" in line for line in done.stderr.splitlines())
        assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / "run" / "result.json").exists()

    def test_runs_started_in_the_same_second_have_two_directories(
        self, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Noon(datetime.datetime):
            @classmethod
            def now(cls, tz: datetime.tzinfo | None = None) -> "Noon":
                return cls(2000, 1, 1, 12)

        monkeypatch.setattr(datetime, "datetime", Noon)
        monkeypatch.chdir(tmp_path)
        started = []

        def train(config: object, workdir: Workdir, **options: object) -> None:
            workdir.check_free()
            with workdir.hold():
                workdir.write("config.json", "{}")
                started.append(workdir.path)

        monkeypatch.setattr("flax_imdb.experiment.train", train)
        for _ in range(3):
            assert cli.run(cli.command("train"), ["--data-dir", str(reviews)], "train.py") == 0
        name = "runs/lstm-20000101-120000"
        assert started == [Path(name), Path(f"{name}-2"), Path(f"{name}-3")]


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
            ("--seed 4294967295 --runs 2", "--runs 2 with --seed 4294967295 needs seeds"),
            ("--max-length 1000000000000", "--max-length 1000000000000 is too large: 1000000"),
            (
                "--dataset mnist",
                "--dataset mnist is none of auto, imdb_reviews, synthetic, nor a file or folder",
            ),
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
            ("--averaging -1", "--averaging -1.0 makes no sense: a number from 0 to 1000000 is"),
            ("--averaging nan", "--averaging nan makes no sense"),
            ("--freeze-embeddings", "--freeze-embeddings has no effect: --embeddings must name"),
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
            ("--data-dir=", "--data-dir is empty: name a directory"),
            ("--data-dir=~nobody-of-this-name/x", "~nobody-of-this-name/x: there is no such home"),
            ("--data-dir gs://bucket/x", "--data-dir gs://bucket/x is an address: name a"),
            ("--workdir=", "--workdir is empty: name a directory"),
            ("--workdir= --resume", "--workdir is empty: name a directory"),
            ("--workdir /dev/null", "error: /dev/null cannot be read: Not a directory"),
            (f"--workdir {'a' * 300}", "cannot be read: File name too long"),
            (f"--workdir {'a' * 300} --resume", "cannot be read: File name too long"),
            ("--workdir caf\udce9", r"/caf\udce9 is not UTF-8 in this locale"),
            ("--resume", "--resume needs --workdir"),
            ("--epoch 3", "Unrecognized options: --epoch, 3"),
            ("lstm", "Unrecognized options: lstm"),
            ("--epochs", "Missing value for argument '--epochs'"),
        ],
    )
    def test_a_bad_flag_of_train_is_one_line_and_status_2(
        self,
        args: str,
        message: str,
        capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert cli.run(cli.command("train"), args.split(), "train.py") == 2
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
        assert (
            cli.run(cli.command("train"), [*args.split(), "--data-dir", "/nowhere"], "train.py")
            == 2
        )
        assert capsys.readouterr().err.startswith("error: --data-dir /nowhere is not a directory")

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (MemoryError("Unable to allocate 9 GiB"), "Unable to allocate 9 GiB"),
            (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 bytes"), "RESOURCE_EXHAUSTED: 9"),
        ],
    )
    def test_out_of_memory_is_one_line_that_says_what_to_try(
        self, error: Exception, message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def command(args: list[str], prog: str) -> int:
            raise error

        assert cli.run(command, [], "train.py") == 1
        said = capsys.readouterr().err
        assert said.startswith("error: out of memory: a smaller --batch-size, --microbatches 4 or")
        assert message in said
        assert said.count("\n") == 1

    def test_ctrl_c_before_it_trains_says_that_nothing_was_saved(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """There is nothing to continue: what is in the directory is another run, or none."""

        def interrupted(*args: object, **options: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("flax_imdb.experiment.train", interrupted)
        assert cli.run(cli.command("train"), ["--workdir", "new"], "train.py") == 130
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

        monkeypatch.setattr("flax_imdb.cli.program.is_one_of_several", lambda: True)
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
            (["predict", "--workdir", "", "text"], "--workdir is empty: name a directory"),
            (["evaluate", "--workdir", "a" * 300], "cannot be read: File name too long"),
            (["evaluate", "--workdir", "~nobody-of-this-name"], "there is no such home directory"),
        ],
    )
    def test_a_bad_argument_of_the_installed_command_is_one_line_and_status_2(
        self, args: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(args) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert message in error

    def test_a_workdir_that_cannot_be_made_is_one_line_of_a_process(self, tmp_path: Path) -> None:
        """A workdir that cannot be made, and a run that is in the way."""
        (tmp_path / "file").write_text("")
        for args, message in (
            (("--workdir", tmp_path / "file" / "run"), "cannot be read: Not a directory"),
            (("--workdir", tmp_path / "file"), "cannot be read: Not a directory"),
        ):
            done = train("--dataset", "synthetic", *args)
            assert done.returncode == 2
            assert message in done.stderr
            assert done.stderr.count("\n") == 1
