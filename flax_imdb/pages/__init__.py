"""What pages in HTML have in common: how their templates are filled, and how they look.

Texts, names and paths on a page are data, never markup: Jinja escapes all of them.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_SHARED = Path(__file__).parent


def environment(folder: Path) -> Any:
    """The Jinja environment for the templates in a folder, and those of all pages."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, _SHARED]),
        autoescape=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["share"] = lambda value: f"{value:.2%}"
    made.filters["percent"] = lambda value: f"{value:.1%}"
    made.filters["signed"] = lambda value: f"{value:+.2f}".replace("-", "\u2212")
    return made


def joined(folder: Path, names: Iterable[str]) -> str:
    """The files of these names, one after another: those of a folder, or those of all pages."""
    paths = ((folder / name, _SHARED / name) for name in names)
    return "".join(next(filter(Path.exists, each)).read_text("utf-8") for each in paths)


def self_contained(
    folder: Path,
    template: str,
    *,
    styles: Iterable[str],
    scripts: Iterable[str] = (),
    worker: Iterable[str] = (),
    **values: Any,
) -> str:
    """A page that needs nothing but a browser, with a policy that allows its own parts alone.

    Args:
      folder: where its files are; some may be among those of all pages.
      template: file name of the Jinja template. It also knows ``style``, ``script``, ``worker`` and
        ``policy``.
      styles: file names of its own style, which follows that of all pages.
      scripts: file names of its script, if it has one.
      worker: file names of what its script runs in a worker.
      values: what the template shows.
    """
    from markupsafe import Markup

    of_all = ["pages.css", *styles]
    style, script, source = (Markup(joined(folder, names)) for names in (of_all, scripts, worker))
    policy = f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src {_digest(style)}"
    if script:
        policy += f"; script-src {_digest(script)}"
    if source:
        policy += "; worker-src blob:"
    values |= {"style": style, "script": script, "worker": source, "policy": policy}
    made: str = environment(folder).get_template(template).render(values)
    return made.lstrip()


def _digest(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def printable(text: str) -> str:
    """The text without what HTML cannot hold: control characters and lone surrogates."""
    return re.sub(
        "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]",
        "\N{REPLACEMENT CHARACTER}",
        text,
    )
