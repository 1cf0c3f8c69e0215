"""Texts of the user's own, from a file to answers, as the commands do it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import flax_imdb
from flax_imdb.cli import main

SMALL = (
    *("--features", "8", "--embedding-features", "8", "--max-length", "12", "--batch-size", "8"),
    *("--learning-rate", "0.05", "--epochs", "6"),
)
WORDS = {"2": "awful", "10": "fine", "9": "so-so"}


def write(path: Path, rows: int = 120, labels: tuple[str, ...] = ("2", "10", "9")) -> Path:
    """A file whose texts have a word for their label; a tenth of them of the first class."""
    rng = np.random.default_rng(0)
    lines = ["review,stars,id"]
    for i in range(rows):
        label = labels[0] if i % 10 == 0 else labels[1 + i % (len(labels) - 1)]
        filler = " ".join(rng.choice(["the", "film", "was", "a", "story"], 6))
        lines.append(f'"{filler}, {WORDS[label]}!",{label},{i}')
    path.write_text("\n".join(lines))
    return path


def train(file: Path, run: Path, *flags: str) -> int:
    return main(["train", "--dataset", str(file), "--workdir", str(run), *SMALL, *flags])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A file and a run on it."""
    directory = tmp_path_factory.mktemp("own")
    file = write(directory / "stars.csv")
    assert train(file, directory / "run") == 0
    return file, directory / "run"


class TestTrain:
    def test_the_result_says_what_a_person_wants_to_know(self, trained: tuple[Path, Path]) -> None:
        result = json.loads((trained[1] / "result.json").read_text())
        assert result["dataset"] == "stars.csv"
        assert result["classes"] == ["2", "9", "10"]
        assert (result["train_examples"], result["test_examples"]) == (96, 24)
        assert result["test_accuracy"] == result["baseline_accuracy"] == 1
        assert result["per_class"]["2"]["count"] == 2
        assert result["macro_f1"] == 1
        assert np.trace(result["confusion_matrix"]) == 24
        assert result["roc_auc"] is None
        for name in ("curves.png", "scores.png"):
            assert (trained[1] / name).read_bytes().startswith(b"\x89PNG")

    def test_the_console_says_what_was_chosen_and_warned_of(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = write(tmp_path / "few.csv", rows=40)
        assert train(file, tmp_path / "run", "--no-baseline", "--epochs", "1") == 0
        said = capsys.readouterr()
        assert "review" in said.out
        assert "stars" in said.out
        assert "3 classes: 2, 9, 10" in said.out
        assert "Logistic regression" not in said.out
        assert "warning: " in said.err
        assert "classes with fewer than 10 texts to train on: '2'" in said.err
        assert (
            json.loads((tmp_path / "run" / "result.json").read_text())["baseline_accuracy"] is None
        )

    def test_what_its_classes_do_not_allow_is_refused_before_anything_is_deleted(
        self, trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        file, run = trained
        wide = ("--wide-ngrams", "1", "--wide-buckets", "40000000", "--overwrite")
        assert train(file, run, *wide) == 2
        assert "--wide-buckets 40000000 is too large for 3 classes" in capsys.readouterr().err
        assert (run / "result.json").exists()

    def test_a_result_does_not_depend_on_the_baseline(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fail(*args: object) -> None:
            raise MemoryError("too many words")

        monkeypatch.setattr("flax_imdb.experiment.baseline_accuracy", fail)
        file = write(tmp_path / "stars.csv")
        assert train(file, tmp_path / "run", "--epochs", "1") == 0
        assert "no comparison with word counts: MemoryError: too many" in capsys.readouterr().err
        assert (tmp_path / "run" / "result.json").exists()

    def test_balanced_weights_find_the_rare_class(self, tmp_path: Path) -> None:
        """In labels that contradict each other, nine to one."""
        lines = [f"a film,{'rare' if i % 10 == 0 else 'usual'}" for i in range(100)]
        file = tmp_path / "same.csv"
        file.write_text("\n".join(["text,label", *lines]))
        predicted = []
        for name, flags in (("plain", ()), ("balanced", ("--class-weights", "balanced"))):
            assert train(file, tmp_path / name, *flags) == 0
            (prediction,) = flax_imdb.load(tmp_path / name).predict(["a film"])
            predicted.append(prediction.probabilities["rare"])
        assert predicted[0] < 0.2
        assert 0.35 < predicted[1] < 0.65

    def test_several_runs_have_the_same_split(self, tmp_path: Path) -> None:
        file = write(tmp_path / "stars.csv")
        assert train(file, tmp_path / "run", "--runs", "2", "--epochs", "1") == 0
        summary = json.loads((tmp_path / "run" / "summary.json").read_text())
        assert summary["baseline_accuracy"] == 1
        infos = [(tmp_path / "run" / f"seed-{seed}" / "vocabulary.json") for seed in (7, 8)]
        assert infos[0].read_text() == infos[1].read_text()

    def test_a_run_goes_on_where_its_file_has_moved(
        self, trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = shutil.copytree(trained[1], tmp_path / "run")
        moved = shutil.copy(trained[0], tmp_path / "moved.csv")
        resume = ["train", "--resume", "--workdir", str(run), "--epochs", "7"]
        assert main([*resume, "--dataset", str(moved)]) == 0
        assert json.loads((run / "result.json").read_text())["epochs"] == 7
        other = write(tmp_path / "other.csv", rows=60)
        for epochs in ("7", "8"):  # Finished, or not.
            assert main([*resume, "--epochs", epochs, "--dataset", str(other)]) == 2
            assert "holds other texts than the run was trained on" in capsys.readouterr().err
        assert main([*resume, "--dataset", str(tmp_path / "none.csv")]) == 2
        assert "none.csv is no file or folder" in capsys.readouterr().err

    def test_columns_may_have_any_name(self, tmp_path: Path) -> None:
        file, run = tmp_path / "a.csv", tmp_path / "run"
        file.write_text('"my\ntext",label\n' + "good,1\nbad,2\n" * 20)
        assert train(file, run, "--epochs", "1", "--text-columns", '"my\ntext"') == 0
        assert main(["evaluate", "--workdir", str(run)]) == 0
        assert main(["train", "--resume", "--workdir", str(run), "--epochs", "2"]) == 0


class TestAsk:
    def test_predict_prints_the_class_and_its_probability(
        self, trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        texts = ["the film was a story, fine!", "the film was a story, awful!"]
        assert main(["predict", "--workdir", str(trained[1]), *texts]) == 0
        lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        assert [label for _, label in lines] == ["10", "2"]
        assert all(float(probability) > 0.5 for probability, _ in lines)

    def test_texts_are_counted_with_those_that_cannot_be_read(
        self, trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["predict", "--workdir", str(trained[1]), "", "zzz", "fine"]) == 2
        said = capsys.readouterr()
        assert [line.split("\t")[1] for line in said.out.splitlines()] == ["unreadable", "10", "10"]
        assert "no word is known to the model in 1 of 2 texts (2)" in said.err
        assert "error: text 1: no words in ''" in said.err

    def test_probabilities_are_by_class(self, trained: tuple[Path, Path]) -> None:
        (prediction,) = flax_imdb.load(trained[1]).predict(["it was fine"])
        assert list(prediction.probabilities) == ["2", "9", "10"]
        assert sum(prediction.probabilities.values()) == pytest.approx(1)
        assert prediction.label == "10"
        with pytest.raises(AttributeError, match="3 classes: see probabilities"):
            _ = prediction.probability

    def test_evaluate_scores_another_file(
        self, trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        evaluate = ["evaluate", "--workdir", str(trained[1])]
        other = tmp_path / "other.jsonl"
        rows = [{"review": f"a story, {WORDS[s]}", "stars": int(s)} for s in ("2", "9", "10")]
        other.write_text("\n".join(map(json.dumps, rows)))
        assert main([*evaluate, "--dataset", str(other)]) == 0
        assert capsys.readouterr().out.endswith("\nAccuracy: 100.00%\n")
        other.write_text(json.dumps({"review": "a story", "stars": 3}))
        assert main([*evaluate, "--dataset", str(other)]) == 2
        assert "has labels that no training text has: '3'" in capsys.readouterr().err
        assert main([*evaluate, "--label-column", "stars"]) == 2
        assert "--label-column is of other texts: give them as --dataset" in capsys.readouterr().err
        for flags, message in (
            (["--dataset", ""], "--dataset is empty: name a file or folder"),
            (["--dataset", str(other), "--delimiter", ";"], "--delimiter ; has no effect on"),
        ):
            assert main([*evaluate, *flags]) == 2
            assert message in capsys.readouterr().err
        assert main(evaluate) == 0


class TestBadInput:
    @pytest.mark.parametrize(
        ("content", "flags", "message"),
        [
            ("text,label\ngood,1\n", (), "has one label alone"),
            ("a,b\ngood,1\nbad,2\n", (), "--text-columns"),
            ("text,label\ngood,\nbad,1\nso,2\nok,2\n", (), "line 2 has no label"),
            ("text,label\ngood,1\nbad,2\n", ("--label-column", "x"), "x is not a column of"),
            (
                "text,label\n" + "a,1\nb,2\n" * 9,
                ("--test-fraction", "2"),
                "error: --test-fraction 2.0 makes no sense",
            ),
            ("text,label\n" + "a,1\nb,2\n" * 9, ("--encoding", "x"), "--encoding x is unknown"),
            (None, (), "no file or folder"),
        ],
    )
    def test_it_is_one_line_and_nothing_is_written(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        content: str | None,
        flags: tuple[str, ...],
        message: str,
    ) -> None:
        file = tmp_path / "a.csv"
        if content is not None:
            file.write_text(content)
        assert train(file, tmp_path / "run", *flags) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert message in line
        assert not (tmp_path / "run").exists()

    def test_flags_for_files_have_no_effect_on_reviews(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        flags = ["--dataset", "synthetic", "--label-column", "x", "--workdir", str(tmp_path / "r")]
        assert main(["train", *flags]) == 2
        assert "--label-column x has no effect with --dataset synthetic" in capsys.readouterr().err
