"""Writes the tables of docs/gpu.md, from what gpu_program.py found.

python benchmarks/gpu_page.py
"""

from typing import Any

from reliability_page import filled
from tables import ROOT, load, markdown, versions

PAGE = ROOT / "docs" / "gpu.md"


def launches(results: Any) -> list[str]:
    """A row for each program."""
    rows = [
        [
            f"`{row['arch']}`, {row['batch_size']} rows",
            f"`{row['implementation']}`, {row['precision']}",
            f"{row['kernels']:,}",
            f"{row['host_launches']:,}",
            ", ".join(
                f"{steps} x {kernels}"
                for kernels, steps in zip(row["kernels_in_loops"], row["loop_steps"], strict=True)
            ),
            f"{row['temporary_mb']:,.0f}",
        ]
        for row in results["rows"]
    ]
    heads = ["", "", "kernels", "launches", "of which in loops", "temporary MB"]
    told = (
        f"Of a training step over {results['time']} tokens, compiled for an "
        f"{results['target']} with {versions(results)}."
    )
    return [told, "", *markdown(heads, rows)]


def kernels(results: Any) -> list[str]:
    """A row for each of this project's kernels."""
    rows = [
        [
            f"`{row['arch']}`, {row['precision']}, {kernel['kernel']}",
            f"{kernel['registers']}",
            f"{kernel['spilled_bytes']}",
            f"{kernel['shared_memory_bytes'] / 1024:.0f}",
        ]
        for row in results["rows"]
        if row["batch_size"] == 64
        for kernel in sorted(row["own_kernels"], key=lambda kernel: kernel["kernel"], reverse=True)
    ]
    heads = ["", "registers of a thread", "spilled bytes", "shared memory, KB"]
    return markdown(heads, rows)


def page() -> str:
    """The page, with the tables in their places."""
    results, text = load("gpu_program_h100.json"), PAGE.read_text()
    for table in (launches, kernels):
        text = filled(text, table.__name__, table(results))
    return text


if __name__ == "__main__":
    PAGE.write_text(page())
