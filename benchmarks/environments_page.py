"""Writes the tables of docs/environments.md, from what environments.py found.

python benchmarks/environments_page.py
"""

import re
from typing import Any

from reliability_page import filled
from tables import ROOT, load, markdown, versions

PAGE = ROOT / "docs" / "environments.md"

LOSSES = {
    "plain": "the same bits",
    "two": "the bits of a run that was never stopped",
    "near": "the same numbers, rounded differently",
    "none": "",
}


def machine(results: Any) -> list[str]:
    """What it was found on."""
    return [f"On {results['cpus']} cores, with {versions(results)}.", ""]


def environments(results: Any) -> list[str]:
    """A table for each group."""
    lines = []
    for group in dict.fromkeys(row["group"] for row in results["rows"]):
        rows = [
            [row["name"], "yes" if row["right"] else "**no**", f"{row['status']}", gives(row)]
            for row in results["rows"]
            if row["group"] == group
        ]
        lines += [
            f"## {group}",
            "",
            *markdown(["", "as it must be", "status", "what it gives"], rows),
        ]
    return lines


def gives(row: Any) -> str:
    """The numbers, and what is said."""
    # Some names are as long as they can be, and a bar would end the cell.
    said = [re.sub(r"(.)\1{50,}", r"\1...", line).replace("|", "\\|") for line in row["said"]]
    return "; ".join([*filter(None, [LOSSES[row["loss"]]]), *(f"`{line}`" for line in said)])


def page() -> str:
    """The page, with the tables in their places."""
    results, text = load("environments.json"), PAGE.read_text()
    for table in (machine, environments):
        text = filled(text, table.__name__, table(results))
    return text


if __name__ == "__main__":
    PAGE.write_text(page())
