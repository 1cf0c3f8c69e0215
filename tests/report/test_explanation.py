"""Coloured words: what they say is said without colours, too, and texts are never markup."""

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flax_imdb.explain import Explanation, Word
from flax_imdb.report.explanation import marked, render_explanations, show, strongest


def explained(text: str, **weights: float) -> Explanation:
    """Of a text in which each of these words is once."""
    words = tuple(
        Word(word, text.index(word), text.index(word) + len(word), {"good": weight})
        for word, weight in sorted(weights.items(), key=lambda pair: text.index(pair[0]))
    )
    return Explanation(text, "good", {"bad": 0.25, "good": 0.75}, {"good": 1.0}, words)


FILM = explained("a fine, dull film", fine=2.0, dull=-1.0, film=0.01)


def test_marks_are_relative_to_the_strongest_word() -> None:
    levels = {piece.text: piece.level for piece in marked(FILM, "good")}
    assert levels == {"a ": 0, "fine": 4, ", ": 0, "dull": 2, " ": 0, "film": 0}


def test_words_of_no_weight_have_no_mark() -> None:
    assert {piece.level for piece in marked(explained("a film", film=0.0), "good")} == {0}


def test_the_strongest_come_first_on_each_side() -> None:
    both = explained("abcd", a=0.5, b=1.0, c=-0.9, d=-1.0)
    speak_for, against = ([word.text for word in side] for side in strongest(both, "good"))
    assert (speak_for, against) == (["b", "a"], ["d", "c"])


def test_a_terminal_without_colours_shows_the_weights() -> None:
    assert show(FILM, "good").plain == (
        "a fine, dull film\n  for good: fine +2\n  against good: dull -1"
    )


def test_a_text_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in show(explained("\x1b[2J bad", bad=-1.0), "good").plain


def test_the_page_shows_the_text_and_the_weights() -> None:
    page = render_explanations([FILM], "my run")
    assert '<mark class="for l4" title="+2.000">fine</mark>' in page
    assert '<mark class="against l2" title="-1.000">dull</mark>' in page
    assert "Explanations by my run" in page
    assert "good <small>75.0%</small>" in page


@given(st.text(min_size=1))
@pytest.mark.parametrize("around", ["{}", "<script>{}</script>", "</style>{}", "{{{{{}}}}}"])
def test_any_text_is_a_text(around: str, text: str) -> None:
    text = around.format(text)
    word = Word("w", 0, len(text), {"good": 1.0})
    page = render_explanations(
        [Explanation(text, text, {text: 0.5, "good": 0.5}, {"good": 1.0}, (word,))], text
    )
    body = page.partition("</head>")[2]
    assert set(re.findall("<([a-z0-9]+)", body)) <= {
        *("body", "h1", "h2", "h3", "p", "mark", "article", "small", "blockquote"),
        *("div", "table", "caption", "thead", "tbody", "tr", "th", "td"),
    }
    (shown,) = re.findall('<mark class="for l4" title="[^"]*">(.*?)</mark>', body, re.DOTALL)
    assert "<" not in shown
    assert len(unescape(shown)) == len(text)
