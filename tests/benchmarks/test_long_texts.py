"""What the benchmark of long texts measures."""

from pathlib import Path

import numpy as np
import pytest
from long_texts import accuracies, long_ones, measure
from small_runs import experiment

from flax_imdb.data import Examples, load_dataset


def test_accuracy_over_all_and_over_long_texts() -> None:
    examples = Examples.build([np.array([1])] * 4, np.array([0, 1, 1, 0]))
    predicted = np.array([0, 1, 0, 0])
    is_long = np.array([True, False, True, False])
    assert accuracies(predicted, examples, is_long) == {"all": 0.75, "long": 0.5}
    assert accuracies(predicted, examples, ~is_long) == {"all": 0.75, "long": 1.0}
    assert accuracies(predicted, examples, np.zeros(4, bool)) == {"all": 0.75, "long": None}


def test_a_text_is_long_if_it_has_more_tokens_than_are_read_at_once(reviews: Path) -> None:
    """All have ten words, and the one of their start."""
    for max_length, long in ((10, True), (11, False)):
        data = experiment(reviews, validation_examples=16, max_length=max_length).data
        found = long_ones(data)
        assert {split: set(of_split) for split, of_split in found.items()} == {
            "validation": {long},
            "test": {long},
        }


@pytest.mark.parametrize("long", ["tail", "windows"])
def test_the_best_epoch_is_evaluated(reviews: Path, long: str) -> None:
    config = experiment(reviews, epochs=3, validation_examples=16, max_length=8, long=long)
    dataset = load_dataset(config.data)
    row = measure(config, dataset, {"validation": np.ones(16, bool), "test": np.ones(40, bool)})
    assert row["epoch_seconds"] > 0
    assert row["validation"]["all"] == row["validation"]["long"] > 0.6
    assert row["test"]["all"] > 0.6
