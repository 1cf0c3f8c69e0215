"""Makes docs/speed.md and its picture from the files in benchmarks/results.

    python benchmarks/tables.py

benchmarks/results/README.md says which command wrote which file.
"""

import json
import statistics
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "speed.md"
PICTURE = ROOT / "docs" / "speed.png"

# What a sweep varies, and what it is called.
SWEEPS = {"batch_size": "rows in a batch", "max_length": "time steps", "features": "LSTM width"}

Row = dict[str, Any]


def load(name: str) -> Any:
    """A file of results."""
    return json.loads((RESULTS / name).read_text())


def markdown(heads: list[str], lines: list[list[str]]) -> list[str]:
    """A table; its first column is text, the others figures."""
    align = ["---", *(["---:"] * (len(heads) - 1))]
    return ["| " + " | ".join(cells) + " |" for cells in (heads, align, *lines)] + [""]


def versions(results: Any) -> str:
    """Of what was measured."""
    return ", ".join(f"{name} {version}" for name, version in results["versions"].items())


def spread(row: Row) -> str:
    """The median of a row's step time, and its quartiles."""
    first, third = row["step_ms_quartiles"]
    return f"**{row['step_ms_median']:.0f}** ({first:.0f} - {third:.0f})"


def step_time(results: Any, mode: str) -> list[str]:
    """A row for each architecture: our step, the peers', and how they compare."""
    rows = [row for row in results["rows"] if row["mode"] == mode]
    systems = list(dict.fromkeys(row["system"] for row in rows))
    heads = ["", "flax_imdb ms", *(f"{peer} ms" for peer in systems[1:])]
    heads += ["times faster than the fastest peer", "of the floor"]
    lines = []
    for arch in dict.fromkeys(row["arch"] for row in rows):
        of_arch = {row["system"]: row for row in rows if row["arch"] == arch}
        ours = of_arch["flax_imdb"]
        cells = [f"`{arch}`", spread(ours)]
        for peer in systems[1:]:
            cell = f"{of_arch[peer]['step_ms_median']:.0f}"
            cells.append(cell if of_arch[peer]["same_work"] else f"({cell})")
        cells += [f"**{ours['ratio_to_fastest_peer']:.1f}**", f"{ours['floor_fraction']:.2f}"]
        lines.append(cells)
    return markdown(heads, lines)


def memory(rows: list[Row]) -> list[str]:
    """The most memory that a process has held, by architecture and system."""
    systems = list(dict.fromkeys(row["system"] for row in rows))
    lines = []
    for arch in dict.fromkeys(row["arch"] for row in rows):
        peaks = {
            row["system"]: row["peak_memory_mb"]
            for row in rows
            if row["arch"] == arch and row["mode"] == "padded"
        }
        lines.append([f"`{arch}`", *(f"{peaks[system]:,.0f}" for system in systems)])
    return markdown(["", *(f"{system} MB" for system in systems)], lines)


def sweep(name: str, rows: list[Row]) -> list[str]:
    """A row for each size."""
    systems = list(dict.fromkeys(row["system"] for row in rows))
    lines = []
    for size in dict.fromkeys(row[name] for row in rows):
        of_size = {row["system"]: row for row in rows if row[name] == size}
        lines.append(
            [str(size)]
            + [f"{of_size[system]['step_ms_median']:.1f}" for system in systems]
            + [f"{of_size['flax_imdb']['floor_fraction']:.2f}"]
        )
    return markdown([SWEEPS[name], *(f"{system} ms" for system in systems), "of the floor"], lines)


def draw(sweeps: dict[str, list[Row]]) -> None:
    """Step time over each size, both logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    for axes, (name, rows) in zip(figure.subplots(1, len(sweeps)), sweeps.items(), strict=True):
        for system in dict.fromkeys(row["system"] for row in rows):
            of_system = [row for row in rows if row["system"] == system]
            sizes = [row[name] for row in of_system]
            axes.loglog(sizes, [row["step_ms_median"] for row in of_system], "o-", label=system)
        axes.set_xticks(sizes, [str(size) for size in sizes], minor=False)
        axes.minorticks_off()
        axes.set_xlabel(SWEEPS[name])
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("ms per training step")
    figure.axes[0].legend()
    figure.savefig(PICTURE, dpi=110)


def first_step(results: Any) -> list[str]:
    """Seconds until each stage is reached."""
    stages = list(results["rows"][0]["seconds"])
    lines = [
        [f"`{row['arch']}`, {row['caches']} caches"]
        + [f"{row['seconds'][stage]:.1f}" for stage in stages]
        for row in results["rows"]
    ]
    return markdown(["seconds until", *stages], lines)


def breakdown(results: Any) -> list[str]:
    """Milliseconds of each part."""
    return markdown(["", "ms"], [[row["part"], f"{row['ms']:.0f}"] for row in results["rows"]])


def accuracy(**columns: str) -> list[str]:
    """Test accuracy of the same seeds in several results: their names in accuracy/, by heading."""
    lines = []
    for path in sorted((RESULTS / "accuracy").glob("*-after.json")):
        arch = path.stem.removesuffix("-after")
        cells = [f"`{arch}`"]
        for name in columns.values():
            accuracies = [
                100 * one for one in load(f"accuracy/{arch}-{name}.json")["test_accuracies"]
            ]
            spread = f"{statistics.mean(accuracies):.2f} ± {statistics.stdev(accuracies):.2f}"
            cells += [spread, ", ".join(f"{one:.2f}" for one in accuracies)]
        lines.append(cells)
    heads = [head for name in columns for head in (f"{name}: mean ± deviation", "each seed")]
    return markdown(["", *heads], lines)


def page() -> str:
    """The whole page."""
    results = load("step_time_cpu.json")
    again = load("step_time_cpu_conv_lstm.json")["rows"]
    results["rows"] = [row for row in results["rows"] if row["arch"] != "conv_lstm"] + again
    sweeps = {name: load(f"step_time_cpu_{name}.json") for name in SWEEPS}
    sizes = results["rows"][0]
    parts = load("breakdown_cpu.json")
    lines = [
        "# Speed on a CPU",
        "",
        "<!-- Written by benchmarks/tables.py from benchmarks/results: do not edit. -->",
        "",
        f"A training step (forward, backward, Adam) in float32, {sizes['batch_size']} rows, an "
        f"embedding of 32 and an LSTM of {sizes['features']}, on {results['cpus']} cores "
        f"({results['device_kind']}). Medians of {results['rounds']} rounds in which all took "
        "turns, ours with quartiles; [benchmarks](benchmarks.md) says how. In parentheses: does "
        "less work, having no recurrent dropout, and does not count as a peer.",
        "",
        f"The floor is the time of the step's matrix products at {results['peak_gflops']:.0f} "
        "GFLOP/s, the most that a product of large square matrices reached in the same run.",
        "",
        f"Versions: {versions(results)}.",
        "",
        f"## Padded: {sizes['max_length']} steps of every row, the same work for all",
        "",
        *step_time(results, "padded"),
        "## Epoch: the real reviews, batched as each system's users do",
        "",
        "Milliseconds of a mean step; an epoch is 391 of them.",
        "",
        *step_time(results, "epoch"),
        "## How cost grows",
        "",
        "![Step time over batch size, length and width](speed.png)",
        "",
    ]
    for name, file in sweeps.items():
        lines += sweep(name, file["rows"])
    lines += [
        "## Where the time of a padded `lstm` step goes",
        "",
        "Each part alone, in turns, in one run; each contains the one above it but for the first "
        f"two, which are what there is to gain (peak there: {parts['peak_gflops']:.0f} GFLOP/s).",
        "",
        *breakdown(parts),
        "## Until the first step",
        "",
        "From the start of the process, the reviews on disk. With empty caches they are encoded, "
        "and all is compiled; both is kept for the next start.",
        "",
        *first_step(load("first_step.json")),
        "## Memory",
        "",
        "The most that a process held in mode padded, its framework included.",
        "",
        *memory(load("step_time_cpu_memory.json")["rows"] + again),
        "## Accuracy",
        "",
        "Test accuracy in % of the same five seeds, three epochs on all reviews, before the "
        "implementation became faster and after.",
        "",
        *accuracy(before="before", after="after"),
    ]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    draw({name: load(f"step_time_cpu_{name}.json")["rows"] for name in SWEEPS})
