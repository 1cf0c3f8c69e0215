"""What benchmarks/abstaining.py measures."""

import json
from pathlib import Path

import abstaining
import numpy as np
import pytest
from untrained import calibrated, untrained

from flax_imdb.data import Examples

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "abstain.json"


def test_texts_of_unknown_words_have_none_that_is_known() -> None:
    model = untrained()
    texts = abstaining.unknown_texts(model, 200)
    known = set(model.vocabulary.words)
    assert not any(known & set(text.split()) for text in texts)
    lengths = [len(text.split()) for text in texts]
    assert min(lengths) == 1
    assert max(lengths) == model.config.data.longest


def test_redrawn_rows_cover_as_often_as_was_asked_for() -> None:
    rng = np.random.default_rng(0)
    second = rng.random(3000).astype(np.float32)
    labels = (rng.random(3000) < second**2).astype(np.int32)  # The probabilities are wrong.
    probabilities = np.stack([1 - second, second], 1)
    for row in abstaining.redrawn(probabilities, labels, rows=500, draws=300):
        error = np.sqrt(row["stated"] * (1 - row["stated"]) * (1 / 500 + 1 / 2500))
        assert row["mean"] == pytest.approx(row["stated"], abs=0.004)
        assert row["std"] == pytest.approx(error, rel=0.25)


def test_generated_texts_speak_of_their_class_most() -> None:
    texts, labels = abstaining.generate(500, seed=1)
    assert abstaining.generate(500, seed=1) == (texts, labels)
    assert set(labels) == set(abstaining.CLASSES)
    most = [
        max(abstaining.CLASSES, key=lambda name: sum(w[:-1] == name for w in text.split()))
        for text in texts
    ]
    assert 0.6 < np.mean(np.array(most) == labels) < 0.95


def test_scores_are_those_of_all_coverages() -> None:
    model = calibrated(untrained())
    rng = np.random.default_rng(0)
    texts = [rng.integers(2, 13, length).astype(np.int32) for length in rng.integers(1, 9, 40)]
    examples = Examples.build([*texts, np.array([1, 2, 2])], rng.integers(0, 2, 41))
    probabilities = np.stack([1 - rng.random(41), rng.random(41)], 1).astype(np.float32)
    found = abstaining.scores(model, examples, probabilities)
    assert (found["texts"], found["unknown"] > 0) == (41, True)
    assert [each["stated"] for each in found["sets"]] == [*abstaining.COVERAGES]
    coverages = [each["coverage"] for each in found["sets"]]
    assert coverages == sorted(coverages)


def test_the_committed_results_have_what_the_page_says() -> None:
    found = json.loads(RESULTS.read_text())
    for run in found["reviews"]:
        assert run["unknown"]["whole_sets"] == run["unknown"]["abstained"] == 500
        for each in run["redrawn"]:
            # Draws of the same rows are not independent: the rows are a draw themselves.
            assert each["mean"] == pytest.approx(each["stated"], abs=0.01)


@pytest.mark.long
def test_it_measures_the_estimator() -> None:
    found = abstaining.measure_classes(seed=1, rows=600, tests=300, epochs=2)
    assert sum(found["sets"][0]["sizes"]) == 300
