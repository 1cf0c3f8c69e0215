"""What the benchmark of explanations measures."""

from pathlib import Path

import explanations
from small_runs import experiment, quiet_train

import flax_imdb
from flax_imdb.explain import Explanation, Word


def test_words_are_removed_where_they_stand() -> None:
    words = (Word("a", 0, 1, {}), Word("good", 2, 6, {}), Word("good", 8, 12, {}))
    explanation = Explanation("A good, good film", "x", {}, {}, words)
    assert explanations.without(explanation, [2]) == "A good,      film"
    assert explanations.without(explanation, [0, 1]) == "      , good film"


def test_without_the_word_that_decides_the_answer_changes(reviews: Path, tmp_path: Path) -> None:
    quiet_train(experiment(reviews, arch="lstm", epochs=3), tmp_path)
    model = flax_imdb.load(tmp_path)
    filler = "the film was a story of people"
    texts = [f"{filler} bad and time", f"good {filler} and time"] * 4
    found = explanations.deletion(model, model.explain(texts))
    assert found["reviews"] == 8
    assert found["probability"] > 0.8
    assert found["probability_without_top"] < found["probability_without_random"]
    assert found["changed_without_random"] < found["changed_without_top"]
