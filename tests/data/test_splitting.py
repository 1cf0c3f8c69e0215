"""The words of many texts at once, beside those of each text."""

import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pieces import PIECES

from flax_imdb.data.splitting import split_many
from flax_imdb.data.words import TextRules, split_words

RULES = pytest.mark.parametrize("rules", ["keras", "unicode"])
MADE = st.lists(st.sampled_from([*PIECES, *"\x00\x1c\t\r\x7f\x85\xa0\u2028ΣIL", "<br />", "''"]))
TEXTS = st.lists(MADE.map("".join) | st.text(st.characters(exclude_categories=["Cs"])))


@RULES
@given(texts=TEXTS)
@example([""])
@example(["a", "", "' b '", "<b x=", "> c", "&amp", ";lt;", "\\", "n"])
@example(["d'", "'é", "é'", "'d", "l'été d'", "ΑΣ", "Σ"])
def test_the_words_are_those_of_each_text(rules: TextRules, texts: list[str]) -> None:
    different, numbers, lengths = split_many(texts, rules)
    found = np.split(np.array(different, object)[numbers], np.cumsum(lengths)[:-1]) if texts else []
    assert [list(words) for words in found] == [split_words(text, rules) for text in texts]
    assert len(set(different)) == len(different)
    assert numbers.dtype == lengths.dtype == np.int32


@pytest.mark.parametrize(
    "text", ["a" * 1_000_000 + "é", "é " * 500_000, "'" * 1_000_000, "я" * 1_000_000]
)
def test_no_text_takes_long(text: str) -> None:
    """Otherwise this takes hours."""
    assert sum(split_many([text]).lengths) == len(re.findall(r"\w+", text))
