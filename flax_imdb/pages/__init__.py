"""What pages in HTML have in common: how their templates are filled, and how they look.

Texts, names and paths on a page are data, never markup: Jinja escapes all of them.
"""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any


def environment(folder: Path) -> Any:
    """The Jinja environment for the templates in a folder."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["share"] = lambda value: f"{value:.2%}"
    return made


def self_contained(
    folder: Path, template: str, *, style: str, script: str | None = None, **values: Any
) -> str:
    """A page that needs nothing but a browser, with a policy that allows its own parts alone.

    Args:
      folder: where its files are.
      template: file name of the Jinja template. It also knows ``style``, ``script`` and ``policy``.
      style: file name of its own style, which follows that of all pages.
      script: file name of its script, if it has one.
      values: what the template shows.
    """
    from markupsafe import Markup

    css = Markup(shared_style() + (folder / style).read_text("utf-8"))
    policy = f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src {_digest(css)}"
    if script is not None:
        values["script"] = Markup((folder / script).read_text("utf-8"))
        policy += f"; script-src {_digest(values['script'])}"
    made: str = environment(folder).get_template(template).render(values, style=css, policy=policy)
    return made.lstrip()


def _digest(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def shared_style() -> str:
    """The style sheet of all pages: colours, type and headings, in light and dark."""
    return Path(__file__).with_name("pages.css").read_text("utf-8")


def printable(text: str) -> str:
    """The text without what HTML cannot hold: control characters and lone surrogates."""
    return re.sub(
        "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]",
        "\N{REPLACEMENT CHARACTER}",
        text,
    )
