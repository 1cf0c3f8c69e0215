"""The page on which one types a text: ``page.html.jinja``, filled.

``page.js`` shows answers as the template does, by ``answer.js`` of `flax_imdb.pages`; what it does
here in Python, it does there, too.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flax_imdb
from flax_imdb import pages
from flax_imdb.explain import Explanation, Word
from flax_imdb.report.explanation import Marked, by_strength, marked
from flax_imdb.serve.limits import Limits
from flax_imdb.serve.model import About

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: its own files, and nothing else."""

_FOLDER = Path(__file__).parent


FILES = {
    "page.css": (pages.joined(_FOLDER, ["pages.css", "answer.css"]), "text/css"),
    "page.js": (pages.joined(_FOLDER, ["answer.js", "page.js"]), "text/javascript"),
    "icon.svg": (pages.joined(_FOLDER, ["icon.svg"]), "image/svg+xml"),
}
"""The content and the type of the page's files."""

_STRONGEST = 8


def parts(text: str, answer: Mapping[str, Any]) -> list[Marked]:
    """The parts of a text, marked by what they added to the label.

    Args:
      text: the text.
      answer: its explanation, as the API gives it.
    """
    words = tuple(Word(**word) for word in answer["words"])
    return marked(Explanation(text, **{**answer, "words": words}), answer["label"])


def strongest(found: Sequence[Marked]) -> list[Marked]:
    """The marked parts that weigh most, the strongest first."""
    return by_strength(found)[:_STRONGEST]


class Page:
    """Renders the page.

    Args:
      about: what it says of the model.
      limits: what may be asked.
    """

    def __init__(self, about: About, limits: Limits):
        environment = pages.environment(_FOLDER)
        environment.globals |= {"parts": parts, "strongest": strongest}
        self._template = environment.get_template("page.html.jinja")
        self._fixed = {
            "about": dataclasses.asdict(about),
            "limits": dataclasses.asdict(limits),
            "version": flax_imdb.__version__,
        }

    def __call__(
        self,
        text: str = "",
        *,
        answer: Mapping[str, Any] | None = None,
        problem: str = "",
        abstain: float | None = None,
        prediction_set: Sequence[str] | None = None,
    ) -> str:
        """The page, as HTML.

        Args:
          text: in the field.
          answer: its explanation, if there is one.
          problem: why there is none.
          abstain: the coverage that is chosen; None: it is to answer in any case.
          prediction_set: the prediction set, if one was asked for.
        """
        made: str = self._template.render(
            text=text,
            answer=answer,
            problem=problem,
            abstain=abstain,
            prediction_set=prediction_set,
            **self._fixed,
        )
        return made
