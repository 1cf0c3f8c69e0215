"""Text to words to ids."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from keras.src.legacy.preprocessing.text import text_to_word_sequence

from flax_imdb.data import Vocabulary, split_words


class TestSplitWords:
    def test_markup_and_punctuation_are_left_out_and_case_is_ignored(self) -> None:
        text = 'It\'s <br /><br />"GREAT"--really... 10/10!\tWow\nFin'
        assert split_words(text) == ["it's", "great", "really", "10", "10", "wow", "fin"]

    @given(st.text(alphabet=st.characters(max_codepoint=127, exclude_characters="<")))
    def test_ascii_text_is_split_as_by_keras(self, text: str) -> None:
        """Keras separates at the blank alone; we at all white space, as Python does."""
        keras_words = text_to_word_sequence(" ".join(text.split()))
        assert split_words(text) == keras_words

    def test_markup_does_not_join_words(self) -> None:
        assert split_words("end<br />start") == ["end", "start"]


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
