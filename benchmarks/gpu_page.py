"""Writes the tables of docs/gpu.md, from what gpu_program.py and parity.py found.

python benchmarks/gpu_page.py
"""

from typing import Any

from reliability_page import filled
from tables import ROOT, load, markdown, versions

PAGE = ROOT / "docs" / "gpu.md"


def name_of(row: Any) -> str:
    """The architecture, and what is unusual about it."""
    parts = [f"`{row['arch']}`", row["precision"]]
    if row["features"] != 100:
        parts.append(f"width {row['features']}")
    if row["products"] != "default":
        parts.append(f"{row['products']} precision")
    return ", ".join(parts)


def launches(results: Any) -> list[str]:
    """A row for each program."""
    rows = [
        [
            f"{name_of(row)}, {row['batch_size']} rows",
            f"`{row['implementation']}`",
            f"{row['kernels']:,}",
            " + ".join(
                f"{steps} x {kernels}"
                for kernels, steps in zip(row["kernels_in_loops"], row["loop_steps"], strict=True)
            ),
            f"{row['host_launches']:,}",
            f"{row['temporary_mb']:,.0f}",
        ]
        for row in results["rows"]
    ]
    heads = ["", "", "kernels", "of these in loops", "launches", "temporary MB"]
    told = (
        f"Of a training step over {results['time']} tokens, compiled for an "
        f"{results['target']} with {versions(results)}."
    )
    return [told, "", *markdown(heads, rows)]


def kernels(results: Any) -> list[str]:
    """A row for each of this project's kernels."""
    rows = [
        [
            f"{name_of(row)}, {kernel['kernel']}",
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


def parity(results: Any) -> list[str]:
    """A row for each layer and precision: the kernel's errors, and in bfloat16 the reference's."""
    by_layer: dict[tuple[str, str], Any] = {}
    for row in results["rows"]:
        if row["precision"] != "default":  # On a CPU it is the highest.
            by_layer.setdefault((row["layer"], row["precision"]), {})[row["implementation"]] = row
    rows = []
    for (layer, precision), of in by_layer.items():
        cells = [f"{layer}, {precision}"]
        for name in ("value_error", "gradient_error"):
            scan = f" ({of['scan'][name]:.1e})" if precision == "bfloat16" else ""
            cells.append(f"{of['pallas'][name]:.1e}{scan}")
        rows.append([*cells, f"{of['pallas']['tolerance']:.0e}"])
    told = (
        f"{results['batch_size']} rows of up to {results['time']} steps, width "
        f"{results['features']}, interpreted on a {results['device_kind']} with "
        f"{versions(results)}: the largest error of an element, over the largest element of its "
        "array (or 1)."
    )
    return [told, "", *markdown(["", "values", "gradients", "tolerance"], rows)]


def page() -> str:
    """The page, with the tables in their places."""
    program, numbers, text = (
        load("gpu_program_h100.json"),
        load("parity_cpu.json"),
        PAGE.read_text(),
    )
    for table, results in ((parity, numbers), (launches, program), (kernels, program)):
        text = filled(text, table.__name__, table(results))
    return text


if __name__ == "__main__":
    PAGE.write_text(page())
