"""The house as docs/design.md draws it: what imports what."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "flax_imdb"

# From the street to the cellar: a room knows the rooms below it, never those above.
ROOMS = (
    *(
        "cli",
        "run",
        "predict",
        "report",
        "workdir",
        "config",
        "training",
        "devices",
        "data",
        "models",
    ),
    *("layers", "ops", "paths", "errors"),
)

# Of what the package needs, the libraries that take long to import or are not everywhere.
HEAVY = {
    *("tensorflow", "tensorflow_datasets", "array_record", "matplotlib", "orbax", "tyro", "rich"),
    *("keras", "torch"),
}


def imported(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after `statement`."""
    code = f"{statement}\nimport sys; print(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("flax_imdb", set()),
        ("flax_imdb.data", set()),
        # flax imports rich.
        ("flax_imdb.layers", {"rich"}),
        ("flax_imdb.models", {"rich"}),
        ("flax_imdb.training", {"rich"}),
        ("flax_imdb.run", {"rich"}),
        ("flax_imdb.predict", {"rich"}),
        ("flax_imdb.cli", {"rich", "tyro"}),
    ],
)
def test_heavy_libraries_are_imported_where_they_are_used(module: str, allowed: set[str]) -> None:
    assert imported(f"import {module}") & HEAVY == allowed


def room(module: str) -> str:
    return module.removeprefix("flax_imdb.").partition(".")[0]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_a_room_knows_the_rooms_below_it_alone(path: Path) -> None:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts == ("__init__",):
        return
    own = ROOMS.index(parts[0])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "flax_imdb":
                names = [f"flax_imdb.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name != "flax_imdb"]
        else:
            continue
        for name in names:
            if name.startswith("flax_imdb."):
                assert ROOMS.index(room(name)) >= own, f"{path.name} imports {name}"


def test_every_module_has_a_room() -> None:
    top = {path.stem if path.suffix else path.name for path in PACKAGE.iterdir()}
    assert top - {"__init__", "__pycache__", "py"} == set(ROOMS)
