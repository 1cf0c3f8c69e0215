"""Checkpoints of a state that nothing was trained in."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flax_imdb import models
from flax_imdb.training import History, TrainState, create_state
from flax_imdb.training.checkpoints import CheckpointConfig, Checkpoints, Identity

IDENTITY = Identity({"arch": "lstm", "seed": 7}, "abc", ["<pad>", "<start>", "<unk>", "a"])


def make_template() -> TrainState:
    config = models.ModelConfig("lstm", embedding_features=4, features=4)
    return create_state(models.build(config, vocab_size=10), learning_rate=1e-3, seed=0)


def at(template: TrainState, step: int) -> TrainState:
    """A state with numbers of its own."""
    params = jax.tree.map(lambda leaf: leaf + step, template.params)
    return template.replace(step=jnp.int32(step), params=params)


def save(directory: Path, template: TrainState, *saved: tuple[int, History], keep: int = 9) -> None:
    with Checkpoints(directory, IDENTITY, CheckpointConfig(keep_checkpoints=keep)) as checkpoints:
        for step, history in saved:
            checkpoints.save(at(template, step), history)


def resume(directory: Path, template: TrainState, finished: int = 0, **options: Any) -> Any:
    experiment = options.pop("identity", IDENTITY)
    with Checkpoints(directory, experiment, **options) as checkpoints:
        return checkpoints.resume(template, finished)


def kept(directory: Path) -> list[int]:
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdecimal())


def assert_is(state: TrainState, template: TrainState, step: int) -> None:
    assert int(state.step) == step
    jax.tree.map(np.testing.assert_array_equal, state.params, at(template, step).params)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
