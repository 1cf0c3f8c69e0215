"""flax_imdb, as its command trains."""

import shutil
import subprocess
import time
from collections.abc import Sequence

import flax
import jax
import jax.numpy as jnp

import flax_imdb
from flax_imdb import models
from flax_imdb.data import Batching, Examples, Planned
from flax_imdb.devices import make_mesh, select_devices
from flax_imdb.training import TrainConfig, Trainer, create_state, one_late
from flax_imdb.tuning import tune_process
from peers import LEARNING_RATE, Contestant, Task


class FlaxImdb(Contestant):
    """flax_imdb with the implementation of that name; ``""`` is the one that it chooses."""

    def __init__(self, task: Task, implementation: str):
        tune_process()
        self._devices = select_devices(task.device, task.batch_size)
        self._trainer = Trainer(
            make_mesh(self._devices),
            Batching(task.batch_size, task.max_length, multiple_of=len(self._devices)),
        )
        config = models.ModelConfig(
            task.arch,
            task.embedding_features,
            task.features,
            implementation=implementation or "auto",
        )
        model = models.build(config, task.vocab_size)
        with jax.default_device(self._devices[0]):
            state = create_state(
                model,
                learning_rate=LEARNING_RATE,
                seed=7,
                clip_norm=TrainConfig.clip_norm,
                averaging=TrainConfig.averaging,
            )
        self._state = self._trainer.place(state)

    def versions(self) -> dict[str, str]:
        """Of flax_imdb, jax and flax, and of the device's software."""
        versions = {module.__name__: module.__version__ for module in (flax_imdb, jax, flax)}
        (device, *_) = self._devices
        if device.platform != "cpu":
            versions["platform"] = " ".join(device.client.platform_version.split())
        if device.platform == "gpu" and shutil.which("nvidia-smi"):
            query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
            found = subprocess.run(query, capture_output=True, text=True, check=True)
            versions["driver"] = found.stdout.split()[0]
        return versions

    def peak_memory_mb(self) -> float | None:
        """Of the device where it has memory of its own, else of the process."""
        stats = self._devices[0].memory_stats()
        return 1e-6 * stats["peak_bytes_in_use"] if stats else super().peak_memory_mb()

    def load(self, examples: Examples, plan: Sequence[Planned]) -> None:
        """Take the examples; batches are made while training, as the command does."""
        self._examples, self._plan = examples, plan

    def train(self) -> None:
        """Train one step on each batch, as the command does."""
        steps = self._trainer.steps(self._state, self._examples, self._plan)
        for self._state, metrics in one_late(steps):
            jax.device_get(metrics)

    def device_kind(self) -> str:
        """The name of the hardware, and how many of it."""
        return f"{len(self._devices)} x {self._devices[0].device_kind}"

    def peak_gflops(self) -> float:
        """The most that a product of square float32 matrices reaches on all devices together."""
        dot = jax.jit(jnp.dot)
        best, size, seconds = 0.0, 512, 0.0
        while seconds < 0.05:  # Larger ones gain nothing then.
            squares = [jax.device_put(jnp.ones((size, size)), device) for device in self._devices]
            jax.block_until_ready([dot(square, square) for square in squares])  # Compiles.
            for _ in range(5):
                start = time.perf_counter()
                jax.block_until_ready([dot(square, square) for square in squares])
                seconds = time.perf_counter() - start
                best = max(best, 2e-9 * size**3 * len(squares) / seconds)
            size *= 2
        return best
