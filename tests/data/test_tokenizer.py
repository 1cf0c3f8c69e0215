"""Words to ids."""

import numpy as np

from flax_imdb.data import Vocabulary


class TestVocabulary:
    def test_ids_go_by_frequency_then_by_code_point(self) -> None:
        vocabulary = Vocabulary.build([["b", "a", "c"], ["c", "é", "a", "b", "z"]])
        assert vocabulary.words == ("a", "b", "c", "z", "é")
        np.testing.assert_array_equal(vocabulary.encode(["c", "é", "new"]), [1, 5, 7, 2])
        assert vocabulary.encode([]).dtype == np.int32

    def test_the_order_of_the_reviews_does_not_matter(self) -> None:
        reviews = [["x", "y"], ["y", "z"], ["z", "x"]]
        assert Vocabulary.build(reviews).words == Vocabulary.build(reviews[::-1]).words

    def test_limited_counts_the_special_tokens(self) -> None:
        vocabulary = Vocabulary(["a", "b", "c"]).limited(5)
        assert len(vocabulary) == 5
        np.testing.assert_array_equal(vocabulary.encode(["b", "c"]), [1, 4, 2])
