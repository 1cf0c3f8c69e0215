"""The whole way on the real reviews."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
from rich.console import Console

from flax_imdb.config import ExperimentConfig
from flax_imdb.data import Batching, DataConfig, load_dataset
from flax_imdb.experiment import train
from flax_imdb.models import ModelConfig
from flax_imdb.predict import load
from flax_imdb.training import TrainConfig


def test_the_reviews_are_encoded_as_ever(imdb_reviews_dir: Path) -> None:
    """The ids are pinned: another vocabulary or another split of words would change them."""
    dataset = load_dataset(DataConfig(data_dir=str(imdb_reviews_dir)))
    assert dataset.info.name == "imdb_reviews"
    assert not dataset.note
    assert len(dataset.info.vocabulary) == 5000
    digest = hashlib.sha256()
    for examples in (dataset.train, dataset.test):
        assert len(examples) == 25_000
        digest.update(examples.tokens.tobytes())
    assert digest.hexdigest() == "5d8afc11db671aabef4e5899fb09c47f4ad5f9b91c448bb48182bb2a74281a5f"


def test_grouping_by_length_halves_what_is_computed(imdb_reviews_dir: Path) -> None:
    """As docs/data.md says."""
    train = load_dataset(DataConfig(data_dir=str(imdb_reviews_dir))).train
    plan = Batching(64, 500).plan_epoch(train, seed=7, epoch=1)
    longest = [train.lengths[planned.indices].max() for planned in plan]
    assert round(np.mean(longest)) == 234
    assert round(train.lengths.mean()) == 219


def test_a_run_learns_and_its_model_evaluates_and_predicts(
    imdb_reviews_dir: Path, tmp_path: Path
) -> None:
    config = ExperimentConfig(
        model=ModelConfig(arch="conv_lstm", features=16),
        data=DataConfig(
            data_dir=str(imdb_reviews_dir), max_length=40, train_examples=1024, test_examples=256
        ),
        training=TrainConfig(epochs=3, learning_rate=5e-3),
    )
    result = train(config, tmp_path, console=Console(file=io.StringIO()))
    assert result.dataset == "imdb_reviews"
    losses = [json.loads(line)["train_loss"] for line in (tmp_path / "metrics.jsonl").open()]
    assert losses[-1] < 0.9 * losses[0]
    assert result.test_accuracy > 0.6
    model = load(tmp_path)
    assert model.evaluate() == (result.test_loss, result.test_accuracy)
    good, bad = model.predict(["wonderful, one of the best", "the worst, a terrible waste of time"])
    assert good.probability > bad.probability
