"""Numeric sequences of the user's own, from a file to answers, as the commands do it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import assert_same_run, dying_after, quiet_train
from untrained import untrained

import flax_imdb
from flax_imdb import DataConfig, ExperimentConfig, LSTMClassifier, ModelConfig, TrainConfig
from flax_imdb.cli import main
from flax_imdb.data import Standardizer
from flax_imdb.export import safetensors
from flax_imdb.workdir import Workdir

SMALL = (
    *("--features", "8", "--max-length", "8", "--batch-size", "8", "--learning-rate", "0.05"),
    *("--epochs", "6", "--validation-examples", "10"),
)


def arrays(rows: int = 70, seed: int = 0) -> dict[str, Any]:
    """Sequences of two features, whose class is whether the first one rises."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 9, rows)
    inputs = rng.normal([10, -500], [2, 40], (lengths.sum(), 2))
    ends = np.cumsum(lengths)
    labels = np.arange(rows) % 2
    inputs[ends - 1, 0] = np.where(labels, 20, 0)
    inputs[ends - lengths, 0] = np.where(labels, 0, 20)
    names = ["speed", "height"]
    return {
        "inputs": inputs,
        "lengths": lengths,
        "labels": np.array(["falls", "rises"])[labels],
        "feature_names": names,
    }


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "trips.npz"
    np.savez(path, **arrays())
    return path


@pytest.fixture(scope="module")
def run(file: Path) -> Path:
    run = file.with_name("run")
    assert main(["train", "--dataset", str(file), "--workdir", str(run), *SMALL]) == 0
    return run


def test_a_run_has_all_its_files(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    assert (result["dataset"], result["classes"]) == ("trips.npz", ["falls", "rises"])
    assert (result["train_examples"], result["test_examples"]) == (46, 14)
    assert result["test_accuracy"] > 0.9
    assert result["baseline_accuracy"] is None
    info = json.loads((run / "vocabulary.json").read_text())
    assert info["features"] == ["speed", "height"]
    np.testing.assert_allclose(info["mean"], [10, -500], rtol=0.1)
    assert "words" not in info
    page = (run / "report.html").read_text()
    assert "14 test sequences" in page
    assert "In steps, as the model reads them: of longer sequences it reads the last 8" in page
    assert "texts" not in page.partition("<body")[2].partition("<h2")[0]


def test_it_is_scored_again_and_on_others(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accuracy = json.loads((run / "result.json").read_text())["test_accuracy"]
    assert main(["evaluate", "--workdir", str(run)]) == 0
    assert f"Accuracy: {accuracy:.2%}" in capsys.readouterr().out
    np.savez(tmp_path / "more.npz", **arrays(30, seed=1))
    assert main(["evaluate", "--workdir", str(run), "--dataset", f"{tmp_path}/more.npz"]) == 0
    others, labels = sequences_of(arrays(30, seed=1))
    score = LSTMClassifier.load(run).score(others, labels)
    assert f"Accuracy: {score:.2%}" in capsys.readouterr().out


def sequences_of(content: dict[str, Any]) -> tuple[list[np.ndarray], np.ndarray]:
    parts = np.split(content["inputs"], np.cumsum(content["lengths"])[:-1])
    return parts, content["labels"]


def test_it_predicts_the_sequences_of_a_file(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = arrays(5, seed=2)
    del content["labels"]
    np.savez(tmp_path / "new.npz", **content)
    ask = ["predict", "--workdir", str(run), "--input", str(tmp_path / "new.npz")]
    parts = np.split(content["inputs"], np.cumsum(content["lengths"])[:-1])
    expected = flax_imdb.load(run).predict(parts)
    assert main([*ask, "--json"]) == 0
    printed = capsys.readouterr().out
    answers = [json.loads(line) for line in printed.splitlines()]
    assert answers == [
        {"label": each.label, "probabilities": each.probabilities} for each in expected
    ]
    output = tmp_path / "answers.jsonl"
    assert main([*ask, "--json", "--output", str(output)]) == 0
    assert output.read_text() == printed
    assert main([*ask, "--json", "--output", str(output)]) == 2
    assert main(ask) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{each.probability:.4f}\t{each.label}" for each in expected
    ]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["predict", "a text"], "this model reads numeric sequences: give them in an .npz file"),
        (["predict", "--input", "x.csv"], "--input x.csv does not end in .npz, as numeric"),
        (["explain", "a text"], "this model reads numeric sequences, and explain is for texts"),
        (["serve", "--port", "0"], "this model reads numeric sequences, and serve is for texts"),
        (["evaluate", "--dataset", "x.csv"], "--dataset x.csv does not end in .npz"),
        (["evaluate", "--dataset", "{bad}"], "step 1, feature 1 (speed) is nan: a finite number"),
        (
            ["evaluate", "--dataset", "{other}"],
            "the features are height, speed, and speed, height are needed, in this order",
        ),
        (["evaluate", "--dataset", "{wide}"], "the sequences have 3 features, and 2 are needed"),
        (["predict", "--input", "{bad}"], "bad.npz: inputs: sequence 1, step 1, feature 1 (speed)"),
        (
            ["predict", "--input", "{bad}", "--encoding", "ascii"],
            "--encoding ascii is for texts, and these are numeric sequences",
        ),
        (["export", "--format", "html", "--output", "{new}"], "--format html cannot hold a model"),
        (
            ["export", "--format", "keras", "--output", "{new}.keras"],
            "--format keras cannot hold a model that reads numeric sequences",
        ),
    ],
)
def test_what_makes_no_sense_is_one_line_and_leaves_nothing(
    run: Path,
    tmp_path: Path,
    command: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = arrays(6)
    bad = content["inputs"].copy()
    bad[0, 0] = np.nan
    wide = np.pad(content["inputs"], ((0, 0), (0, 1)))
    np.savez(tmp_path / "bad.npz", **content | {"inputs": bad})
    np.savez(tmp_path / "other.npz", **content | {"feature_names": ["height", "speed"]})
    np.savez(tmp_path / "wide.npz", **content | {"inputs": wide, "feature_names": [*"abc"]})
    before = {path.name for path in tmp_path.iterdir()}
    named = {name: f"{tmp_path}/{name}.npz" for name in ("bad", "other", "wide")}
    given = [part.format(**named, new=f"{tmp_path}/new") for part in command]
    assert main([*given, "--workdir", str(run)]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--baseline",), "this model reads numeric sequences, and --baseline is for texts"),
        (("--recipe", "strong"), "is for texts, and these are numeric sequences"),
        (("--ngrams", "2"), "--ngrams 2 is for texts, and these are numeric sequences"),
        (("--padding", "keras"), "--padding keras is for texts"),
        (("--data-dir", "."), "--data-dir . is for texts"),
        (("--layout", "channels-first"), "lengths adds up to"),
        (("--init-from", "RUN", "--freeze-embeddings"), "--freeze-embeddings has no effect: numer"),
    ],
)
def test_settings_that_have_no_effect_are_refused_before_anything_is_written(
    file: Path,
    run: Path,
    tmp_path: Path,
    flags: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [str(run) if flag == "RUN" else flag for flag in flags]
    new = tmp_path / "run"
    assert main(["train", "--dataset", str(file), "--workdir", str(new), *given]) == 2
    assert message in capsys.readouterr().err
    assert not new.exists()


def test_a_model_of_texts_refuses_sequences(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ("--workdir", f"{tmp_path}/run")
    safetensors.write(untrained(), tmp_path / "run")
    for command in (["evaluate", "--dataset", str(file)], ["predict", "--input", str(file)]):
        assert main([*command, *run]) == 2
        assert f"{file} holds numeric sequences, and texts are needed" in capsys.readouterr().err


def test_a_run_that_died_goes_on_to_the_same_bits(file: Path, tmp_path: Path) -> None:
    """In the second of its epochs, with dropout and balanced weights."""
    config = ExperimentConfig(
        ModelConfig("lstm_dropout", features=8, word_dropout=0.1),
        DataConfig(dataset=str(file), max_length=3, validation_examples=10),
        TrainConfig(epochs=2, batch_size=8, learning_rate=0.05, class_weights="balanced"),
    )
    whole, _ = quiet_train(config, tmp_path / "whole")
    with dying_after(8):
        quiet_train(config, tmp_path / "died")
    resumed, _ = quiet_train(config, tmp_path / "died", resume=True)
    assert_same_run(tmp_path / "died", tmp_path / "whole")
    assert resumed["test_accuracy"] == whole["test_accuracy"]


def test_a_run_on_other_sequences_does_not_go_on(
    run: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "trips.npz", **arrays(seed=9))
    resume = ["train", "--resume", "--workdir", str(run), "--dataset", f"{tmp_path}/trips.npz"]
    assert main(resume) == 2
    assert "holds other sequences than the run was trained on" in capsys.readouterr().err
    assert Workdir(run).result() is not None


def test_each_seed_of_several_runs_standardizes_alike(file: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    flags = ["--runs", "2", "--epochs", "1"]
    assert main(["train", "--dataset", str(file), "--workdir", str(run), *SMALL, *flags]) == 0
    infos = [(run / f"seed-{seed}" / "vocabulary.json").read_text() for seed in (7, 8)]
    assert infos[0] == infos[1]
    assert json.loads((run / "summary.json").read_text())["runs"] == 2
    assert isinstance(flax_imdb.load(run / "seed-7").info.inputs, Standardizer)
