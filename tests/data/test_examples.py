"""Ragged examples, and how texts become them."""

import numpy as np
import pytest
from few_reviews import FewReviews
from sklearn.utils.class_weight import compute_class_weight

from flax_imdb.data import Examples, encode


def review(examples: Examples, i: int) -> list[int]:
    return examples.at(examples.starts[i] + np.arange(examples.lengths[i])).tolist()


class TestExamples:
    def test_limited_keeps_the_end_and_the_frequent_words(self) -> None:
        limited = encode(FewReviews(), "keras").train.limited(vocab_size=5, max_length=2)
        assert [review(limited, i) for i in range(3)] == [[3, 4], [2, 4], [1, 3]]
        assert limited.at(np.arange(3)).dtype == limited.lengths.dtype == np.int32

    def test_limited_copies_no_token(self) -> None:
        """There may be more than fit into memory."""
        examples = encode(FewReviews(), "keras").train
        assert examples.limited(5, 2).inputs is examples.inputs
        assert examples.limited(5, 100).lengths is examples.lengths
        assert examples.limited(5, 2).limited(4, 9).vocab_size == 4

    def test_limited_keeps_the_start_if_that_is_asked_for(self) -> None:
        limited = encode(FewReviews(), "keras").train.limited(5, 2, "first")
        assert [review(limited, i) for i in range(3)] == [[1, 3], [1, 2], [1, 3]]

    def test_balanced_weighs_all_classes_alike(self) -> None:
        labels = np.array([0, 2, 2, 2, 0, 2])  # of class 1 there is none
        examples = Examples.build([np.array([1])] * 6, labels).balanced()
        expected = compute_class_weight("balanced", classes=np.array([0, 2]), y=labels)
        np.testing.assert_allclose(examples.weights, expected[labels // 2], rtol=1e-6)
        assert examples.weights.sum() == pytest.approx(6)

    def test_take_remembers_the_ids(self) -> None:
        taken = encode(FewReviews(), "keras").train.take(np.array([2, 0]))
        assert [review(taken, i) for i in range(2)] == [[1, 3], [1, 3, 3, 4]]
        np.testing.assert_array_equal(taken.ids, [2, 0])
        np.testing.assert_array_equal(taken.labels, [1, 1])


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_ids_are_counted_in_what_is_left_of_the_texts(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("flax_imdb.data.examples._COUNTED_AT_ONCE", at_once)
    texts = [np.array([1, 5, 3]), np.array([1, 3, 3]), np.array([1, 4]), np.array([1])]
    examples = Examples.build(texts, np.zeros(4)).limited(5, 2).take(np.array([0, 1, 3]))
    np.testing.assert_array_equal(examples.counts(6), [0, 1, 1, 3, 0, 0])
    assert examples.known_share(6) == 3 / 4
    assert examples.take(np.array([2])).known_share(6) == 1


def test_tokens_are_spread_in_the_order_of_the_examples() -> None:
    texts = [np.array([1, 5, 6]), np.array([], np.int32), np.array([1, 7])]
    examples = Examples.build(texts, np.zeros(3)).limited(100, 2).take(np.array([2, 1, 0]))
    owners, steps, tokens = examples.spread()
    np.testing.assert_array_equal(owners, [0, 0, 2, 2])
    np.testing.assert_array_equal(steps, [0, 1, 0, 1])
    np.testing.assert_array_equal(tokens, [1, 7, 5, 6])


def test_texts_of_unknown_words_are_found_among_what_is_read() -> None:
    texts = [[1, 2, 2], [1, 2, 5], [1], [1, 9, 2, 2], [0, 1, 9], [3, 2, 2, 2]]
    examples = Examples.build([np.array(text, np.int32) for text in texts], np.zeros(6))
    assert examples.are_unknown().tolist() == [True, False, True, False, False, False]
    # Of the last one the end alone is read, and 9 is no word of so small a vocabulary.
    limited = examples.limited(9, 3)
    assert limited.are_unknown().tolist() == [True, False, True, True, True, True]
    assert examples.limited(9, 3, "first").are_unknown()[-1] == False  # noqa: E712
    assert limited.take(np.array([1, 0])).are_unknown().tolist() == [False, True]
