"""Makes docs/scaling.md of what scaling.py and remat.py measured, and of what follows on paper.

    python benchmarks/scaling_page.py

benchmarks/results/README.md says which command wrote which file.
"""

import math
from typing import Any

import numpy as np
from peers import Task
from step_time import useful_flops
from tables import ROOT, accuracy, load, markdown, spread

PAGE = ROOT / "docs" / "scaling.md"

# What the paper below assumes of accelerators. Nothing of it is measured here.
STEP_LATENCY = 10e-6  # seconds that a time step takes, forward or backward, however few its rows
RATE = 20e12  # floating-point operations a second, of products as thin as these
LINK, LINK_LATENCY = 300e9, 2e-6  # bytes a second and seconds, between the 8 devices of a host
NETWORK, NETWORK_LATENCY = 25e9, 10e-6  # between hosts
PER_HOST = 8

# name, width of the embedding, of the LSTM, ids, rows on a device
MODELS = [
    ("`lstm` at the tutorial's size", 32, 100, 5_000, 64),
    ("`lstm`, embedding 300, width 512, 30,000 words", 300, 512, 30_000, 256),
]
REVIEWS = 25_000


def parameters(embedding: int, features: int, words: int) -> int:
    """Number of scalars of `lstm`; as many are in its gradient."""
    return words * embedding + 4 * features * (embedding + features + 1) + features + 1


def compute_seconds(embedding: int, features: int, rows: int) -> float:
    """A step's time on one device: its time steps one after the other, or its products."""
    task = Task("lstm", "gpu", rows, 500, features, embedding)
    flops = useful_flops(task, np.full(rows, task.max_length))
    return max(2 * task.max_length * STEP_LATENCY, flops / RATE)


def reduce_seconds(size: float, devices: int) -> float:
    """An all-reduce of `size` bytes: a ring in each host, and a tree between hosts."""
    local = min(devices, PER_HOST)
    hosts = devices // local
    return (
        2 * (local - 1) / local * size / LINK
        + 2 * (local - 1) * LINK_LATENCY
        + 2 * (hosts - 1) / hosts * size / NETWORK
        + 2 * math.ceil(math.log2(hosts)) * NETWORK_LATENCY
    )


def measured(results: Any) -> list[str]:
    """A table for each kind of scaling."""
    lines = []
    for scaling, text in (
        ("strong", "The same 64 rows, over ever more devices"),
        ("weak", "64 rows on each device"),
    ):
        rows = [row for row in results["rows"] if row["scaling"] == scaling]
        one = rows[0]["examples_per_second"]
        table = [
            [
                str(row["devices"]),
                str(row["processes"]),
                str(row["batch_size"]),
                spread(row),
                f"{row['examples_per_second']:.0f}",
                f"{row['examples_per_second'] / one:.2f}",
            ]
            for row in rows
        ]
        heads = ["devices", "processes", "rows", "ms per step (quartiles)", "examples/s", "of one"]
        lines += [f"{text}:", "", *markdown(heads, table)]
    return lines


def on_paper() -> list[str]:
    """A table for each model."""
    lines = []
    for name, embedding, features, words, rows in MODELS:
        size = 4 * parameters(embedding, features, words)
        compute = compute_seconds(embedding, features, rows)
        table = []
        for devices in (1, 8, 256, 4096):
            reduce = reduce_seconds(size, devices)
            table.append(
                [
                    f"{devices:,}",
                    f"{rows * devices:,}",
                    f"{1e3 * compute:.1f}",
                    f"{1e3 * reduce:.2f}",
                    f"{compute / (compute + reduce):.2f}",
                    f"{REVIEWS / (rows * devices):.2g}",
                ]
            )
        flops = compute_seconds(embedding, features, 10**6) / 10**6
        full = 2 * 500 * STEP_LATENCY / flops
        lines += [
            f"**{name}**: {size / 1e6:.2f} MB of gradients, {rows} rows on a device. Up to "
            f"{full:,.0f} rows a device is idle for most of a step: fewer rows take as long.",
            "",
            *markdown(
                [
                    *("devices", "rows in a batch", "compute, ms", "all-reduce, ms"),
                    *("efficiency", "steps in an epoch of IMDB"),
                ],
                table,
            ),
        ]
    return lines


def remat(results: Any) -> list[str]:
    """Memory and time, beside those without."""
    table = []
    for row in results["rows"]:
        if row["remat_steps"] is None:
            plain = row
        table.append(
            [
                f"{row['max_length']:,}",
                str(row["remat_steps"] or "-"),
                f"{row['peak_memory_mb']:,.0f}",
                f"{row['step_ms_median']:,.0f}",
                f"{row['step_ms_median'] / plain['step_ms_median']:.2f}",
            ]
        )
    heads = ["tokens", "`--remat-steps`", "peak memory, MB", "ms per step", "of without"]
    return markdown(heads, table)


def page() -> str:
    """The whole page."""
    results = load("scaling_cpu.json")
    lines = [
        "# Scaling: more devices, longer sequences, lower precision",
        "",
        "<!-- Written by benchmarks/scaling_page.py from benchmarks/results: do not edit. -->",
        "",
        "## Measured: CPU devices of one machine",
        "",
        f"Steps of `{results['arch']}` on rows of {results['max_length']} tokens, medians of "
        f"{results['rounds']} rounds in which all configurations took turns, on "
        f"{results['cpus']} cores. So this can show what {results['cpus']} devices gain, and what "
        "more "
        "devices and more processes cost where they gain nothing: their overhead. It cannot show "
        "how "
        "accelerators scale, nor a network: processes meet on the loopback interface.",
        "",
        *measured(results),
        "## On paper: accelerators",
        "",
        "Where does data parallelism stop paying? A step takes the time of its computation on each "
        "device's rows, and of adding up the gradients of all devices. The operations and the "
        "size of "
        "the gradients are those of the models here. Assumed, not measured: a time step takes "
        f"{1e6 * STEP_LATENCY:.0f} µs forward and as long backward, whatever its rows, or its "
        f"operations at {RATE / 1e12:.0f} TFLOP/s where these take longer; 8 devices a host, a "
        "ring "
        f"at {LINK / 1e9:.0f} GB/s and {1e6 * LINK_LATENCY:.0f} µs a hop in it, a tree at "
        f"{NETWORK / 1e9:.0f} GB/s and {1e6 * NETWORK_LATENCY:.0f} µs a hop between hosts; no "
        "overlap. Efficiency is the share of a step that computes.",
        "",
        *on_paper(),
        "- **8 devices** pay: the gradients are small, and the time loop is long.",
        "- **256 devices** pay by the clock, and for IMDB no more by the epoch: at the tutorial's "
        "size a step would hold most of the reviews, and an epoch one or two updates.",
        "- **4,096 devices** would need batches larger than the data set. What they could still "
        "do is "
        "to train many seeds or settings at once.",
        "- The same batch on more devices gains nothing at these sizes: a time step on few "
        "rows takes as long as on many, and there are 500 of them one after the other. More "
        "devices are for more rows. What ends it is the batch size that still learns, not the "
        "network.",
        "",
        "## Long sequences",
        "",
        "`--remat-steps N` (`LSTM(..., remat_steps=N)`) keeps the state of every N-th step and "
        "computes the others again for the gradient. What is kept of N steps and what is kept of "
        "all chunks add up, so memory is least near the square root of the length. "
        f"`lstm`, {remat_rows()} rows at full length; the process's whole memory, with JAX itself.",
        "",
        *remat(load("remat_cpu.json")),
        "## bfloat16",
        "",
        "`--precision bfloat16` rounds what goes into the encoder's products to 8 bits of "
        "mantissa. "
        "Their sums, the carry, the gradients of all parameters, Adam, embedding, head and loss "
        "stay "
        "float32. Test accuracy in % after three epochs, the same five seeds:",
        "",
        *accuracy(float32="after", bfloat16="bfloat16"),
        "It is meant for accelerators, where it halves the traffic and multiplies the rate of "
        "products. A CPU without instructions for it converts, and is slower with it.",
    ]
    return "\n".join(lines).rstrip() + "\n"


def remat_rows() -> int:
    """Rows of a batch there."""
    rows: int = load("remat_cpu.json")["rows"][0]["batch_size"]
    return rows


if __name__ == "__main__":
    PAGE.write_text(page())
