"""Texts to words, as people type them."""

import hashlib
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras.src.legacy.preprocessing.text import text_to_word_sequence
from pieces import PIECES

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
            ("awful… or\u2028worse", "awful or worse"),
            ("“great”, ‘great’, «great», 'great', „great“", "great great great great great"),
            ("don’t DON´T don\x92t dogs' rock'n'roll", "don't don't don't dogs rock'n'roll"),
            ("co-op co‐op and a_b", "co op co op and a b"),
            ("Disney™ costs £5", "disney costs 5"),
            ("3½ of 5, Alien³, ①②", "3 1 2 of 5 alien 3 1 2"),
            ("good\x96bad \x93fine\x94", "good bad fine"),
            # Invisible characters, and several spellings of one
            ("\ufeffgreat gr\u200beat gr\u00adeat\u2060", "great great great"),
            ("cafe\u0301 caf\u00e9 cafe\u200b\u0301", "café café café"),
            ("¨great¨ \u0301great", "great great"),
            ("ＧＲＥＡＴ ﬁlm 𝐠𝐫𝐞𝐚𝐭 ⓗⓔⓛⓛⓞ", "great film great hello"),
            ("STRASSE Straße", "strasse strasse"),
            # Web pages
            ("it&#39;s &quot;good&quot; &amp;quot;good&amp;quot;", "it's good good"),
            ("good&nbsp;bad &#8211; &#x1F44D; it&rsquo;s", "good bad 👍 it's"),
            ("it&amp;amp;amp;#39;s &amp;lt;br&amp;gt; &amp;c.", "it's c"),
            ("one<br/>two<BR>three<br />four</p><p>five", "one two three four five"),
            ('a <a href="x.html" target=new>link</a>, <b>bold</b><!-- hidden -->', "a link bold"),
            ("<p class=x hidden>one</p><hr/><H1>two</H1>", "one two"),
            ("&lt;i&gt;really&lt;/i&gt; good", "really good"),
            (r"one\nand two\n", "one and two"),
            # What only looks like markup
            ("AT&T, R&D; &copy b &copyright; &", "at t r d copy b copyright"),
            (
                "x < y and z > w <3 I <really> liked a <b and c> d",
                "x y and z w 3 i really liked a b and c d",
            ),
            ("<spoiler>he dies</spoiler> <> <-- so", "spoiler he dies spoiler so"),
            # Other scripts
            ("Привет, мир!", "привет мир"),
            ("ΣΟΦΟΣ σοφός", "σοφοσ σοφόσ"),
            ("İyi IŞIK", "iyi işik"),
            ("नमस्ते दुनिया।", "नमस्ते दुनिया"),
            ("السَّلامُ عليكم، ٣", "السَّلامُ عليكم ٣"),
            ("좋은 영화", "좋은 영화"),
            ("می‌خواهم", "میخواهم"),
            ("很好看 movie", "很 好 看 movie"),
            ("iPhone很好2024年", "iphone 很 好 2024 年"),
            ("すごいスーパー映画", "す ご い スー パー 映 画"),
            ("ﾊﾟﾘ、ガ", "パ リ ガ"),
            ("หนังดี", "ห นั ง ดี"),
            ("ຮູບເງົາ រឿង ရုပ်ရှင်", "ຮູ ບ ເ ງົ າ រឿ ង ရု ပ် ရှ င်"),
            # Emoji and other signs
            ("loved it 👍🏽❤️😀", "loved it 👍 ❤ 😀"),
            ("so👍good 🫨", "so 👍 good 🫨"),
            ("👩‍❤️‍👨 🇩🇪🇫🇷 1️⃣", "👩 ❤ 👨 🇩🇪 🇫🇷 1"),
            ("★★☆ ♥ ✓", "★ ★ ☆ ♥ ✓"),
            ("• ● ━━ → © \ufffd 5€ :)", "5"),
            ("", ""),
        ],
    )
    def test_a_text_has_the_words_that_it_means(self, text: str, words: str) -> None:
        assert split_words(text) == words.split()

    @given(text=st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
    def test_words_are_the_words_of_themselves(self, text: str) -> None:
        words = split_words(text)
        assert split_words(" ".join(words)) == words

    @given(text=st.text(st.characters(max_codepoint=127)))
    def test_plain_ascii_has_the_words_of_keras(self, text: str) -> None:
        """Without markup, control characters, and apostrophes at the ends of words."""
        text = "".join(letter for letter in text if letter.isprintable() and letter not in "<&\\'")
        assert split_words(text) == split_words(text, "keras")

    @given(text=st.text(st.characters(max_codepoint=127)) | st.text("aB1' -\x00"))
    def test_ascii_has_the_same_words_beside_other_characters(self, text: str) -> None:
        assert split_words(f"{text} é") == [*split_words(text), "é"]

    @given(text=st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
    def test_equivalent_spellings_have_the_same_words(self, text: str) -> None:
        """Without what is markup, or another character, with or without a mark on it."""
        text = re.sub("[<&\\\\\u1ffd]", "", text)
        decomposed = unicodedata.normalize("NFD", text)
        assert split_words(decomposed) == split_words(unicodedata.normalize("NFC", text))

    def test_versions_of_unicode_do_not_matter(self) -> None:
        """The words of all characters of Unicode 3.2, which every Python knows."""
        characters = [chr(code) for code in range(0x110000)]
        known = [
            each for each in characters if unicodedata.ucd_3_2_0.category(each) not in ("Cn", "Cs")
        ]
        words = split_words(" ".join(f"{each} a{each}b ก{each}" for each in known))
        digest = hashlib.sha256(" ".join(words).encode()).hexdigest()
        assert digest == "a5b396ab366626324f729f0332021d691326637f3ca15cd4ab15a17328955f98"

    @pytest.mark.parametrize(
        "text",
        [
            *("<" * 10**6, "&" * 10**6, "&" + "amp;" * 10**5, "&amp;" * 10**5),
            *("<a " * 10**5, "<a" + " x=1" * 10**5, "<a" + " " * 10**6, "<!--" * 10**5),
            *("<a b=" + " " * 10**6, "<a b" + " " * 10**6, "<a " + "b" * 10**6),
            *("a" + "\u0315\u0300" * 10**5, "a" + "ﾞ\u0315" * 10**5),
        ],
        ids=lambda text: ascii(text[:9]),
    )
    def test_hostile_texts_are_split_like_others(self, text: str) -> None:
        """What is quadratic would take hours."""
        assert len(set(split_words(text))) <= 3
