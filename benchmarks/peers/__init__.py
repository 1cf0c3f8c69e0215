"""The contestants of step_time.py, each in a process of its own, and what they are given to train.

Importing this imports no framework: each is imported in its contestant's process alone.
"""

import abc
import dataclasses
import importlib
import time
from collections.abc import Sequence
from typing import Literal

import numpy as np
from runner import Process, peak_memory_mb

from flax_imdb.data import Batching, Examples, Planned


@dataclasses.dataclass(frozen=True)
class Arch:
    """What an architecture has beside embedding, LSTM and head.

    Attributes:
      conv: convolution (32 filters of width 3), relu and max-pooling by 2 before the LSTM.
      reverse: the LSTM reads from the end to the start.
      bidirectional: a second LSTM reads in the other direction.
      dropout: rate after the embedding and before the head.
      recurrent_dropout: rate on the LSTM's inputs, and on its state.
    """

    conv: bool = False
    reverse: bool = False
    bidirectional: bool = False
    dropout: float = 0.0
    recurrent_dropout: float = 0.0


ARCHITECTURES = {
    "lstm": Arch(),
    "lstm_dropout": Arch(dropout=0.2),
    "lstm_recurrent_dropout": Arch(recurrent_dropout=0.2),
    "reversed_lstm": Arch(reverse=True),
    "bilstm": Arch(bidirectional=True, recurrent_dropout=0.2),
    "conv_lstm": Arch(conv=True),
    "conv_lstm_dropout": Arch(conv=True, dropout=0.2),
}

LEARNING_RATE = 1e-3

# The modules that each peer needs.
PEERS = {
    "keras-tensorflow": ("keras", "tensorflow"),
    "keras-jax": ("keras", "jax"),
    "torch": ("torch",),
    "torch-packed": ("torch",),
    "flax": ("flax", "optax"),
}


@dataclasses.dataclass(frozen=True)
class Task:
    """What every contestant trains.

    Attributes:
      arch: a key of `ARCHITECTURES`.
      device: ``"cpu"``, ``"gpu"`` or ``"tpu"``.
      batch_size: rows in a batch.
      max_length: time steps of the longest row.
      features: width of the LSTM's state, per direction.
      embedding_features: width of the embedding.
      vocab_size: number of token ids.
    """

    arch: str
    device: Literal["cpu", "gpu", "tpu"]
    batch_size: int = 64
    max_length: int = 500
    features: int = 100
    embedding_features: int = 32
    vocab_size: int = 5000


def same_work(system: str, arch: str) -> bool:
    """Whether `system` computes all of `arch`: torch and flax have no recurrent dropout."""
    has_it = system not in ("torch", "torch-packed", "flax")
    return has_it or not ARCHITECTURES[arch].recurrent_dropout


def plan_epoch(system: str, task: Task, examples: Examples) -> Sequence[Planned]:
    """The batches of an epoch as the users of `system` would make them."""
    if system.startswith("keras"):
        batching = Batching(task.batch_size, task.max_length, padding="keras")
        return batching.plan_epoch(examples, seed=7, epoch=1)
    plan = Batching(task.batch_size, task.max_length).plan_epoch(examples, seed=7, epoch=1)
    if system in PEERS:
        return [Planned(batch, int(examples.lengths[batch].max())) for batch, _ in plan]
    return plan


def front_padded(
    task: Task, examples: Examples, plan: Sequence[Planned]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Tokens int32 [batch, time] and labels float32 [batch, 1] of each batch, for a peer.

    Padding is at the front, where the peers' last state needs no gathering.
    """
    batching = Batching(task.batch_size, task.max_length, padding="keras")
    batches = [batching.make(examples, planned) for planned in plan]
    return [(batch["tokens"], batch["labels"][:, None].astype(np.float32)) for batch in batches]


class Contestant(abc.ABC):
    """A system with a freshly made model."""

    @abc.abstractmethod
    def versions(self) -> dict[str, str]:
        """Of the libraries that it is made of."""

    @abc.abstractmethod
    def load(self, examples: Examples, plan: Sequence[Planned]) -> None:
        """Take the batches that `train` is to train on."""

    @abc.abstractmethod
    def train(self) -> None:
        """Train one step on each batch, and wait for the last."""

    def seconds(self) -> float:
        """How long `train` takes."""
        start = time.perf_counter()
        self.train()
        return time.perf_counter() - start

    def peak_memory_mb(self) -> float | None:
        """As `runner.peak_memory_mb`."""
        return peak_memory_mb()


def _make(system: str, task: Task) -> Contestant:
    name, _, implementation = system.partition("/")
    if name == "flax_imdb":
        from peers.ours import FlaxImdb

        return FlaxImdb(task, implementation)
    options = {"packed": True} if name == "torch-packed" else {}
    module = importlib.import_module(f"peers.{name.split('-')[0]}")
    contestant: Contestant = module.Peer(task, **options)
    return contestant


def start(system: str, task: Task) -> Process:
    """A contestant in a process of its own."""
    return Process(system, _make, system, task, **_environment(system, task.device))


def _environment(system: str, device: str) -> dict[str, str]:
    variables = {"TF_CPP_MIN_LOG_LEVEL": "2"}
    if system.startswith("keras-"):
        variables["KERAS_BACKEND"] = system.removeprefix("keras-")
    if device == "cpu":
        return {**variables, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    # No one may take all of the device's memory.
    return {
        **variables,
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
