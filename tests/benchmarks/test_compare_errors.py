"""How reviews are grouped, and which answers are counted."""

import compare_errors
import numpy as np

from flax_imdb.data import Examples, Vocabulary

TEXTS = (
    ["a", "good", "film"],
    ["not", "a", "film", "but", "a", "joke"],
    ["don't", "never", "no", "film"],
    [],
)


def groups() -> compare_errors.Groups:
    vocabulary = Vocabulary.build(TEXTS)
    encoded = [vocabulary.encode(text) for text in TEXTS]
    # In another order, so that starts are not ascending.
    examples = Examples.build(encoded, np.zeros(4)).take(np.array([2, 0, 1, 3]))
    return compare_errors.group(examples, vocabulary)


def test_each_example_is_in_one_group_of_each_kind() -> None:
    for parts in groups().values():
        np.testing.assert_array_equal(np.sum(list(parts.values()), axis=0), 1)


def test_negations_and_contrasts_are_counted_by_word() -> None:
    of = groups()
    np.testing.assert_array_equal(of["negations"]["0"], [False, True, False, True])
    np.testing.assert_array_equal(of["negations"]["1 to 2"], [False, False, True, False])
    np.testing.assert_array_equal(of["negations"]["3 to 5"], [True, False, False, False])
    np.testing.assert_array_equal(of["contrasts"]["1"], [False, False, True, False])


def test_answers_are_counted_in_means_over_the_seeds() -> None:
    ours = np.array([[True, True, False], [True, False, False]])
    counts = np.array([True, False, True])
    everything, first = compare_errors.compare(
        {"words": {"0": np.array([True, False, False])}}, ours, counts
    )
    assert everything == {
        "by": "",
        "group": "all",
        "reviews": 3,
        "both": 1.0,
        "recipe_alone": 0.5,
        "word_counts_alone": 1.0,
    }
    assert (first["reviews"], first["both"]) == (1, 1.0)
