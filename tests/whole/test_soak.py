"""Thousands of short steps on several CPU devices, all started before any is waited for.

XLA's CPU devices share a pool of as many threads as there are cores. Computations that wait for
each other in it, as those of a collective do, can wait for ever once enough of them are under way.
"""

import json
import os
import subprocess
import sys

import pytest

SOAK = """
import json, sys
import jax
import numpy as np
from flax_imdb import models
from flax_imdb.data import Batching, Examples
from flax_imdb.devices import make_mesh
from flax_imdb.training import Trainer, create_state

count = int(sys.argv[1])
rng = np.random.default_rng(0)
reviews = [rng.integers(3, 30, 5).astype(np.int32) for _ in range(2 * count)]
examples = Examples.build(reviews, rng.integers(0, 2, len(reviews)))
config = models.ModelConfig("lstm", embedding_features=4, features=4)
state = create_state(models.build(config, vocab_size=30), learning_rate=1e-2, seed=0)
trainer = Trainer(make_mesh(jax.devices()), Batching(2 * count, 5, multiple_of=count))
plan = trainer.batching.plan_epoch(examples, seed=0, epoch=1)
for state, metrics in trainer.steps(trainer.place(state), examples, [*plan] * int(sys.argv[2])):
    pass
loss = jax.device_get(metrics)["loss"] / len(examples)
print(json.dumps({"devices": jax.device_count(), "step": int(state.step), "loss": float(loss)}))
"""


@pytest.mark.long
@pytest.mark.parametrize(("devices", "steps"), [(2, 2000), (64, 100)])
def test_steps_in_flight_never_wait_for_each_other(devices: int, steps: int) -> None:
    """XLA ends the process itself when threads have waited for 40 seconds."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
    done = subprocess.run(
        [sys.executable, "-c", SOAK, str(devices), str(steps)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["devices"], result["step"]) == (devices, steps)
    assert result["loss"] < 0.6  # It has learnt its few reviews; at the start it is 0.69.
