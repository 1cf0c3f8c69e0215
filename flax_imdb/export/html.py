"""A page that classifies texts in the browser: all in one file, without a network.

``words.js`` splits texts as docs/tokenizer.md says, ``network.js`` computes answers and what the
words add to them, and ``worker.js`` does both beside the page, whose script is ``html.js``.
"""

import atexit
import base64
import dataclasses
import json
from html.entities import html5
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

import flax_imdb
from flax_imdb import pages
from flax_imdb.answers import MANY_CLASSES, Choice
from flax_imdb.data import MAX_CHARACTERS
from flax_imdb.errors import InputError
from flax_imdb.export.check import Answer
from flax_imdb.export.facts import facts
from flax_imdb.export.network import Network, Weights, check_texts, network
from flax_imdb.predict import TrainedModel
from flax_imdb.training import usual_coverages

NEEDS = {"py_mini_racer": "mini-racer"}
"""The check runs the page's own JavaScript."""

MAX_BYTES = 96 * 2**20
"""Of the numbers in a page."""

_WORKER = ("words.js", "network.js", "worker.js")

# What is looked up in, row by row, instead of multiplied.
_TABLES = ("embedding", "ngram_embeddings", "terms")


def write(model: TrainedModel, path: Path) -> dict[str, Any]:
    """Write the page.

    Raises:
      InputError: the model is too large for a page, or has a layer that is not known.
    """
    check_texts(model, "html")
    described, numbers = _described(network(model))
    if len(numbers) > MAX_BYTES:
        raise InputError(
            f"`format` html: {len(numbers) / 2**20:,.0f} MiB of numbers are too many for a page: "
            f"{MAX_BYTES // 2**20} at most; fewer `vocab_size`, `ngram_buckets` or `wide_buckets` "
            "make it smaller"
        )
    about = facts(model)
    made = pages.self_contained(
        Path(__file__).parent,
        "html.html.jinja",
        styles=["answer.css", "html.css"],
        scripts=["answer.js", "html.js"],
        worker=_WORKER,
        about=about | {"coverages": usual_coverages(model.info.conformity)},
        abstain=None,
        prediction_set=None,
        result=model.result,
        listed=MANY_CLASSES,
        limit=MAX_CHARACTERS,
        version=flax_imdb.__version__,
        answer=None,
        problem="",
        description=_as_data(_description(model, about) | {"network": described}),
        numbers=base64.b64encode(numbers).decode(),
    )
    path.write_bytes(made.encode())
    return {}


def read(path: Path) -> Answer:
    """The classifier of a page: its own JavaScript, in V8."""
    engine = opened(path)
    classes = engine.eval("classifier.classes.length")

    def answer(tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        rows = [row[:length].tolist() for row, length in zip(tokens, lengths, strict=True)]
        made = engine.call("probabilities", rows)
        return np.array(made, np.float32).reshape(len(rows), classes)

    return answer


def opened(path: Path) -> Any:
    """A `MiniRacer` in which the worker of a page runs, with its ``classifier``."""
    from py_mini_racer import MiniRacer

    parts = _Parts()
    parts.feed(path.read_text("utf-8"))
    engine = MiniRacer()
    # Left open, as by the traceback of an error, it would keep the process from ending.
    atexit.register(engine.close)
    engine.eval(parts.found["worker"])
    engine.eval(
        """
        const opened = (...given) => { open(...given); return true; };
        const probabilities = (rows) => rows.map((row) => classifier.network.probabilities(row));
        """
    )
    engine.call("opened", parts.found["description"], parts.found["numbers"])
    return engine


class _Parts(HTMLParser):
    """The contents of a page's scripts, by their ids."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._name: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._name = dict(attrs).get("id") if tag == "script" else None

    def handle_endtag(self, tag: str) -> None:
        self._name = None

    def handle_data(self, data: str) -> None:
        if self._name is not None:
            self.found[self._name] = self.found.get(self._name, "") + data


def _description(model: TrainedModel, about: dict[str, Any]) -> dict[str, Any]:
    """What the worker is told, without the network."""
    unicode = about["text"] == "unicode"
    coverages = usual_coverages(model.info.conformity)
    names = {name.removesuffix(";"): text for name, text in html5.items() if name.endswith(";")}
    letters = map(chr, range(0x110000 if unicode else 0))
    folded = {
        letter: letter.casefold() for letter in letters if letter.casefold() != letter.lower()
    }
    return {
        "rules": about["text"],
        "entities": names if unicode else {},
        "folded": folded,
        "words": about["words"],
        "classes": about["classes"],
        "thresholds": about["thresholds"],
        "least": {str(each): model.least_probability(each) for each in coverages},
        "ranks": Choice().ranks(len(about["classes"]), about["multi_label"]),
        "max_length": about["max_length"],
        "head": about["long"] == "head",
        "padding": about["padding"],
    }


def _as_data(content: Any) -> Any:
    """JSON in ASCII that ends no element of HTML."""
    from markupsafe import Markup

    made = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return Markup(made.replace("<", r"\u003c"))


def _described(of: Network) -> tuple[dict[str, Any], bytes]:
    """A network for JSON, and the numbers of its arrays, little endian, one after another."""
    numbers = bytearray()

    def array(values: np.ndarray, name: str) -> dict[str, Any]:
        kind = "table" if name in _TABLES else "float32"
        if values.dtype == np.int32:
            kind = "int32"
        start = len(numbers)
        numbers.extend(values.astype("<i4" if kind == "int32" else "<f4").tobytes())
        return {"kind": kind, "shape": values.shape, "start": start}

    def described(value: Any, name: str = "") -> Any:
        if isinstance(value, np.ndarray):
            return array(value, name)
        if isinstance(value, Weights):
            return {key: array(each, key) for key, each in value._asdict().items()}
        if isinstance(value, tuple):
            return [described(each, name) for each in value]
        if isinstance(value, dict):
            return {key: described(each, key) for key, each in value.items()}
        if dataclasses.is_dataclass(value):
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            return {"kind": type(value).__name__, **described(fields)}
        return value

    content: dict[str, Any] = described(dataclasses.replace(of, wide=None))
    if of.wide is not None:
        # Many buckets may be empty. A hash says which bucket is its own.
        used = np.flatnonzero(of.wide.owners >= 0)
        wide = dataclasses.asdict(of.wide) | {
            "buckets": len(of.wide.owners),
            "hashes": of.wide.owners[used],
            "terms": of.wide.terms[used],
        }
        del wide["owners"]
        content["wide"] = described(wide)
    return content, bytes(numbers)
