"""Explanations, in a terminal and as a page: words coloured by what they added."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.text import Text

from flax_imdb import pages
from flax_imdb.explain import Explanation

# Words are marked in so many strengths; those below a share of the strongest one are not.
_LEVELS = 4
_LEAST_SHARE = 0.1

_LISTED = 8  # Words on each side.


class Marked(NamedTuple):
    """A piece of a text, as it is shown.

    Attributes:
      text: the piece.
      weight: what it added; 0 between words.
      level: from 0, not marked, to 4, as strong as the strongest of the text.
    """

    text: str
    weight: float
    level: int

    @property
    def look(self) -> str:
        """Its classes of CSS: "for" or "against", and a strength; empty if it is not marked."""
        side = "for" if self.weight > 0 else "against"
        return f"{side} l{self.level}" if self.level else ""


def marked(explanation: Explanation, name: str) -> list[Marked]:
    """The text in pieces, marked by their weights for a class."""
    segments = explanation.segments(name)
    largest = max((abs(segment.weight or 0.0) for segment in segments), default=0.0)
    pieces = []
    for text, weight in segments:
        share = abs(weight) / largest if weight and largest else 0.0
        level = math.ceil(_LEVELS * share) if share >= _LEAST_SHARE else 0
        pieces.append(Marked(text, weight or 0.0, level))
    return pieces


def by_strength(pieces: Sequence[Marked]) -> list[Marked]:
    """The marked pieces, the strongest first."""
    return sorted((piece for piece in pieces if piece.level), key=lambda piece: -abs(piece.weight))


def strongest(explanation: Explanation, name: str) -> tuple[list[Marked], list[Marked]]:
    """The words for a class that are marked, and those against it, the strongest first."""
    words = by_strength(marked(explanation, name))
    speak_for, against = (
        [word for word in words if sign * word.weight > 0][:_LISTED] for sign in (1, -1)
    )
    return speak_for, against


_STYLES = {
    1: ("green", "bold green", "bold white on green", "bold underline white on green"),
    -1: ("red", "bold red", "bold white on red", "bold underline white on red"),
}


def show(explanation: Explanation, name: str) -> Text:
    """The text for a terminal, in colours, and below it the strongest words with their weights.

    The weights say without colours what the colours say.
    """
    text = Text()
    for piece in marked(explanation, name):
        style = _STYLES[1 if piece.weight > 0 else -1][piece.level - 1]
        text.append(_visible(piece.text), style if piece.level else "")
    speak_for, against = strongest(explanation, name)
    for relation, words in (("for", speak_for), ("against", against)):
        if words:
            listed = ", ".join(f"{_visible(word.text)} {word.weight:+.2g}" for word in words)
            text.append(f"\n  {relation} {name}: {listed}")
    return text


def render_explanations(explanations: Sequence[Explanation], name: str) -> str:
    """The page, as HTML.

    Args:
      explanations: what to show.
      name: of the run.
    """
    return pages.self_contained(
        Path(__file__).parent,
        "explanation.html.jinja",
        styles=["report.css"],
        name=name,
        explanations=explanations,
        marked=marked,
        strongest=strongest,
    )


def _visible(text: str) -> str:
    """The text without what would steer a terminal."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
