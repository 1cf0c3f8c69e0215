"""The texts of benchmarks/multi_label.py, and what it measures."""

import multi_label
import numpy as np
import pytest


def test_the_rule_is_right_but_for_the_wrong_labels() -> None:
    rows = multi_label.generate(2000)
    assert rows == multi_label.generate(2000)
    ruled = multi_label.by_rule([row["text"] for row in rows])
    labels = np.array([[name in row["labels"] for name in multi_label.LABELS] for row in rows])
    wrong = np.mean(ruled != labels) / multi_label.SAID
    assert wrong == pytest.approx(multi_label.WRONG, abs=0.01)
    assert 0 < labels.sum(axis=1).min() + 1 < labels.sum(axis=1).max()


def test_the_words_of_a_label_say_that_a_text_speaks_of_it_and_no_more() -> None:
    for row in multi_label.generate(100):
        words = set(row["text"].replace(",", "").split())
        for name in multi_label.LABELS:
            assert (f"{name}-a" in words) == (f"{name}-b" in words)
            if name in row["labels"]:
                assert f"{name}-a" in words


def test_all_scores_are_measured_on_the_same_rows() -> None:
    found = multi_label.measure(rows=200, validation=30, epochs=1, seeds=1)
    assert len(found["seeds"]) == 1
    for scores in (found["rule"], found["word_counts"], found["word_counts_thresholds"]):
        assert scores.keys() == {"accuracy", "micro_f1", "macro_f1"}
    assert found["rule"]["micro_f1"] > 0.9
    # Of the labels that a text speaks of it has one in two.
    assert found["word_counts_thresholds"]["micro_f1"] < 0.8
