"""The contestants of step_time.py, each in a process of its own, and what they are given to train.

Importing this imports no framework: each is imported in its contestant's process alone.
"""

import abc
import contextlib
import dataclasses
import importlib
import multiprocessing
import os
import re
import time
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from unittest import mock

import numpy as np

from flax_imdb.data import Batching, Examples, Planned
from flax_imdb.errors import InputError, UnsupportedError


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


def plan_epoch(system: str, task: Task, examples: Examples) -> list[Planned]:
    """The batches of an epoch as the users of `system` would make them."""
    if system.startswith("keras"):
        batching = Batching(task.batch_size, task.max_length, padding="keras")
        return batching.plan_epoch(examples, seed=7, epoch=1)
    plan = Batching(task.batch_size, task.max_length).plan_epoch(examples, seed=7, epoch=1)
    if system in PEERS:
        return [Planned(batch, int(examples.lengths[batch].max())) for batch, _ in plan]
    return plan


def front_padded(
    task: Task, examples: Examples, plan: list[Planned]
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
    def load(self, examples: Examples, plan: list[Planned]) -> None:
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
        """See the function of that name."""
        return peak_memory_mb()


def peak_memory_mb() -> float | None:
    """The most main memory that this process has held so far, in MB; None but on Linux.

    `resource` knows it too, but counts what the process was started from.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())
    return 1.024e-3 * int(kilobytes)


def _start(system: str, task: Task) -> Contestant:
    name, _, implementation = system.partition("/")
    if name == "flax_imdb":
        from peers.ours import FlaxImdb

        return FlaxImdb(task, implementation)
    options = {"packed": True} if name == "torch-packed" else {}
    module = importlib.import_module(f"peers.{name.split('-')[0]}")
    contestant: Contestant = module.Peer(task, **options)
    return contestant


def _serve(connection: Connection, system: str, task: Task) -> None:
    """The contestant's process: calls the methods it is asked to, until the pipe is closed."""
    with contextlib.suppress(EOFError, BrokenPipeError):
        try:
            contestant = _start(system, task)
            while True:
                method, arguments = connection.recv()
                connection.send(getattr(contestant, method)(*arguments))
        except (InputError, UnsupportedError) as error:
            connection.send(error)


class Process:
    """A contestant in a process of its own, which is idle but while it is asked for something.

    A context manager: leaving it ends the process.
    """

    def __init__(self, system: str, task: Task):
        context = multiprocessing.get_context("spawn")
        self.system = system
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, system, task), daemon=True)
        # Read when a framework is first imported, and so to be set before the process starts.
        with mock.patch.dict(os.environ, _environment(system, task.device)):
            self._process.start()
        theirs.close()

    def __enter__(self) -> "Process":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()
        self._process.join()

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the contestant and wait for its result."""
        with contextlib.suppress(BrokenPipeError):  # What it has sent before it ended says why.
            self._connection.send((method, arguments))
        try:
            reply = self._connection.recv()
        except (EOFError, ConnectionError):
            raise SystemExit(f"{self.system} ended early: its own message is above") from None
        if isinstance(reply, Exception):
            raise reply
        return reply


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
