"""HTML pages that need nothing but a browser.

Texts, names and paths in them are data, never markup: Jinja escapes all of them.
"""

import base64
import functools
import hashlib
import re
from pathlib import Path
from typing import Any


def render_page(template: str, script: str | None = None, **values: Any) -> str:
    """A page with the style of all pages, and a policy that allows nothing but its own parts.

    Args:
      template: file name of the Jinja template, in the directory of this module.
      script: file name of the script in it.
      values: what the template shows. It also has ``style``, ``script`` and ``policy``.
    """
    style = _source("report.css")
    policy = f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src {_digest(style)}"
    if script is not None:
        values["script"] = _source(script)
        policy += f"; script-src {_digest(values['script'])}"
    page: str = _environment().get_template(template).render(values, style=style, policy=policy)
    return page.lstrip()


def printable(text: str) -> str:
    """The text without what HTML cannot hold: control characters and lone surrogates."""
    return re.sub(
        "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]",
        "\N{REPLACEMENT CHARACTER}",
        text,
    )


@functools.cache
def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["share"] = lambda value: f"{value:.2%}"
    return environment


@functools.cache
def _source(name: str) -> Any:
    """A style sheet or script, which is not escaped."""
    from markupsafe import Markup

    return Markup(Path(__file__).with_name(name).read_text("utf-8"))


def _digest(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
