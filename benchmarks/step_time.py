"""Time of a training step (forward, backward, Adam) of flax_imdb beside its peers.

    python benchmarks/step_time.py --arch lstm,bilstm --device cpu --json FILE \
        --peers keras-tensorflow,keras-jax,torch,flax --mode padded,epoch

Contestants take turns in one run, each in a process of its own that is idle between its turns.
docs/benchmarks.md says what is measured, and what the file holds.
"""

import argparse
import contextlib
import functools
import importlib.util
import itertools
import json
import operator
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from peers import (
    ARCHITECTURES,
    PEERS,
    Task,
    plan_epoch,
    same_work,
    start,
)
from runner import Parser, Process, at_least, names, summarize, take_turns, write

from flax_imdb.data import DataConfig, Examples, Planned, load_dataset
from flax_imdb.errors import InputError, UnsupportedError, as_flags

MODES = ("padded", "epoch")
PRECISION = "float32"  # The one that all contestants share.
EPOCH_EXAMPLES = 25_000

Row = dict[str, Any]


def useful_flops(task: Task, lengths: np.ndarray) -> float:
    """Floating-point operations of a training step on rows of these lengths, padding excluded.

    Two for each multiplication of the LSTM's and the convolution's matrix products, and three times
    that for the forward and the backward pass. Embedding, head and elementwise work do not count.
    """
    arch = ARCHITECTURES[task.arch]
    steps, width, flops = lengths, task.embedding_features, 0.0
    if arch.conv:
        filters, kernel_size, window = 32, 3, 2
        flops += 2 * kernel_size * width * filters * lengths.sum()
        steps, width = -(-lengths // window), filters
    directions = 2 if arch.bidirectional else 1
    gates = 4 * task.features
    flops += directions * 2 * (width + task.features) * gates * steps.sum()
    return float(3 * flops)


def stratified(examples: Examples, plan: Sequence[Planned], size: int) -> list[Planned]:
    """The middle batch of each of `size` equal parts of `plan` by longest row, in `plan`'s order.

    `plan` takes ``len(plan) / size`` times as long as they do.
    """
    size = min(size, len(plan))
    by_length = np.argsort(
        [examples.lengths[planned.indices].max() for planned in plan], kind="stable"
    )
    middles = ((np.arange(size) + 0.5) * len(plan) / size).astype(int)
    return [plan[i] for i in np.sort(by_length[middles])]


def padded_epoch(task: Task) -> tuple[Examples, Sequence[Planned]]:
    """As many batches as a training epoch of IMDB has, without any padding; they are one batch."""
    rng = np.random.default_rng(7)
    tokens = rng.integers(3, task.vocab_size, (task.batch_size, task.max_length), np.int32)
    examples = Examples.build(list(tokens), rng.integers(0, 2, task.batch_size))
    batches = -(-EPOCH_EXAMPLES // task.batch_size)
    return examples, [Planned(np.arange(task.batch_size), task.max_length)] * batches


def plan_epochs(
    mode: str, systems: Sequence[str], task: Task, reviews: Examples | None
) -> dict[str, tuple[Examples, Sequence[Planned]]]:
    """The examples and the batches of each system's epoch."""
    if reviews is None or mode == "padded":
        return dict.fromkeys(systems, padded_epoch(task))
    examples = reviews.limited(task.vocab_size, task.max_length)
    return {system: (examples, plan_epoch(system, task, examples)) for system in systems}


def measure(
    processes: Sequence[Process],
    epochs: dict[str, tuple[Examples, Sequence[Planned]]],
    *,
    sample: int,
    rounds: int,
) -> dict[str, list[float]]:
    """Seconds that an epoch takes each contestant, once a round, scaled up from a sample of it.

    Args:
      processes: the contestants.
      epochs: by contestant, the examples and batches of its epoch.
      sample: batches that a contestant trains on in its turn.
      rounds: turns of each contestant.
    """
    scales = {}
    for process in processes:
        examples, plan = epochs[process.name]
        batches = stratified(examples, plan, sample)
        scales[process.name] = len(plan) / len(batches)
        process.ask("load", examples, batches)
        process.ask("train")  # Compiles.
    turns = {process.name: functools.partial(process.ask, "seconds") for process in processes}
    return {
        system: [scales[system] * seconds for seconds in taken]
        for system, taken in take_turns(turns, rounds).items()
    }


def make_row(
    system: str,
    mode: str,
    task: Task,
    epoch: tuple[Examples, Sequence[Planned]],
    seconds: list[float],
    peak_memory_mb: float | None,
) -> Row:
    """A row of the results, as far as it needs no other."""
    examples, plan = epoch
    lengths = np.concatenate([examples.lengths[planned.indices] for planned in plan])
    times = summarize([1e3 * epoch_seconds / len(plan) for epoch_seconds in seconds])
    epoch_seconds = 1e-3 * times["step_ms_median"] * len(plan)
    return {
        "system": system,
        "arch": task.arch,
        "mode": mode,
        "same_work": same_work(system, task.arch),
        "batch_size": task.batch_size,
        "max_length": task.max_length,
        "features": task.features,
        "precision": PRECISION,
        **times,
        "epoch_seconds": epoch_seconds,
        "examples_per_second": len(lengths) / epoch_seconds,
        "tokens_per_second": int(lengths.sum()) / epoch_seconds,
        "gflops": 1e-9 * useful_flops(task, lengths) / epoch_seconds,
        "peak_memory_mb": peak_memory_mb,
    }


def add_ratios(rows: list[Row], peak_gflops: float) -> None:
    """Add to each row what compares it with the machine and with the peers."""
    same_task = operator.itemgetter("arch", "mode", "batch_size", "max_length", "features")
    for row in rows:
        peers = [
            other["step_ms_median"]
            for other in rows
            if other["system"] in PEERS
            and other["same_work"]
            and same_task(other) == same_task(row)
        ]
        row["floor_fraction"] = row["gflops"] / peak_gflops
        row["ratio_to_fastest_peer"] = min(peers) / row["step_ms_median"] if peers else None


def compare(old: list[Row], new: list[Row]) -> list[str]:
    """Which rows slowed beyond noise since `old`: a line for each.

    That is where the middle halves of the measurements do not overlap. What the peers' rows (their
    median) say of the machine's own speed, then and now, is taken out first.

    Raises:
      InputError: no row was measured then and now.
    """
    key_names = ("system", "arch", "mode", "batch_size", "max_length", "features", "precision")
    before = {tuple(row[name] for name in key_names): row for row in old}
    pairs = [
        (before[key], row) for row in new if (key := tuple(row[n] for n in key_names)) in before
    ]
    if not pairs:
        raise InputError("--compare has no row in common with this run: choose flags as there")
    drifts = [
        row["step_ms_median"] / then["step_ms_median"]
        for then, row in pairs
        if row["system"] in PEERS
    ]
    drift = statistics.median(drifts) if drifts else 1.0
    return [
        f"slower: {row['system']} {row['arch']} {row['mode']}: "
        f"{row['step_ms_median']:.1f} ms, was {then['step_ms_median']:.1f} "
        f"(this machine's speed then: {drift * then['step_ms_median']:.1f})"
        for then, row in pairs
        if row["step_ms_quartiles"][0] > drift * then["step_ms_quartiles"][1]
    ]


def table(rows: list[Row]) -> str:
    """The rows for the console."""
    heads = ("step ms", "min", "epoch s", "GFLOP/s", "floor", "ratio")
    lines = [f"{'':24}{'mode':8}" + "".join(f"{head:>9}" for head in heads)]
    task = operator.itemgetter("arch", "batch_size", "max_length", "features")
    for (arch, batch_size, max_length, features), of_task in itertools.groupby(rows, key=task):
        lines.append(f"{arch}, {batch_size} x {max_length}, width {features}")
        for row in of_task:
            ratio = row["ratio_to_fastest_peer"]
            lines.append(
                f"  {row['system']:22}{row['mode']:8}{row['step_ms_median']:9.2f}"
                f"{row['step_ms_min']:9.2f}{row['epoch_seconds']:9.2f}{row['gflops']:9.1f}"
                f"{row['floor_fraction']:9.2f}"
                + (f"{ratio:9.2f}" if ratio else f"{'':9}")
                + ("" if row["same_work"] else "  less work: no recurrent dropout")
            )
    return "\n".join(lines)


def sizes(text: str) -> list[int]:
    """Reads whole numbers above 0, separated by commas."""
    return [at_least(1)(number) for number in text.split(",")]


def read_options(arguments: Sequence[str] | None) -> tuple[Parser, argparse.Namespace]:
    """The flags, checked as far as can be without starting anything."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--arch", type=names(*ARCHITECTURES), default="lstm", help="such as lstm,bilstm")
    add("--device", choices=("cpu", "gpu", "tpu"), default="cpu")
    add("--peers", type=names(*PEERS), default="", help=f"any of {','.join(PEERS)}")
    add("--implementations", type=names(), default="", help="of flax_imdb's LSTM, such as scan")
    add("--mode", type=names(*MODES), default=",".join(MODES), help="padded,epoch: both")
    add("--compare", type=Path, help="earlier results; status 1 where a row has become slower")
    add("--data-dir", help="where the reviews are, for --mode epoch (default: $TFDS_DATA_DIR)")
    add("--batch-size", type=sizes, default="64", help="several, such as 16,64, are a sweep")
    add("--max-length", type=sizes, default="500")
    add("--features", type=sizes, default="100")
    add("--rounds", type=at_least(2), default=9, help="turns of each contestant")
    add("--steps", type=at_least(1), default=4, help="steps of a turn in mode padded")
    add("--sample", type=at_least(1), default=16, help="batches of a turn in mode epoch")
    options = parser.parse_args(arguments)
    for peer in options.peers:
        for module in PEERS[peer]:
            if importlib.util.find_spec(module) is None:
                parser.error(f'--peers {peer} needs {module}: pip install "flax-imdb[peers]"')
    return parser, options


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what the flags ask for."""
    systems = ["flax_imdb", *(f"flax_imdb/{name}" for name in options.implementations)]
    systems += options.peers
    reviews = None
    if "epoch" in options.mode:
        reviews = load_dataset(
            DataConfig("imdb_reviews", options.data_dir, max_length=max(options.max_length))
        ).train
    rows: list[Row] = []
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    peak_gflops, device = 0.0, ""
    for arch, batch_size, max_length, features in itertools.product(
        options.arch, options.batch_size, options.max_length, options.features
    ):
        task = Task(arch, options.device, batch_size, max_length, features)
        with contextlib.ExitStack() as stack:
            started = [stack.enter_context(start(system, task)) for system in systems]
            processes = []
            for process in started:  # Before any is measured, all are up and idle.
                try:
                    versions |= process.ask("versions")
                    processes.append(process)
                except UnsupportedError as error:
                    print(f"without {process.name}, {arch}, width {features}: {error}")
            peak_gflops = max(peak_gflops, processes[0].ask("peak_gflops"))
            device = processes[0].ask("device_kind")
            for mode in options.mode:
                epochs = plan_epochs(mode, systems, task, reviews)
                seconds = measure(
                    processes,
                    epochs,
                    sample=options.steps if mode == "padded" else options.sample,
                    rounds=options.rounds,
                )
                rows += [
                    make_row(
                        process.name,
                        mode,
                        task,
                        epochs[process.name],
                        seconds[process.name],
                        process.ask("peak_memory_mb"),
                    )
                    for process in processes
                ]
            # Again: for a moment the machine may have been slower then.
            peak_gflops = max(peak_gflops, processes[0].ask("peak_gflops"))
    add_ratios(rows, peak_gflops)
    return {
        "device": options.device,
        "device_kind": device,
        "versions": versions,
        "peak_gflops": peak_gflops,
        "rounds": options.rounds,
        "rows": rows,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write and compare; returns the exit status."""
    parser, options = read_options(arguments)
    try:
        old = json.loads(options.compare.read_text())["rows"] if options.compare else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f"--compare {options.compare} holds no results: {error}")
    try:
        results = run(options)
        print(table(results["rows"]))
        write(options.json, results)
        slower = compare(old, results["rows"]) if old is not None else []
    except InputError as error:
        parser.error(as_flags(str(error)))
    print("\n".join(slower), end="\n" if slower else "")
    return 1 if slower else 0


if __name__ == "__main__":
    raise SystemExit(main())
