"""The page on which one types a text: ``page.html.jinja``, filled.

``page.js`` shows answers as the template does; what it does here in Python, it does there, too.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax_imdb
from flax_imdb import pages
from flax_imdb.serve.limits import Limits
from flax_imdb.serve.model import About

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: its own files, and nothing else."""

_FOLDER = Path(__file__).parent


def _own(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")


FILES = {
    "page.css": (pages.shared_style() + _own("page.css"), "text/css"),
    "page.js": (_own("page.js"), "text/javascript"),
    "icon.svg": (_own("icon.svg"), "image/svg+xml"),
}
"""The content and the type of the page's files."""

# Words are marked in so many strengths; those below a share of the strongest are not.
_LEVELS = 4
_LEAST_SHARE = 0.1

_STRONGEST = 8


class Part(NamedTuple):
    """A part of a text.

    Attributes:
      text: the part.
      weight: how much its word has added to the label's logit; 0 between words.
      look: "for" or "against" the label and a strength; empty if it is not marked.
    """

    text: str
    weight: float
    look: str


def parts(text: str, label: str, words: Sequence[Mapping[str, Any]]) -> list[Part]:
    """The parts of a text, by the words of its explanation.

    Args:
      text: the text.
      label: the class for or against which the words are.
      words: from the explanation.
    """
    spans = list(_spans(label, words))
    largest = max((abs(weight) for *_, weight in spans), default=0.0)
    found, done = [], 0
    for start, end, weight in spans:
        if start > done:
            found.append(Part(text[done:start], 0.0, ""))
        share = abs(weight) / largest if largest else 0.0
        side = "for" if weight > 0 else "against"
        look = f"{side} l{math.ceil(_LEVELS * share)}" if share >= _LEAST_SHARE else ""
        found.append(Part(text[start:end], weight, look))
        done = end
    if done < len(text):
        found.append(Part(text[done:], 0.0, ""))
    return found


def _spans(label: str, words: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, int, float]]:
    """Start, end and weight of what words stand in; several may share a span."""
    for (start, end), of_span in itertools.groupby(words, lambda w: (w["start"], w["end"])):
        yield start, end, sum(_weight(label, word["weights"]) for word in of_span)


def _weight(label: str, weights: Mapping[str, float]) -> float:
    # Of two classes the second alone is explained.
    return weights[label] if label in weights else -next(iter(weights.values()))


def strongest(found: Sequence[Part]) -> list[Part]:
    """The marked parts that weigh most, the strongest first."""
    marked = [part for part in found if part.look]
    return sorted(marked, key=lambda part: -abs(part.weight))[:_STRONGEST]


class Page:
    """Renders the page.

    Args:
      about: what it says of the model.
      limits: what may be asked.
    """

    def __init__(self, about: About, limits: Limits):
        environment = pages.environment(_FOLDER)
        environment.filters["percent"] = lambda value: f"{value:.1%}"
        environment.filters["signed"] = lambda value: f"{value:+.2f}".replace("-", "\u2212")
        environment.globals |= {"parts": parts, "strongest": strongest}
        self._template = environment.get_template("page.html.jinja")
        self._fixed = {
            "about": dataclasses.asdict(about),
            "limits": dataclasses.asdict(limits),
            "version": flax_imdb.__version__,
        }

    def __call__(
        self, text: str = "", *, answer: Mapping[str, Any] | None = None, problem: str = ""
    ) -> str:
        """The page, as HTML.

        Args:
          text: in the field.
          answer: its explanation, if there is one.
          problem: why there is none.
        """
        made: str = self._template.render(text=text, answer=answer, problem=problem, **self._fixed)
        return made
