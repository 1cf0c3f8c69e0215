"""``tokenizer.json``, read by Hugging Face's tokenizers: where its ids are ours, and where not."""

import dataclasses
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pieces import PIECES
from tokenizers import Tokenizer
from untrained import untrained

from flax_imdb.data import Vocabulary, split_words
from flax_imdb.data.words import TextRules
from flax_imdb.errors import InputError
from flax_imdb.export.tokenizer_json import tokenizer_json

# Of all versions of Unicode that any of the libraries may have.
CHARACTERS = [
    character
    for character in map(chr, range(0x110000))
    if unicodedata.ucd_3_2_0.category(character) not in ("Cn", "Co", "Cs")
]


def made(words: Sequence[str], rules: TextRules = "unicode", **data: Any) -> Tokenizer:
    """The tokenizer of a model with these words and settings of the data."""
    model = untrained()
    config = dataclasses.replace(
        model.config,
        data=dataclasses.replace(
            model.config.data, **{"max_length": 100, "vocab_size": 100, **data}
        ),
    )
    info = dataclasses.replace(model.info, inputs=Vocabulary(words, rules))
    return Tokenizer.from_str(tokenizer_json(dataclasses.replace(model, config=config, info=info)))


@pytest.fixture(scope="module")
def tokenizers() -> dict[TextRules, Tokenizer]:
    return {"keras": made([], "keras"), "unicode": made([], "unicode")}


def words(tokenizer: Tokenizer, text: str) -> list[str]:
    """What a text is split into, in lower case, as the words stand in the file."""
    normalized = tokenizer.normalizer.normalize_str(text)
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalized)]


def ours(text: str, rules: TextRules) -> list[str]:
    return ["<start>", *(word.lower() for word in split_words(text, rules))] if text else []


def is_joined(character: str) -> bool:
    """Whether it is a number that stays with the letters beside it; a docs page says which."""
    decomposed = unicodedata.normalize("NFKC", character)
    taken_apart = "\N{FRACTION SLASH}" in decomposed or (
        decomposed.isdecimal() and len(decomposed) == 1
    )
    return unicodedata.category(character) == "No" and not taken_apart


def has_iota_below(character: str) -> bool:
    return "\u0345" in unicodedata.normalize("NFKD", character)


class TestTheSameIds:
    @pytest.mark.parametrize(
        ("rules", "text"),
        [
            ("keras", "It's GREAT<br /><br />really: 10/10 (wow)!\tfin \x1c a\xa0b"),
            ("keras", "ΟΔΥΣΣΕΥΣ ΣΑΣ. Σ Α'Σ İ"),
            ("unicode", "“It’s” \x93GREAT\x94<br/>so 3½ of 5 &amp;quot;caf\u00e9&quot; CAFE\u0301"),
            ("unicode", "ΟΔΥΣΣΕΥΣ Straße ᾳ ᾼα İI ᲀ ﬁlm ｶﾞ 很好 🇩🇪👍🏽"),
            ("unicode", "Ꭰꭰ Ᏸᏸ ᏣᎳᎩ ǰ"),
        ],
    )
    @pytest.mark.parametrize("known", [1.0, 0.5])
    def test_texts_have_them(self, rules: TextRules, text: str, known: float) -> None:
        all_words = [*dict.fromkeys(split_words(text, rules))]
        vocabulary = Vocabulary(all_words[: int(known * len(all_words))], rules)
        expected = vocabulary.encode(split_words(text, rules))
        assert made(vocabulary.words, rules).encode(text).ids == expected.tolist()

    @given(
        text=st.text(st.sampled_from(CHARACTERS)) | st.lists(st.sampled_from(PIECES)).map("".join)
    )
    def test_keras_has_no_other_texts(self, tokenizers: Any, text: str) -> None:
        assert words(tokenizers["keras"], text) == ours(text, "keras")

    @given(
        text=st.text(st.sampled_from(CHARACTERS)) | st.lists(st.sampled_from(PIECES)).map("".join)
    )
    def test_unicode_has_few_other_texts(self, tokenizers: Any, text: str) -> None:
        text = "".join(each for each in text if not is_joined(each) and not has_iota_below(each))
        assert words(tokenizers["unicode"], text) == ours(text, "unicode")

    @pytest.mark.parametrize("rules", ["keras", "unicode"])
    def test_every_character_but_some_numbers_is_read_alike(
        self, tokenizers: Any, rules: TextRules
    ) -> None:
        """Alone, between letters, and behind one."""
        alike = [each for each in CHARACTERS if rules == "keras" or not is_joined(each)]
        for text in joined(alike):
            assert words(tokenizers[rules], text) == ours(text, rules)
        assert len(alike) > 90_000

    def test_words_without_an_embedding_are_unknown(self) -> None:
        tokenizer = made(["good", "bad", "film"], vocab_size=5)
        assert tokenizer.encode("a good bad film").ids == [1, 2, 3, 4, 2]
        assert tokenizer.get_vocab_size() == 5

    def test_special_words_that_someone_typed_are_words(self) -> None:
        for rules in ("keras", "unicode"):
            tokenizer = made(["pad"], rules)
            assert tokenizer.encode("<pad><start> <unk>").ids == [1, 3, 2, 2]
            assert tokenizer.encode("<start> pad").ids == [1, 2, 3]


def joined(characters: Sequence[str]) -> Iterator[str]:
    for first in range(0, len(characters), 500):
        yield " ".join(f"{each} a{each}b 1{each}" for each in characters[first:][:500])


class TestOtherIds:
    @pytest.mark.parametrize(
        ("text", "here", "there"),
        [
            # Numbers beside letters
            ("alien⑪", "alien 11", "alien11"),
            ("❶one", "❶ one", "❶one"),
            ("a፩b", "a ፩ b", "a፩b"),
            # Entities of other characters than those of HTML itself, quotes, spaces and dashes
            ("caf&eacute;", "café", "caf eacute"),
            ("&#233;t&#xE9;", "été", "233 t xe9"),
            ("&#x1F44D;", "👍", "x1f44d"),
            # An iota below a letter that has another mark, which no letter has with it
            ("ᾳ̣", "αι̣", "ᾳ̣".replace("ᾳ", "α") + "ι"),
            # Characters that came to Unicode after version 11 and stand for others
            ("㋿", "令 和", "㋿"),
        ],
    )
    def test_words_differ_in_few_ways(
        self, tokenizers: Any, text: str, here: str, there: str
    ) -> None:
        assert split_words(text) == here.split()
        assert words(tokenizers["unicode"], text)[1:] == there.split()

    @pytest.mark.parametrize("rules", ["keras", "unicode"])
    def test_an_empty_text_has_none(self, rules: TextRules) -> None:
        tokenizer = made([], rules)
        assert tokenizer.encode("").ids == []
        assert tokenizer.encode(" ").ids == tokenizer.encode("!").ids == [1]


class TestLengths:
    @pytest.mark.parametrize(("most", "ids"), [(4, [1, 3, 4, 5]), (3, [3, 4, 5]), (1, [5])])
    def test_a_long_text_keeps_its_end(self, most: int, ids: list[int]) -> None:
        """What goes first is the <start>."""
        assert made(["good", "bad", "film"], max_length=most).encode("good bad film").ids == ids

    def test_or_its_start_or_as_much_as_all_windows_cover(self) -> None:
        text = " ".join(["good"] * 9 + ["bad"])
        head = made(["good", "bad"], max_length=3, long="head").encode(text)
        assert head.ids == [1, 3, 3]
        windows = made(["good", "bad"], max_length=2, long="windows").encode(text)
        assert windows.ids == [*[3] * 8, 4]

    def test_a_batch_is_padded_as_the_model_reads_it(self) -> None:
        texts = ["good", "good bad film good", ""]
        masked = made(["good", "bad", "film"]).encode_batch(texts)
        assert [of_text.ids for of_text in masked] == [[1, 3, 0, 0, 0], [1, 3, 4, 5, 3], [0] * 5]
        assert [sum(of_text.attention_mask) for of_text in masked] == [2, 5, 0]
        keras = made(["good", "bad", "film"], max_length=4, padding="keras").encode_batch(texts)
        assert [of_text.ids for of_text in keras] == [[0, 0, 1, 3], [3, 4, 5, 3], [0] * 4]


def test_the_library_that_it_takes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match="is not installed: pip install tokenizers"):
        tokenizer_json(untrained())
