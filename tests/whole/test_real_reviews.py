"""The whole way on the real reviews."""

import hashlib
import io
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from dataset_shapes import write_imdb
from rich.console import Console

from flax_imdb.config import ExperimentConfig
from flax_imdb.data import Batching, DataConfig, load_dataset
from flax_imdb.data.sources import find_reviews
from flax_imdb.data.words import TextRules
from flax_imdb.experiment import train
from flax_imdb.models import ModelConfig
from flax_imdb.predict import load
from flax_imdb.training import TrainConfig


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "keras",
            "5d8afc11db671aabef4e5899fb09c47f4ad5f9b91c448bb48182bb2a74281a5f",
            marks=pytest.mark.long,  # test_words.py compares these rules with Keras's.
        ),
        ("unicode", "16874b9b1995f02a7734ea5967016e86fee8c37fd108cdbdece0dadbb4b5a5cb"),
    ],
)
def test_the_reviews_are_encoded_as_ever(
    imdb_reviews_dir: Path, text: TextRules, expected: str
) -> None:
    """The ids are pinned: another vocabulary or another split of words would change them."""
    dataset = load_dataset(DataConfig(data_dir=str(imdb_reviews_dir), text=text))
    assert dataset.info.name == "imdb_reviews"
    assert not dataset.note
    assert len(dataset.info.vocabulary) == 5000
    digest = hashlib.sha256()
    for examples in (dataset.train, dataset.test):
        assert len(examples) == 25_000
        digest.update(examples.at(np.arange(len(examples.inputs))).tobytes())
    assert digest.hexdigest() == expected


@pytest.fixture(scope="module")
def as_csv(imdb_reviews_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The reviews in the shape of Kaggle's file, a file for each split, in their order."""
    source, directory = (
        find_reviews("imdb_reviews", imdb_reviews_dir),
        tmp_path_factory.mktemp("csv"),
    )
    paths = {}
    for setting, split in (("dataset", "train"), ("test_dataset", "test")):
        texts, labels = source.read(split)  # type: ignore[arg-type]
        (directory / split).mkdir()
        names = [source.classes[label] for label in labels]
        paths[setting] = str(write_imdb(directory / split, texts, names))
    return paths


def test_a_file_of_the_reviews_gives_the_same_ids_and_batches(
    imdb_reviews_dir: Path, as_csv: dict[str, str]
) -> None:
    ours = load_dataset(DataConfig(data_dir=str(imdb_reviews_dir)))
    theirs = load_dataset(DataConfig(**as_csv))  # type: ignore[arg-type]
    assert theirs.info.classes == ours.info.classes
    assert theirs.info.vocabulary.words == ours.info.vocabulary.words
    for split in ("train", "test"):
        for name, array in vars(getattr(ours, split)).items():
            np.testing.assert_array_equal(getattr(getattr(theirs, split), name), array)
    batching = Batching(64, 500)
    plans = [batching.plan_epoch(data.train, seed=7, epoch=1) for data in (ours, theirs)]
    for mine, yours in zip(*plans, strict=True):
        jax.tree.map(
            np.testing.assert_array_equal,
            batching.make(ours.train, mine),
            batching.make(theirs.train, yours),
        )


def test_a_file_of_the_reviews_gives_the_same_accuracy(
    imdb_reviews_dir: Path, as_csv: dict[str, str], tmp_path: Path
) -> None:
    size = {"max_length": 100, "train_examples": 1000, "test_examples": 500}
    results = []
    for name, where in (("tfds", {"data_dir": str(imdb_reviews_dir)}), ("csv", as_csv)):
        config = ExperimentConfig(
            model=ModelConfig(arch="conv_lstm", features=16),
            data=DataConfig(**where, **size),  # type: ignore[arg-type]
            training=TrainConfig(epochs=1),
        )
        console = Console(file=io.StringIO())
        result = train(config, tmp_path / name, console=console, baseline=False)
        results.append((result.test_loss, result.test_accuracy, load(tmp_path / name).state.params))
    (loss, accuracy, params), (other_loss, other_accuracy, other_params) = results
    assert (loss, accuracy) == (other_loss, other_accuracy)
    jax.tree.map(np.testing.assert_array_equal, params, other_params)


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
