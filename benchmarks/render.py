"""Makes the pages of docs/ that show results.

    python benchmarks/render.py

Each page is a Jinja template of Markdown in benchmarks/pages, filled from the files in
benchmarks/results, whose README says which command wrote which file.
"""

import json
import re
import statistics
from pathlib import Path
from typing import Any

import jinja2
import scaling_model

ROOT = Path(__file__).parents[1]
PAGES, RESULTS, DOCS = ROOT / "benchmarks" / "pages", ROOT / "benchmarks" / "results", ROOT / "docs"

# What the sweeps of step_time.py vary.
SWEEPS = {"batch_size": "rows in a batch", "max_length": "time steps", "features": "LSTM width"}

Row = dict[str, Any]


def load(name: str) -> Any:
    """A file of results."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def load_all(folder: str) -> dict[str, Any]:
    """The files in a folder of results, by name."""
    paths = sorted((RESULTS / folder).glob("*.json"))
    return {path.stem: json.loads(path.read_text()) for path in paths}


def folders(pattern: str) -> list[str]:
    """The names of the folders of results that match."""
    return sorted(path.name for path in RESULTS.glob(pattern))


def find(rows: list[Row], **values: Any) -> Row:
    """The one row with these values."""
    (row,) = [row for row in rows if all(row[name] == value for name, value in values.items())]
    return row


def versions(results: Any) -> str:
    """The versions behind some results."""
    return ", ".join(f"{name} {version}" for name, version in results["versions"].items())


def spread(row: Row) -> str:
    """The median and the quartiles of a step's milliseconds."""
    first, third = row["step_ms_quartiles"]
    return f"**{row['step_ms_median']:.0f}** ({first:.0f} - {third:.0f})"


def percent(accuracies: list[float]) -> str:
    """Mean and standard deviation in %."""
    return f"{100 * statistics.mean(accuracies):.2f} ± {100 * statistics.stdev(accuracies):.2f}"


def each(accuracies: list[float]) -> str:
    """Every seed's accuracy in %."""
    return " ".join(f"{100 * accuracy:.2f}" for accuracy in accuracies)


def counts(numbers: dict[str, int], joined: str = "") -> str:
    """Counts as "3 a, 2 b"."""
    return ", ".join(f"{number} {joined}{name}" for name, number in numbers.items())


def cell(text: str) -> str:
    """Text for a table's cell: bars are escaped, and long runs of one character shortened."""
    return re.sub(r"(.)\1{50,}", r"\1...", text).replace("|", "\\|")


def render(name: str) -> str:
    """Render a page to Markdown."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        function.__name__: function
        for function in (cell, counts, each, find, percent, spread, versions)
    }
    templates.filters |= {
        "column": lambda rows, name: [row[name] for row in rows],
        "commas": lambda value: f"{value:,.0f}",
        "fixed": lambda value, digits: f"{value:.{digits}f}",
        "mean": statistics.mean,
    }
    templates.globals |= {"load": load, "load_all": load_all, "folders": folders}
    templates.globals |= {"scaling_model": scaling_model, "sweeps": SWEEPS}
    heading, _, rest = templates.get_template(name).render().strip().partition("\n")
    written = f"<!-- Written by benchmarks/render.py from benchmarks/pages/{name}: do not edit. -->"
    return f"{heading}\n\n{written}\n{rest}\n"


def pages() -> list[str]:
    """Their names. A template without a heading holds macros that pages import."""
    return sorted(path.name for path in PAGES.glob("*.md") if path.read_text().startswith("# "))


def draw_sweeps(picture: Path) -> None:
    """Step time over each size, both logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    for axes, (size, label) in zip(figure.subplots(1, len(SWEEPS)), SWEEPS.items(), strict=True):
        rows = load(f"step_time_cpu_{size}")["rows"]
        for system in dict.fromkeys(row["system"] for row in rows):
            of_system = [row for row in rows if row["system"] == system]
            sizes = [row[size] for row in of_system]
            axes.loglog(sizes, [row["step_ms_median"] for row in of_system], "o-", label=system)
        axes.set_xticks(sizes, [str(size) for size in sizes], minor=False)
        axes.minorticks_off()
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("ms per training step")
    figure.axes[0].legend()
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    for page in pages():
        (DOCS / page).write_text(render(page))
    draw_sweeps(DOCS / "speed.png")
