"""Texts to words, as people type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras.src.legacy.preprocessing.text import text_to_word_sequence

from flax_imdb.data import split_words


class TestKeras:
    def test_words_are_lower_case_and_without_punctuation(self) -> None:
        text = "It's GREAT<br /><br />really: 10/10 (wow)!\tfin"
        assert split_words(text, "keras") == ["it's", "great", "really", "10", "10", "wow", "fin"]

    @given(st.text(alphabet=st.characters(max_codepoint=127, exclude_characters="<")))
    def test_ascii_text_is_split_as_by_keras(self, text: str) -> None:
        """Keras separates at the blank alone; we at all white space, as Python does."""
        keras_words = text_to_word_sequence(" ".join(text.split()))
        assert split_words(text, "keras") == keras_words


class TestUnicode:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            # Word processors and phones
            ("awful—just awful", "awful just awful"),
            ("awful…", "awful"),
            ("“great”, ‘great’, «great», 'great'", "great great great great"),
            ("don’t DON´T dogs' rock'n'roll", "don't don't dogs rock'n'roll"),
            ("co-op and a_b", "co op and a b"),
            ("Disney™ costs £5", "disney costs 5"),
            # Invisible characters, and several spellings of one
            ("\ufeffgreat gr\u200beat gr\u00adeat\u2060", "great great great"),
            ("cafe\u0301 caf\u00e9", "café café"),
            ("ＧＲＥＡＴ ﬁlm", "great film"),
            ("STRASSE Straße", "strasse strasse"),
            # Web pages
            ("it&#39;s &quot;good&quot; &amp;quot;good&amp;quot;", "it's good good"),
            ("one<br/>two<BR>three<br />four", "one two three four"),
            ('a <a href="x.html" target=new>link</a>, <b>bold</b><!-- hidden -->', "a link bold"),
            (r"one\nand two\n", "one and two"),
            # What only looks like markup
            ("AT&T, R&D; &copy b", "at t r d copy b"),
            (
                "x < y and z > w <3 I <really> liked a <b and c> d",
                "x y and z w 3 i really liked a b and c d",
            ),
            # Other scripts
            ("Привет, мир!", "привет мир"),
            ("नमस्ते दुनिया।", "नमस्ते दुनिया"),
            ("좋은 영화", "좋은 영화"),
            ("می‌خواهم", "میخواهم"),
            ("很好看 movie", "很 好 看 movie"),
            ("すごいスーパー映画", "す ご い スー パー 映 画"),
            ("หนังดี", "ห นั ง ดี"),
            ("loved it 👍🏽❤️😀", "loved it 👍 ❤ 😀"),
        ],
    )
    def test_a_text_has_the_words_that_it_means(self, text: str, words: str) -> None:
        assert split_words(text) == words.split()

    @given(text=st.text() | st.text("aé'’<b>/&;#39 \\n-…界ー́"))
    def test_words_are_the_words_of_themselves(self, text: str) -> None:
        words = split_words(text)
        assert split_words(" ".join(words)) == words

    @given(text=st.text(st.characters(max_codepoint=127)))
    def test_plain_ascii_has_the_words_of_keras(self, text: str) -> None:
        """Without markup, control characters, and apostrophes at the ends of words."""
        text = "".join(letter for letter in text if letter.isprintable() and letter not in "<&\\'")
        assert split_words(text) == split_words(text, "keras")

    @pytest.mark.parametrize(
        "text", ["<" * 10**6, "&" * 10**6, "<a " * 10**5, "<a" + " x=1" * 10**5, "<!--" * 10**5]
    )
    def test_hostile_texts_are_split_like_others(self, text: str) -> None:
        """What is quadratic would take hours."""
        assert set(split_words(text)) <= {"a", "x", "1"}
