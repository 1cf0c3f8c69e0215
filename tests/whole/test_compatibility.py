"""A run that version 0.1.0 left: run_of_0.1.0.tar.gz, of two epochs on synthetic reviews."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

import flax_imdb
from flax_imdb.cli import main

# What 0.1.0 printed of it, and of its third epoch.
LOSS_AND_ACCURACY = (0.692423939704895, 0.59375)
PROBABILITIES = {"a good film": 0.4983591139316559, "a dull and long one": 0.49837878346443176}
THIRD_EPOCH = {
    "train_loss": 0.6920301616191864,
    "train_accuracy": 0.5625,
    "eval_loss": 0.6919074654579163,
    "eval_accuracy": 0.59375,
}

ARCHIVE = Path(__file__).with_name("run_of_0.1.0.tar.gz")


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        if hasattr(tarfile, "data_filter"):  # From Python 3.11.4 on.
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(tmp_path / "run")
    return tmp_path / "run"


def test_it_is_loaded_evaluated_and_predicts_as_it_did(old_run: Path) -> None:
    model = flax_imdb.load(old_run)
    np.testing.assert_allclose(model.evaluate(), LOSS_AND_ACCURACY, rtol=1e-5)
    probabilities = [prediction.probability for prediction in model.predict(list(PROBABILITIES))]
    np.testing.assert_allclose(probabilities, list(PROBABILITIES.values()), rtol=1e-5)


def test_it_is_resumed_as_0_1_0_resumed_it(old_run: Path) -> None:
    """Without what later versions do by default: clipping, and averages of the parameters."""
    assert main(["train", "--resume", "--epochs", "3", "--workdir", str(old_run)]) == 0
    record = json.loads((old_run / "metrics.jsonl").read_text().splitlines()[-1])
    assert (record["epoch"], record["step"]) == (3, 6)
    steps = [json.loads(line) for line in (old_run / "steps.jsonl").open()]
    assert [step["step"] for step in steps] == [5, 6]  # Of the earlier ones nothing is known.
    assert "each step" in (old_run / "report.html").read_text("utf-8")
    for name, value in THIRD_EPOCH.items():
        np.testing.assert_allclose(record[name], value, rtol=1e-5)
