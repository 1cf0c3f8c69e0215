"""What the benchmark of the recipes measures."""

import json
from pathlib import Path

import pytest
import recipes

from flax_imdb import cli
from flax_imdb.config import RECIPES


@pytest.mark.parametrize("ngrams", [0, 2])
def test_each_head_alone(reviews: Path, tmp_path: Path, ngrams: int) -> None:
    small = ["--features", "2", "--vocab-size", "20", "--max-length", "10", "--epochs", "2"]
    flags = ["--data-dir", str(reviews), "--wide-buckets", "100", "--wide-ngrams", str(ngrams)]
    assert (
        cli.run(
            cli.command("train"),
            [*flags, *small, "--batch-size", "8", "--workdir", str(tmp_path)],
            "train.py",
        )
        == 0
    )
    heads = recipes.accuracy_of_heads(tmp_path)
    if ngrams == 0:
        result = json.loads((tmp_path / "result.json").read_text())
        assert heads == {"lstm": pytest.approx(result["test_accuracy"])}
    else:
        assert heads.keys() == {"lstm", "ngrams"}
        assert heads["ngrams"] > 0.9  # A word decides these reviews.


def test_what_is_published_is_what_was_measured_with_the_settings_of_today() -> None:
    published = json.loads(recipes.PUBLISHED.read_text())
    assert published.keys() == RECIPES.keys()
    for name, results in published.items():
        assert results == json.loads((recipes.RESULTS / f"{name}.json").read_text())
        assert results["settings"] == RECIPES[name].settings
        assert len(results["rows"]) >= 5
