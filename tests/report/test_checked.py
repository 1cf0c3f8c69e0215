"""The command ``check``: what it prints, writes and refuses."""

import csv
import io
import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from checked_rows import checked, rows_of, write

from flax_imdb import cli
from flax_imdb.report.checked import draw_checked


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a fault of each kind."""
    rows = rows_of(200)
    rows[5] = (rows[5][0], "neg")
    rows[9] = (f"{rows[9][0]} \ufffd", "Pos")
    rows[30] = (f"\x1b[31m {rows[30][0]}", "neg")
    rows += [rows[20], (rows[21][0], "neg")]
    rows = [(f"Reuters report: {t}" if n % 6 == 1 else t, of) for n, (t, of) in enumerate(rows)]
    return write(tmp_path_factory.mktemp("faulty") / "rows.csv", rows)


def run(*args: object) -> int:
    return cli.main(["check", *map(str, args)])


class TestConsole:
    def test_it_says_what_was_found(self, faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(faulty) == 0
        shown = capsys.readouterr()
        assert "rows.csv: 202 rows, " in shown.out
        assert "2 classes: neg 103, pos 99" in shown.out
        assert "are probably wrong" in shown.out
        assert "line 7: neg; " in shown.out
        assert "shortcut: pos: begins with 'reuters'" in shown.out
        assert "the last doubling added" in shown.out
        assert "spelling (" in shown.out
        assert "U+FFFD REPLACEMENT CHARACTER" in shown.out
        assert "warning: labels that differ by case or blanks alone" in shown.err

    def test_a_text_cannot_steer_the_terminal(
        self, faulty: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run(faulty)
        assert "\x1b[31m" not in capsys.readouterr().out

    def test_where_nothing_is_doubtful_it_says_so(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(write(tmp_path / "rows.csv", rows_of(300))) == 0
        shown = capsys.readouterr()
        assert shown.out.endswith("nothing is doubtful\n")
        assert shown.err == ""


class TestFiles:
    def test_the_rows_are_written(
        self, faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        output = tmp_path / "doubtful.csv"
        assert run(faulty, "--output", output) == 0
        with output.open(newline="") as file:
            rows = [*csv.DictReader(file)]
        assert capsys.readouterr().out.endswith(f"{len(rows):,} rows written to {output}\n")
        with faulty.open(newline="") as file:
            reader = csv.reader(file)
            lines = dict(enumerate(reader, 1))
        for row in rows:
            text, label = lines[int(row["line"])]
            assert row["label"] == label
            assert row["text"] == " ".join(text.split())[:160]

    def test_json_is_all_that_is_printed(
        self, faulty: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(faulty, "--json") == 0
        (line,) = capsys.readouterr().out.splitlines()
        assert json.loads(line) == json.loads(json.dumps(checked(faulty).content()))

    def test_a_picture_is_drawn(self, faulty: Path, tmp_path: Path) -> None:
        picture = tmp_path / "picture.png"
        assert run(faulty, "--picture", picture) == 0
        image = matplotlib.image.imread(io.BytesIO(picture.read_bytes()), format="png")
        assert image.shape[:2] == (1050, 1350)

    @pytest.mark.parametrize("settings", [{}, {"multi_label": True, "allow_no_labels": True}])
    def test_few_rows_and_strange_names_can_be_drawn(self, tmp_path: Path, settings: dict) -> None:
        rows = [(f"text{n}", ("$x$|&", "名前")[n % 2]) for n in range(12)]
        found = checked(write(tmp_path / "rows.csv", rows), **settings)
        assert np.ptp(matplotlib.image.imread(io.BytesIO(draw_checked(found)))) > 0

    def test_files_that_are_there_are_kept(
        self, faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for flag in ("--output", "--picture"):
            path = tmp_path / flag.strip("-")
            path.write_text("mine")
            assert run(faulty, flag, path) == 2
            assert (
                capsys.readouterr().err == f"error: {flag} {path} exists: --overwrite replaces it\n"
            )
            assert path.read_text() == "mine"
            assert run(faulty, flag, path, "--overwrite") == 0
            capsys.readouterr()
            assert path.read_bytes() != b"mine"

    def test_what_is_checked_is_not_replaced(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        dataset, test = (write(tmp_path / name, rows_of(20)) for name in ("rows.csv", "test.csv"))
        (tmp_path / "link.csv").symlink_to(dataset)
        before = dataset.read_bytes()
        args = ("rows.csv", "--test-dataset", "test.csv", "--overwrite")
        assert run(*args, "--output", "link.csv") == 2
        message = "error: --output link.csv is part of the dataset, rows.csv: give another name\n"
        assert capsys.readouterr().err == message
        assert run(*args, "--picture", test) == 2
        assert f"{test} is part of --test-dataset, test.csv" in capsys.readouterr().err
        assert run(*args, "--output", "a", "--picture", "./a") == 2
        assert "--output and --picture are both a: give one" in capsys.readouterr().err
        assert dataset.read_bytes() == test.read_bytes() == before

    def test_a_folder_that_is_checked_gets_no_new_files(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for label in ("pos", "neg"):
            (tmp_path / "texts" / label).mkdir(parents=True)
        assert run(tmp_path / "texts", "--output", tmp_path / "texts" / "pos" / "a.txt") == 2
        assert "a.txt is part of the dataset" in capsys.readouterr().err


class TestBadInput:
    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["missing.csv"], "FILE missing.csv is no file or folder"),
            (["-"], "FILE - is no file or folder"),
            (["imdb"], "FILE imdb is none of auto, imdb_reviews, synthetic"),
            (["rows.csv", "--overwrite"], "--overwrite has no effect: it is for a file"),
            (
                ["rows.csv", "--output", "no/where.csv"],
                "--output no/where.csv: there is no directory",
            ),
            (["rows.csv", "--text-columns", "body"], "--text-columns body is not a column"),
            (["rows.csv", "--label-separator", ";"], "--label-separator ; has no effect"),
            (["rows.csv", "--test-fraction", "0"], "--test-fraction 0.0 makes no sense"),
            (["rows.csv", "--encoding", "x"], "--encoding x is unknown"),
            (["rows.csv", "--data-dir", "."], "--data-dir . has no effect"),
            (["empty.csv"], "empty.csv is empty"),
            (["one.csv"], "one.csv: column label has one label alone"),
            (["walks.npz"], "FILE walks.npz holds numeric sequences: check is for texts"),
            ([], "missing from flax-imdb check: FILE"),
        ],
    )
    def test_it_is_one_line(
        self,
        args: list[str],
        message: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        write(tmp_path / "rows.csv", rows_of(20))
        write(tmp_path / "one.csv", [("a", "x"), ("b", "x")])
        (tmp_path / "empty.csv").touch()
        values = {"inputs": np.zeros((40, 1)), "lengths": [5] * 8, "labels": np.arange(8) % 2}
        np.savez(tmp_path / "walks.npz", **values)  # type: ignore[arg-type]
        assert run(*args) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.lower().startswith(f"error: {message}".lower())
        assert shown.err.count("\n") == 1
