"""How data parallelism would scale on accelerators: a model on paper, shown in docs/scaling.md.

Nothing here is measured: the constants are assumptions about the hardware. What reviews cost on
their way to the devices is, by data_path.py.
"""

import dataclasses
import math

import numpy as np
from peers import Task
from step_time import useful_flops

STEP_LATENCY = 10e-6  # seconds of a time step, forward or backward, however few its rows
RATE = 20e12  # floating-point operations a second, of products as thin as these
LINK, LINK_LATENCY = 300e9, 2e-6  # bytes a second and seconds, between the devices of a host
NETWORK, NETWORK_LATENCY = 25e9, 10e-6  # between hosts
PER_HOST = 8  # devices


@dataclasses.dataclass(frozen=True)
class Model:
    """An `lstm` classifier, and the rows that each device trains on."""

    name: str
    embedding_features: int
    features: int
    vocab_size: int
    rows: int

    @property
    def gradient_bytes(self) -> int:
        """Of the float32 gradients of all parameters."""
        gates = 4 * self.features * (self.embedding_features + self.features + 1)
        return 4 * (self.vocab_size * self.embedding_features + gates + self.features + 1)

    @property
    def full_rows(self) -> float:
        """The rows from which a device computes longer than it waits."""
        return 2 * 500 * STEP_LATENCY * RATE / self._flops(1)

    def compute_seconds(self, rows: int) -> float:
        """Of a training step on one device."""
        return max(2 * 500 * STEP_LATENCY, self._flops(rows) / RATE)

    def _flops(self, rows: int) -> float:
        task = Task("lstm", "gpu", rows, 500, self.features, self.embedding_features)
        return useful_flops(task, np.full(rows, task.max_length))


MODELS = (
    Model("`lstm` at the tutorial's size", 32, 100, 5_000, 64),
    Model("`lstm`, embedding 300, width 512, 30,000 words", 300, 512, 30_000, 256),
)


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


def rows_a_second(model: Model, devices: int) -> float:
    """The rows that each host's devices train on, if they never wait for them."""
    step = model.compute_seconds(model.rows) + reduce_seconds(model.gradient_bytes, devices)
    return min(devices, PER_HOST) * model.rows / step
