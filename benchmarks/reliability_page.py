"""Writes the tables of docs/reliability.md, from what faults.py found.

python benchmarks/reliability_page.py
"""

from typing import Any

from tables import ROOT, load, markdown, versions

PAGE = ROOT / "docs" / "reliability.md"


def kills(results: Any) -> list[str]:
    """A row for each signal."""
    rows = [
        [
            f"{killed['signal']}: {killed['count']} runs",
            ", ".join(f"{count} {phase}" for phase, count in killed["phases"].items()),
            f"{killed['seconds_median']:.2f} ({killed['seconds_max']:.2f})",
            f"{killed['resumed']}",
            f"{killed['equal']}",
        ]
        for killed in results["kills"]
    ]
    return markdown(["", "at", "seconds to end (most)", "resumed", "with the same bits"], rows)


def jobs(results: Any) -> list[str]:
    """A row for each signal and number of processes."""
    rows = [
        [
            f"{job['signal']}: {job['count']} jobs of {job['processes']} processes",
            ", ".join(f"{count} {phase}" for phase, count in job["phases"].items()),
            ", ".join(f"{count} with {status}" for status, count in job["statuses"].items()),
            f"{job['seconds_median']:.1f} ({job['seconds_max']:.1f})",
            f"{len(job['wrong'])}",
            f"{job['resumed']}",
            f"{job['same']}",
        ]
        for job in results["jobs"]
    ]
    heads = ["", "at", "the others ended", "after seconds (most)", "wrong endings", "resumed"]
    return markdown([*heads, "with the same losses"], rows)


def damages(results: Any) -> list[str]:
    """A row for each kind of damage."""
    counts = ("count", "refused", "resumed from an older one")
    rows = [
        [kind, *(f"{outcome[name]}" for name in counts)]
        for kind, outcome in results["damages"]["kinds"].items()
    ]
    return markdown(["", "checkpoints", *counts[1:]], rows)


def texts(results: Any) -> list[str]:
    """What was done with them, and how often it ended as it must."""
    made = results["texts"]
    rows = [
        ["made", f"{made['count']:,}"],
        ["in the vocabulary: words", f"{made['words']:,}"],
        ["in a test split, evaluated three times with the same bits", f"{made['evaluated']:,}"],
        ["classified twice with the same bits", f"{made['predicted']:,}"],
        ["refused, with a reason", f"{made['unreadable, with a reason']:,}"],
        ["lines of bytes, for `flax-imdb predict`", f"{made['lines']:,}"],
        ["lines answered twice alike", f"{made['lines answered']:,}"],
        ["crashes", f"{made['tracebacks']}"],
    ]
    return markdown(["", "texts"], rows)


def memory(results: Any) -> list[str]:
    """A row for each long run."""
    rows = [
        [
            f"{long['checkpoint_steps']}",
            *(f"{sample['mb']:.0f} ({sample['step']:,})" for sample in long["resident_mb"]),
            f"{long['mb_per_1000_steps']:.2f}",
        ]
        for long in results["memory"]
    ]
    heads = ["MB (after step)"] * len(results["memory"][0]["resident_mb"])
    return markdown(["steps between checkpoints", *heads, "MB per 1,000 steps"], rows)


def machine(results: Any) -> list[str]:
    """What it was found on."""
    return [f"On {results['cpus']} cores, with {versions(results)}.", ""]


def filled(text: str, name: str, lines: list[str]) -> str:
    """The text with the lines between the marks of that name."""
    begin, end = f"<!-- {name} -->\n", "<!-- end -->"
    before, after = text.split(begin)
    return before + begin + "\n".join(lines) + end + after.partition(end)[2]


def page() -> str:
    """The page, with the tables in their places."""
    results, text = load("faults.json"), PAGE.read_text()
    for table in (machine, kills, jobs, damages, texts, memory):
        text = filled(text, table.__name__, table(results))
    return text


if __name__ == "__main__":
    PAGE.write_text(page())
