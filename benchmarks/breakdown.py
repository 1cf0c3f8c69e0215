"""Where the time of a training step goes: parts of it, each timed alone, in turns.

    python benchmarks/breakdown.py --json FILE

The step is that of `lstm` on 64 rows of 500 tokens, split over the CPU's devices.
"""

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import runner
from jax import lax
from peers import Task
from peers.ours import FlaxImdb

from flax_imdb import ops
from flax_imdb.data import Batching, Examples
from flax_imdb.devices import by_row, make_mesh, replicated, select_devices
from flax_imdb.models import ModelConfig, build
from flax_imdb.training import Trainer, create_state
from flax_imdb.training.parallel import on_each_device
from flax_imdb.training.step import sum_gradients
from flax_imdb.tuning import tune_process

BATCH, TIME, IN_FEATURES, FEATURES, VOCAB = 64, 500, 32, 100, 5000
CHUNK = 10  # steps, as the fused implementation takes of 32 rows


def products(weights: Any, inputs: jax.Array) -> Any:
    """The matrix products of a training step, with nothing between them."""
    matrix = jnp.concatenate(weights[:2])
    batch = len(inputs)
    transposed = lax.optimization_barrier(matrix.T)
    xh = jnp.broadcast_to(inputs[:, 0, 0], (len(matrix), batch))
    z = jnp.broadcast_to(inputs[:, 0, 0], (len(transposed), batch))
    xh = lax.fori_loop(0, TIME, lambda _, xh: xh * 0.999 + (transposed @ xh)[0] * 1e-9, xh)
    z = lax.fori_loop(0, TIME, lambda _, z: z * 0.999 + (matrix @ z)[0] * 1e-9, z)
    xh, z = jnp.tile(xh, CHUNK), jnp.tile(z, CHUNK)

    def step(_: Any, state: Any) -> Any:
        xh, total = state
        return xh * 0.999, total + xh @ z.T

    return lax.fori_loop(0, TIME // CHUNK, step, (xh, jnp.zeros_like(matrix)))[1]


def lstm(weights: Any, inputs: jax.Array) -> jax.Array:
    """The layer's last output."""
    batch = len(inputs)
    zeros = jnp.zeros((batch, FEATURES))
    lengths = jnp.full(batch, TIME) + (inputs[:, 0, 0] > 1e9)  # Not known to the compiler.
    direction = ops.Direction((zeros, zeros), ops.LSTMWeights(*weights))
    ((_, outputs),) = ops.lstm(inputs, lengths, [direction], return_sequences=False)
    return outputs


def lstm_gradients(weights: Any, inputs: jax.Array) -> Any:
    """Of the layer, by its weights and inputs."""
    return jax.grad(lambda *a: jnp.sum(lstm(*a) ** 2), argnums=(0, 1))(weights, inputs)


def parts() -> dict[str, Callable[[], Any]]:
    """Each part of a step, compiled."""
    tune_process()
    devices = select_devices("cpu", BATCH)
    mesh = make_mesh(devices)
    rng = np.random.default_rng(0)
    tokens = list(rng.integers(3, VOCAB, (BATCH, TIME), np.int32))
    examples = Examples.build(tokens, rng.integers(0, 2, BATCH))
    trainer = Trainer(mesh, Batching(BATCH, TIME, multiple_of=len(devices)))
    model = build(ModelConfig("lstm", IN_FEATURES, FEATURES), VOCAB)
    state = trainer.place(create_state(model, learning_rate=1e-3, seed=7))
    plan = trainer.batching.plan_evaluation(examples)
    batch = jax.device_put(trainer.batching.make(examples, plan[0]), by_row(mesh))
    weights = tuple(
        jax.device_put(rng.normal(0, 0.1, shape).astype(np.float32), replicated(mesh))
        for shape in ((IN_FEATURES, 4 * FEATURES), (FEATURES, 4 * FEATURES), (4 * FEATURES,))
    )
    inputs = jax.device_put(
        rng.normal(0, 1, (BATCH, TIME, IN_FEATURES)).astype(np.float32), by_row(mesh)
    )

    def compiled(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
        program = jax.jit(on_each_device(function, mesh)).lower(*arguments).compile()
        return lambda: program(*arguments)

    def step() -> Any:
        nonlocal state
        ((state, metrics),) = trainer.steps(state, examples, plan)
        return metrics

    copy = jax.device_put(jax.tree.map(jnp.copy, state), replicated(mesh))  # Steps donate theirs.
    return {
        "matrix products alone": compiled(products, weights, inputs),
        "LSTM forward": compiled(lstm, weights, inputs),
        "LSTM forward and backward": compiled(lstm_gradients, weights, inputs),
        "gradients of the whole model": compiled(sum_gradients, copy, batch),
        "training step, its batch included": step,
    }


def milliseconds_of(part: Callable[[], Any]) -> float:
    """How long a part takes."""
    start = time.perf_counter()
    jax.block_until_ready(part())
    return 1e3 * (time.perf_counter() - start)


def main() -> None:
    """Measure, print and write."""
    parser = runner.Parser(__doc__)
    parser.add_argument("--rounds", type=runner.at_least(2), default=15)
    options = parser.parse_args()
    peak_gflops = FlaxImdb(Task("lstm", "cpu"), "").peak_gflops()
    timed = parts()
    for part in timed.values():
        milliseconds_of(part)  # Compiles.
    turns = {name: functools.partial(milliseconds_of, part) for name, part in timed.items()}
    milliseconds = runner.take_turns(turns, options.rounds)
    flops = 3 * 2 * BATCH * TIME * (IN_FEATURES + FEATURES) * 4 * FEATURES
    rows = [{"part": "products at the measured peak", "ms": 1e-6 * flops / peak_gflops}]
    rows += [{"part": name, "ms": statistics.median(ms)} for name, ms in milliseconds.items()]
    for row in rows:
        print(f"{row['part']:36}{row['ms']:8.1f} ms")
    runner.write(options.json, {"peak_gflops": peak_gflops, "rows": rows})


if __name__ == "__main__":
    main()
