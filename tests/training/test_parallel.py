"""The training step on several devices and in parts: the parameters of one device and the whole."""

import functools
import itertools
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jobs import Job, free_port
from numerics import assert_close

from flax_imdb import models
from flax_imdb.data import Batch, Batching, Examples
from flax_imdb.devices import by_row, make_mesh, replicated
from flax_imdb.layers import Window
from flax_imdb.training import Objective, TrainState, create_state, eval_step, train_step
from flax_imdb.training.parallel import ShardedTrainStep, SplitTrainStep, place

VOCAB_SIZE = 30
DEVICES = 4
STEPS = 50

Run = Callable[[TrainState, list[Batch]], tuple[Any, list[Any]]]


def new_state(arch: str, window: Window | None = None, **settings: Any) -> TrainState:
    config = models.ModelConfig(arch=arch, embedding_features=4, features=6, **settings)
    model = models.build(config, VOCAB_SIZE, window=window)
    return create_state(model, learning_rate=1e-3, seed=0)


@functools.cache
def batches() -> list[Batch]:
    """Of 10 reviews, which 4 devices cannot share evenly, and now and then of 3."""
    rng = np.random.default_rng(0)
    batching = Batching(10, 12, multiple_of=2 * DEVICES)
    made = []
    for number in range(STEPS):
        real = 3 if number % 7 == 6 else 10
        reviews = [rng.integers(3, VOCAB_SIZE, rng.integers(1, 13)) for _ in range(real)]
        examples = Examples.build(reviews, rng.integers(0, 2, real))
        (planned,) = batching.plan_evaluation(examples)
        made.append(batching.make(examples, planned._replace(time=12)))
    return made


def run(step: Any, state: TrainState, shown: list[Batch]) -> tuple[Any, list[Any]]:
    """Parameters after a step on each batch, and the metrics of each."""
    history = []
    for batch in shown:
        state, metrics = step(state, batch)
        history.append(jax.device_get(metrics))  # One at a time: the steps have collectives.
    return jax.device_get(state.params), history


def on_one_device(state: TrainState, shown: list[Batch]) -> tuple[Any, list[Any]]:
    return run(jax.jit(train_step), state, shown)


def in_microbatches(state: TrainState, shown: list[Batch]) -> tuple[Any, list[Any]]:
    return run(jax.jit(partial(train_step, microbatches=4)), state, shown)


@jax.jit
def on_each(state: TrainState) -> TrainState:
    """A copy for each device, as `jax.pmap` wants it."""
    return jax.tree.map(lambda leaf: jnp.stack([leaf] * DEVICES), state)


def replicated_by_pmap(state: TrainState, shown: list[Batch]) -> tuple[Any, list[Any]]:
    devices = jax.devices()[:DEVICES]
    step = jax.pmap(partial(train_step, axis_name="batch"), axis_name="batch", devices=devices)
    shares = [
        jax.tree.map(lambda rows: rows.reshape(DEVICES, -1, *rows.shape[1:]), batch)
        for batch in shown
    ]
    params, history = run(step, on_each(state), shares)

    def of_one(leaf: np.ndarray) -> np.ndarray:
        np.testing.assert_array_equal(leaf, np.stack([leaf[0]] * DEVICES))  # The same bits.
        return leaf[0]

    return jax.tree.map(of_one, (params, history))


def sharded_by_jit(state: TrainState, shown: list[Batch]) -> tuple[Any, list[Any]]:
    mesh = make_mesh(jax.devices()[:DEVICES])
    step = jax.jit(
        train_step, in_shardings=(replicated(mesh), by_row(mesh)), out_shardings=replicated(mesh)
    )
    return run(step, state, shown)


def as_on_accelerators(state: TrainState, shown: list[Batch]) -> tuple[Any, list[Any]]:
    step = ShardedTrainStep(make_mesh(jax.devices()[:DEVICES]), microbatches=2)
    return run(step, place(state, step.sharding), shown)


def as_on_cpus(state: TrainState, shown: list[Batch]) -> tuple[Any, list[Any]]:
    step = SplitTrainStep(make_mesh(jax.devices()[:DEVICES]), microbatches=2)
    return run(step, place(state, step.sharding), shown)


@functools.cache
def expected(arch: str) -> tuple[Any, list[Any]]:
    return on_one_device(new_state(arch), batches())


@pytest.mark.parametrize(
    ("arch", "way"),
    [
        *itertools.product(models.ARCHITECTURES, (as_on_accelerators, as_on_cpus)),
        # The others are parts of these.
        *itertools.product(
            ("lstm_recurrent_dropout", "bilstm", "conv_lstm_dropout"), (replicated_by_pmap,)
        ),
        ("lstm_dropout", in_microbatches),
        ("lstm_dropout", sharded_by_jit),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_fifty_steps_are_those_of_one_device(arch: str, way: Run) -> None:
    """The same but for float rounding, with dropout, uneven shares and filling."""
    params, history = way(new_state(arch), batches())
    expected_params, expected_history = expected(arch)
    assert_close(history, expected_history, 1e-4)
    assert_close(params, expected_params, 1e-4)


@pytest.mark.parametrize("way", [ShardedTrainStep, SplitTrainStep])
def test_every_setting_gives_the_steps_of_one_device(way: Any) -> None:
    """N-grams, embedded and counted, windows, pooling, dropout of three kinds, an adversary."""
    objective = Objective(label_smoothing=0.1, adversarial_norm=0.3)
    settings: dict[str, Any] = {
        **{"window": Window(7, 4)},
        **{"pooling": "max_mean", "ngrams": 3, "ngram_buckets": 100, "dropout": 0.3},
        **{"wide_ngrams": 2, "wide_buckets": 100, "word_dropout": 0.2, "head_dropout": 0.4},
    }
    step = way(make_mesh(jax.devices()[:DEVICES]), microbatches=2, objective=objective)
    shown = batches()[:10]
    one = jax.jit(partial(train_step, objective=objective))
    of_one = run(one, new_state("lstm", **settings), shown)
    params, history = run(step, place(new_state("lstm", **settings), step.sharding), shown)
    assert_close(history, of_one[1], 1e-4)
    assert_close(params, of_one[0], 1e-3)


def test_an_evaluation_by_pmap_is_that_of_one_device() -> None:
    devices = jax.devices()[:DEVICES]
    step = jax.pmap(partial(eval_step, axis_name="batch"), axis_name="batch", devices=devices)
    batch = batches()[6]
    shares = jax.tree.map(lambda rows: rows.reshape(DEVICES, -1, *rows.shape[1:]), batch)
    state = new_state("lstm")
    metrics = step(on_each(state), shares)
    expected = jax.jit(eval_step)(state, batch)
    for name in ("predicted", "probability"):
        assert_close(metrics.pop(name).ravel(), expected.pop(name))
    assert_close(jax.tree.map(lambda leaf: leaf[0], metrics), expected)


@pytest.mark.parametrize("arch", ["lstm_dropout", "bilstm", "conv_lstm_dropout"])
def test_each_accelerator_computes_its_share_alone(arch: str) -> None:
    """Nothing but the sum of the gradients crosses between devices, and the work is divided."""
    mesh = make_mesh(jax.devices()[:DEVICES])
    step = ShardedTrainStep(mesh, microbatches=1)
    batch, state = batches()[0], new_state(arch)
    compiled = jax.jit(step.mapped).lower(place(state, step.sharding), batch).compile()
    collectives = re.findall(r" (all-\w+|collective-\w+|reduce-scatter)\(", compiled.as_text())
    assert set(collectives) == {"all-reduce"}
    rows = len(batch["labels"]) // DEVICES
    products = re.findall(r"= f32\[\d+,(\d+)\]\S* dot\(", compiled.as_text())
    assert str(rows) in products
    assert str(len(batch["labels"])) not in products


ON_SEVERAL_HOSTS = """
import json, sys
import jax, numpy as np
from flax_imdb.devices import make_mesh, select_devices
from flax_imdb.distributed import Processes, join
join(Processes(coordinator=sys.argv[1], num_processes=2, process_id=int(sys.argv[2]), timeout=60))
devices = select_devices("cpu")
import test_parallel as here
from flax_imdb.training.parallel import ShardedTrainStep, place
step = ShardedTrainStep(make_mesh(devices), microbatches=1)
part = jax.process_index()
shares = [
    {name: rows.reshape(2, -1, *rows.shape[1:])[part] for name, rows in batch.items()}
    for batch in here.batches()
]
params, history = here.run(step, place(here.new_state(sys.argv[3]), step.sharding), shares)
np.savez(sys.argv[4], *jax.tree.leaves((params, history)))
"""


def test_one_program_over_two_hosts_gives_the_steps_of_one_device(tmp_path: Any) -> None:
    """What accelerators run; the CPUs' own way is tested as a command, in test_processes.py."""
    address = f"127.0.0.1:{free_port()}"
    files = [tmp_path / f"{number}.npz" for number in range(2)]
    environment = {"JAX_NUM_CPU_DEVICES": "1", "PYTHONPATH": ":".join(sys.path)}
    arguments = [
        ["-c", ON_SEVERAL_HOSTS, address, number, "lstm_dropout", files[number]]
        for number in range(2)
    ]
    with Job([environment] * 2, arguments) as job:
        for status, _, errors in job.ends():
            assert status == 0, errors
    for file in files:
        loaded = np.load(file)
        leaves = [loaded[name] for name in loaded.files]
        assert_close(leaves, jax.tree.leaves(expected("lstm_dropout")), 1e-4)
