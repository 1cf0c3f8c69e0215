"""What pages in HTML have in common: how their templates are filled, and how they look.

Texts, names and paths on a page are data, never markup: Jinja escapes all of them.
"""

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


def style() -> str:
    """The style sheet of all pages: colours, type and headings, in light and dark."""
    return Path(__file__).with_name("pages.css").read_text("utf-8")


def printable(text: str) -> str:
    """The text without what HTML cannot hold: control characters and lone surrogates."""
    return re.sub(
        "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]",
        "\N{REPLACEMENT CHARACTER}",
        text,
    )
