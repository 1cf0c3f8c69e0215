"""Several labels of a text, from a file to every answer."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_rows import written
from sklearn.metrics import accuracy_score, f1_score
from small_runs import assert_same_run, dying_after, quiet_train

import flax_imdb
from flax_imdb.cli import main
from flax_imdb.config import ExperimentConfig
from flax_imdb.data import DataConfig
from flax_imdb.errors import InputError
from flax_imdb.export import html, safetensors, write
from flax_imdb.models import ModelConfig
from flax_imdb.predict import TrainedModel
from flax_imdb.serve import Limits
from flax_imdb.serve.model import Served
from flax_imdb.serve.page import Page
from flax_imdb.training import TrainConfig
from flax_imdb.training.checkpoints import CheckpointConfig

NAMES = ("calm", "dark", "loud")
BOTH = "a calm film and loud people"
NONE = "a film of people"


def rows(number: int) -> list[dict[str, Any]]:
    """Texts whose labels are words in them."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(number):
        labels = [name for name in NAMES if rng.random() < 0.4]
        filler = rng.choice(["a", "film", "of", "people", "and", "story"], 4).tolist()
        made.append({"text": " ".join(rng.permutation([*labels, *filler])), "labels": labels})
    return made


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ExperimentConfig:
    """With both heads, adversarial training and smoothed labels."""
    lines = [json.dumps(row, allow_nan=False) for row in rows(240)]
    file = written(tmp_path_factory.mktemp("data") / "several.jsonl", lines)
    return ExperimentConfig(
        ModelConfig("conv_lstm", embedding_features=8, features=8, wide_ngrams=2, wide_buckets=100),
        DataConfig(dataset=str(file), multi_label=True, validation_examples=40, max_length=12),
        TrainConfig(
            epochs=5,
            batch_size=16,
            learning_rate=0.03,
            adversarial_norm=0.1,
            label_smoothing=0.05,
        ),
    )


@pytest.fixture(scope="module")
def finished(
    config: ExperimentConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], str]:
    """A run: its directory, result and console."""
    workdir = tmp_path_factory.mktemp("run") / "new"
    return workdir, *quiet_train(config, workdir)


@pytest.fixture(scope="module")
def model(finished: tuple[Path, dict[str, Any], str]) -> TrainedModel:
    return flax_imdb.load(finished[0])


def test_a_run_learns_and_scores_as_scikit_learn_does(
    finished: tuple[Path, dict[str, Any], str], model: TrainedModel
) -> None:
    workdir, result, console = finished
    examples = model.test_examples()
    evaluation = model.predict_examples(examples)
    assert result["micro_f1"] > 0.9
    for average in ("micro", "macro"):
        expected = f1_score(examples.labels, evaluation.predicted, average=average)
        assert result[f"{average}_f1"] == pytest.approx(expected)
    assert result["test_accuracy"] == accuracy_score(examples.labels, evaluation.predicted)
    assert f"micro F1 {result['micro_f1']:.2%}, macro F1" in console
    assert "3 labels, of which a text has any number: calm, dark, loud" in console
    assert console.endswith(f"Accuracy: {result['test_accuracy']:.2%}\n")
    assert result["baseline_accuracy"] > 0.5
    epochs = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
    losses = [epoch["eval_loss"] for epoch in epochs]
    assert result["reported_epoch"] == 1 + losses.index(min(losses))


def test_the_thresholds_are_kept_with_the_run(
    finished: tuple[Path, dict[str, Any], str], model: TrainedModel
) -> None:
    assert model.info.threshold_of == finished[1]["thresholds"]
    assert {*model.info.threshold_of.values()} != {0.5}
    assert model.result is not None
    assert model.result.thresholds == model.info.threshold_of


def test_without_validation_rows_they_are_a_half(config: ExperimentConfig, tmp_path: Path) -> None:
    data = dataclasses.replace(config.data, validation_examples=0)
    training = dataclasses.replace(config.training, epochs=1)
    once = dataclasses.replace(config, data=data, training=training)
    result, _ = quiet_train(once, tmp_path / "run", baseline=False)
    assert result["thresholds"] == dict.fromkeys(NAMES, 0.5)


def test_a_run_that_dies_goes_on_to_the_same_bits(
    config: ExperimentConfig, finished: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    often = CheckpointConfig(checkpoint_steps=3)
    with dying_after(22):
        quiet_train(config, tmp_path / "run", checkpoints=often)
    quiet_train(config, tmp_path / "run", resume=True, checkpoints=often)
    assert_same_run(tmp_path / "run", finished[0])
    ours, theirs = (run / "vocabulary.json" for run in (tmp_path / "run", finished[0]))
    assert ours.read_text() == theirs.read_text()


def test_predictions_are_the_labels_above_their_thresholds(model: TrainedModel) -> None:
    both, none = model.predict([BOTH, NONE])
    assert both.labels == ("calm", "loud")
    assert none.labels == ()
    assert both.label in ("calm", "loud")
    for prediction in (both, none):
        above = [
            name
            for name, probability in prediction.probabilities.items()
            if probability > model.info.threshold_of[name]
        ]
        assert prediction.labels == tuple(above)
    with pytest.raises(AttributeError, match="a text may have several labels: see probabilities"):
        _ = both.probability


def test_the_commands_answer(
    finished: tuple[Path, dict[str, Any], str],
    model: TrainedModel,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = ["--workdir", str(finished[0])]
    assert main(["predict", *run, BOTH, NONE]) == 0
    assert capsys.readouterr().out == "calm|loud\n-\n"
    assert main(["predict", *run, "--json", BOTH]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "labels": ["calm", "loud"],
        "probabilities": model.predict([BOTH])[0].probabilities,
    }
    assert main(["evaluate", *run]) == 0
    assert capsys.readouterr().out.endswith(f"Accuracy: {finished[1]['test_accuracy']:.2%}\n")
    assert main(["explain", *run, "--json", BOTH]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == ["calm", "loud"]


def test_a_flag_that_is_on_may_be_given_again(
    finished: tuple[Path, dict[str, Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--multi-label", "--resume", "--workdir", str(finished[0])]
    assert main(command) == 0
    assert capsys.readouterr().out.endswith(f"Accuracy: {finished[1]['test_accuracy']:.2%}\n")
    assert main([*command, "--no-multi-label"]) == 2
    assert "--multi-label False is not what the run was started with" in capsys.readouterr().err


def test_each_label_has_words_of_its_own(model: TrainedModel) -> None:
    (explanation,) = model.explain([BOTH])
    assert explanation.labels == ("calm", "loud")
    assert explanation.differences.keys() == {*NAMES}
    assert explanation.complete
    for name in ("calm", "loud"):
        strongest = max(explanation.words, key=lambda word: word.weights[name])
        assert strongest.word == name
    (one,) = model.explain([BOTH], classes=["calm"])  # Of two the first could not be.
    assert one.differences.keys() == {"calm"}


def test_what_is_served_says_the_labels(model: TrainedModel) -> None:
    served = Served(model)
    (answer,) = served.predict([BOTH])
    assert answer["labels"] == ["calm", "loud"]
    assert "label" not in answer
    page = Page(served.about, Limits())(BOTH, answer=served.explain(BOTH))
    assert '<strong id="label" dir="auto">calm, loud</strong>' in page
    assert page.count("<td>\u2713</td>") == 2
    assert "<td></td>" in page  # Of the third.
    page = Page(served.about, Limits())(NONE, answer=served.explain(NONE))
    assert ">none of the labels</strong>" in page


def test_exports_keep_the_thresholds(model: TrainedModel, tmp_path: Path) -> None:
    safetensors.write(model, tmp_path / "hub")
    again = flax_imdb.load(tmp_path / "hub")
    assert again.info.threshold_of == model.info.threshold_of
    assert [each.labels for each in again.predict([BOTH, NONE])] == [("calm", "loud"), ()]
    assert json.loads((tmp_path / "hub" / "config.json").read_text())["problem_type"] == (
        "multi_label_classification"
    )
    assert "print(prediction.labels" in (tmp_path / "hub" / "README.md").read_text()
    write(model, "onnx", tmp_path / "model.onnx")
    about = json.loads((tmp_path / "model.onnx.json").read_text())
    assert about["multi_label"] is True
    assert dict(zip(about["classes"], about["thresholds"], strict=True)) == model.info.threshold_of


def test_the_page_of_one_file_marks_the_labels(model: TrainedModel, tmp_path: Path) -> None:
    html.write(model, tmp_path / "page.html")
    engine = html.opened(tmp_path / "page.html")
    engine.eval("const answers = (texts) => texts.map((text) => classifier.answer(text));")
    both, none = engine.call("answers", [BOTH, NONE])
    assert (both["labels"], none["labels"]) == (["calm", "loud"], [])
    expected = model.predict([BOTH])[0].probabilities
    assert dict(both["shown"]) == pytest.approx(expected, abs=1e-5)


def test_the_report_has_a_table_of_labels_and_no_confusion(
    finished: tuple[Path, dict[str, Any], str],
) -> None:
    page = (finished[0] / "report.html").read_text()
    assert "Scores by label" in page
    assert "Micro F1" in page
    assert "Confusion matrix" not in page
    assert "of texts with all labels right: accuracy on" in page


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--class-weights", "balanced"], "--class-weights balanced makes no sense with --multi-"),
        (["--label-separator", "|"], "has no label"),
    ],
)
def test_what_makes_no_sense_is_refused_before_training(
    flags: Sequence[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "a.csv", ["text,labels", *["x,a|b", "y,a", "z,"] * 5])
    run = ["--workdir", str(tmp_path / "run")]
    assert main(["train", "--dataset", str(file), "--multi-label", *flags, *run]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "run").exists()


def test_reviews_have_one_label() -> None:
    with pytest.raises(InputError, match="`multi_label` True has no effect with `dataset` syn"):
        flax_imdb.data.load_dataset(DataConfig(dataset="synthetic", multi_label=True))
