"""Whatever is public is documented."""

import doctest
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import flax_imdb
import flax_imdb.layers

DOCS = Path(__file__).parents[2] / "docs"


def public_classes() -> Iterator[type]:
    """Those that a module of the package defines, and that have names of their own."""
    for found in pkgutil.walk_packages(flax_imdb.__path__, "flax_imdb."):
        if found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        for name, value in vars(module).items():
            own = inspect.isclass(value) and value.__module__ == module.__name__
            if own and not name.startswith("_"):
                yield value


def documented(of: type) -> set[str]:
    """The attributes and arguments that the docstrings of a class and its bases name."""
    text = "\n".join(base.__doc__ or "" for base in inspect.getmro(of))
    return set(re.findall(r"^ +(\w+): ", text, re.MULTILINE))


@pytest.mark.parametrize(
    "of", list(public_classes()), ids=lambda of: f"{of.__module__}.{of.__name__}"
)
def test_every_attribute_is_described(of: type) -> None:
    fields = {name for name in inspect.get_annotations(of) if not name.startswith("_")}
    fields -= {"parent", "name", *(name for name in fields if name.isupper())}
    assert fields - documented(of) == set()


@pytest.mark.parametrize("name", ["layers.lstm", "layers.bidirectional", "nnx"])
def test_the_examples_of_a_layer_give_what_they_say(name: str) -> None:
    done = doctest.testmod(importlib.import_module(f"flax_imdb.{name}"))
    assert done.attempted > 0
    assert done.failed == 0


@pytest.mark.parametrize("name", flax_imdb.layers.__all__)
def test_every_layer_is_on_its_page(name: str) -> None:
    assert f"`{name}" in (DOCS / "layers.md").read_text()
