"""Where words stand in texts, as people type them."""

import itertools
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pieces import PIECES

from flax_imdb.data import split_words
from flax_imdb.data.spans import word_spans
from flax_imdb.data.words import TextRules


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not good, just good", ["not", "good", "just", "good"]),
        ("great", ["great"]),
        ("", []),
        (" ... ", []),
        # What the rules undo inside of a word is part of it, and what is beside it is not.
        ("I don&apos;t like <b>it</b> &amp; that.", ["I", "don&apos;t", "like", "it", "that"]),
        ("a<a href='x y'>link here</a> so", ["a", "link", "here", "so"]),
        ("a won\u00adder\u200bful ﬁlm", ["a", "won\u00adder\u200bful", "ﬁlm"]),
        ("👍🏽 映画", ["👍", "映", "画"]),
        # One sign that is read as two words.
        ("½ mile", ["½", "½", "mile"]),
    ],
)
def test_each_word_is_found(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in word_spans(text)] == words


@given(
    st.lists(st.sampled_from(PIECES), max_size=25).map("".join),
    st.sampled_from(get_args(TextRules)),
)
def test_every_span_has_its_words_and_they_are_in_order(text: str, rules: TextRules) -> None:
    words, spans = split_words(text, rules), word_spans(text, rules)
    assert len(spans) == len(words)
    end = 0
    for span, members in itertools.groupby(zip(spans, words, strict=True), lambda pair: pair[0]):
        assert end <= span[0] < span[1] <= len(text)
        assert split_words(text[slice(*span)], rules) == [word for _, word in members]
        end = span[1]


@pytest.mark.parametrize(
    "text",
    [
        "word " * 20_000,
        "!" * 100_000 + "a" + "!" * 100_000,
        "<b " + "x" * 100_000 + ">a b",
        "<" * 50_000 + " a b",
        "a" * 200_000,
        "&amp;" * 20_000 + "a",
    ],
    ids=range(6),
)
def test_long_and_hostile_texts_are_done_in_the_end(text: str) -> None:
    """Cuts are tried in the middle and so often: otherwise some of these take hours."""
    assert len(word_spans(text)) == len(split_words(text))
