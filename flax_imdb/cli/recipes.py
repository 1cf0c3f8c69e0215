"""``flax-imdb recipes``."""

import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

import flax_imdb
from flax_imdb.cli.flags import parse
from flax_imdb.config import RECIPES


@dataclasses.dataclass(frozen=True)
class RecipesOptions:
    """List the recipes: their settings, and what each reached on the IMDB reviews."""


def command(args: list[str], prog: str) -> int:
    """List the recipes: their settings, and what each reached on the IMDB reviews."""
    parse(RecipesOptions, args, prog)
    reached = json.loads((Path(flax_imdb.__file__).parent / "recipes.json").read_text())
    for name, (about, settings) in RECIPES.items():
        flags = (f"--{setting.replace('_', '-')} {value}" for setting, value in settings.items())
        print(f"{name}: {about}\n  {' '.join(flags)}\n  {_reached(reached[name])}")
    return 0


def _reached(results: dict[str, Any]) -> str:
    """What the runs of a recipe reached, in one line."""
    accuracies, seconds, memory = (
        [run[name] for run in results["rows"]] for name in ("accuracy", "seconds", "peak_memory_mb")
    )
    return (
        f"{statistics.mean(accuracies):.2%} ± {statistics.stdev(accuracies):.2%} of the test "
        f"reviews right (mean and standard deviation of {len(accuracies)} seeds), in "
        f"{statistics.mean(seconds) / 60:.1f} minutes and {max(memory) / 1000:.1f} GB, on "
        f"{results['cpus']} CPUs with jax {results['versions']['jax']}"
    )
