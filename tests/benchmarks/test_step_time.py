"""benchmarks/step_time.py: its arithmetic and verdicts, and that a run gives the whole file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import step_time
from peers import Task

from flax_imdb.data import Examples, Planned


def task(arch: str) -> Task:
    return Task(arch, "cpu", batch_size=2, max_length=8, features=4, embedding_features=3)


def row(system: str, step_ms: float, spread: float = 1.0, **other: Any) -> dict[str, Any]:
    return {
        "system": system,
        "arch": "lstm",
        "mode": "padded",
        "same_work": True,
        "batch_size": 2,
        "max_length": 8,
        "features": 4,
        "precision": "float32",
        "step_ms_median": step_ms,
        "step_ms_quartiles": [step_ms - spread, step_ms + spread],
        "gflops": 50.0,
        **other,
    }


@pytest.mark.parametrize(
    ("arch", "forward"),
    [
        # Two rows of 5 and 3 tokens: 8 products of [3 + 4] with [7, 16].
        ("lstm", 8 * 2 * 7 * 16),
        ("lstm_recurrent_dropout", 8 * 2 * 7 * 16),
        ("bilstm", 2 * 8 * 2 * 7 * 16),
        # 32 filters over 3 steps of width 3; pooled to 3 and 2 steps of width 32.
        ("conv_lstm", 8 * 2 * 9 * 32 + 5 * 2 * 36 * 16),
    ],
)
def test_useful_flops_count_the_products_of_real_tokens(arch: str, forward: int) -> None:
    assert step_time.useful_flops(task(arch), np.array([5, 3])) == 3 * forward


def test_the_tutorials_lstm_has_about_ten_billion_useful_flops() -> None:
    flops = step_time.useful_flops(Task("lstm", "cpu"), np.full(64, 500))
    assert flops == pytest.approx(3 * 3.38e9, rel=1e-3)


def reviews_of(lengths: list[int]) -> Examples:
    return Examples.build([np.full(length, 4) for length in lengths], np.zeros(len(lengths)))


def test_a_sample_holds_every_length_of_its_share_or_more() -> None:
    lengths = np.random.default_rng(0).permutation(
        np.repeat([50, 100, 250, 500], [25, 50, 125, 200])
    )
    plan = [Planned(np.array([row]), 500) for row in range(len(lengths))]
    sample = step_time.stratified(reviews_of(lengths.tolist()), plan, 16)
    found = [int(lengths[planned.indices[0]]) for planned in sample]
    assert {length: found.count(length) for length in (50, 100, 250, 500)} == {
        **{50: 1, 100: 2},
        **{250: 5, 500: 8},
    }


def test_a_sample_keeps_the_order_and_is_at_most_the_plan() -> None:
    examples = reviews_of([5, 1, 4, 2])
    plan = [Planned(np.array([row]), 5) for row in range(4)]
    assert step_time.stratified(examples, plan, 9) == plan
    sample = step_time.stratified(examples, plan, 2)
    assert [examples.lengths[planned.indices[0]] for planned in sample] == [5, 2]


def test_a_row_has_the_median_quartiles_and_rates_of_its_measurements() -> None:
    examples = Examples.build([np.full(n, 4) for n in (8, 2)], np.zeros(2))
    epoch = (examples, [Planned(np.arange(2), 8)] * 5)
    made = step_time.make_row("flax_imdb", "epoch", task("lstm"), epoch, [1.0, 3.0, 2.0], 99.0)
    assert (made["step_ms_median"], made["step_ms_min"]) == (400, 200)
    assert made["step_ms_quartiles"] == [300, 500]
    assert made["epoch_seconds"] == 2
    assert (made["examples_per_second"], made["tokens_per_second"]) == (5, 25)
    assert made["gflops"] == pytest.approx(1e-9 * 3 * 50 * 2 * 7 * 16 / 2)


def test_the_fastest_peer_is_one_that_does_the_same_work() -> None:
    rows = [
        row("flax_imdb", 10.0),
        row("keras-jax", 25.0),
        row("keras-tensorflow", 20.0),
        row("torch", 5.0, same_work=False),
        row("flax_imdb", 30.0, mode="epoch"),
        row("torch", 1.0, features=5),
    ]
    step_time.add_ratios(rows, peak_gflops=200.0)
    ratios = [row["ratio_to_fastest_peer"] for row in rows]
    assert ratios == [2.0, 0.8, 1.0, 4.0, None, 1.0]
    assert rows[0]["floor_fraction"] == 0.25


def test_the_table_says_who_did_less_work() -> None:
    rows = [
        row("flax_imdb", 10.0, step_ms_min=9.0, epoch_seconds=4.0),
        row("torch", 5.0, step_ms_min=4.0, epoch_seconds=2.0, same_work=False),
    ]
    step_time.add_ratios(rows, peak_gflops=200.0)
    _, arch, ours, torch = step_time.table(rows).splitlines()
    assert arch == "lstm, 2 x 8, width 4"
    assert "less work" in torch
    assert "less work" not in ours


@pytest.mark.parametrize(
    ("ours", "peers", "slower"),
    [
        (10.0, 20.0, False),
        (11.5, 20.0, False),  # The quartiles overlap.
        (13.0, 20.0, True),
        (13.0, 26.0, False),  # All are slower by as much: the machine is.
        (10.0, 10.0, True),  # The machine is faster, and this is not.
    ],
)
def test_compare_names_what_slowed_beyond_noise(ours: float, peers: float, slower: bool) -> None:
    old = [row("flax_imdb", 10.0), row("torch", 20.0), row("flax_imdb", 9.0, arch="bilstm")]
    verdicts = step_time.compare(old, [row("flax_imdb", ours), row("torch", peers)])
    assert len(verdicts) == slower
    assert all(verdict.startswith("slower: flax_imdb lstm padded: ") for verdict in verdicts)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--arch", "gru"], "argument --arch: gru is unknown"),
        (["--peers", "numpy"], "argument --peers: numpy is unknown"),
        (
            ["--mode", "padded", "--implementations", "gru"],
            "--implementation gru is unknown: one of auto, scan, fused, cudnn, pallas",
        ),
        (["--features", "4,0"], "argument --features: 0 is not a whole number, 1 or more"),
        (["--rounds", "1"], "argument --rounds: 1 is not a whole number, 2 or more"),
        (["--compare", "absent.json"], "--compare absent.json holds no results"),
        (["--device", "tpu", "--mode", "padded"], "--device tpu is not there"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        step_time.main(flags)
    assert raised.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_run_gives_a_row_for_each_contestant_with_the_documented_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.json"
    flags = ["--arch", "lstm", "--mode", "padded", "--peers", "flax", "--implementations"]
    flags += ["scan,cudnn"]
    flags += ["--batch-size", "2", "--max-length", "8", "--features", "4", "--rounds", "2"]
    assert step_time.main([*flags, "--json", str(file)]) == 0
    results = json.loads(file.read_text())
    assert {"device", "versions", "peak_gflops", "rows"} <= set(results)
    assert results["peak_gflops"] > 0
    assert {"python", "jax", "flax", "flax_imdb"} <= set(results["versions"])
    systems = {row["system"]: row for row in results["rows"]}
    assert list(systems) == ["flax_imdb", "flax_imdb/scan", "flax"]
    for measured in systems.values():
        # In the order of docs/benchmarks.md.
        assert list(measured) == [
            *("system", "arch", "mode", "same_work", "batch_size", "max_length", "features"),
            *("precision", "step_ms_median", "step_ms_min", "step_ms_quartiles"),
            *("epoch_seconds", "examples_per_second", "tokens_per_second", "gflops"),
            *("peak_memory_mb", "floor_fraction", "ratio_to_fastest_peer"),
        ]
        assert 0 < measured["step_ms_min"] <= measured["step_ms_median"]
        assert measured["gflops"] > 0
        assert measured["peak_memory_mb"] > 10
        assert measured["ratio_to_fastest_peer"] > 0
    assert systems["flax"]["ratio_to_fastest_peer"] == 1
    said = capsys.readouterr().out
    assert "flax_imdb/scan" in said
    assert "without flax_imdb/cudnn, lstm, width 4: implementation 'cudnn' needs an NVIDIA" in said
