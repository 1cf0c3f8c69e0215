"""Checkpoints of a run: one per finished epoch, with the history that led to it."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from flax_imdb.devices import in_first, is_first
from flax_imdb.errors import InputError
from flax_imdb.training.loop import EpochRecord
from flax_imdb.training.state import TrainState


class Checkpoints:
    """The checkpoints in a directory, by epoch (1 is the first), kept with orbax.

    A context manager: leaving it waits for what is being written. Of several processes the first
    alone reads and writes, and all call the same methods in the same order.
    """

    def __init__(self, directory: Path):
        import orbax.checkpoint as ocp

        # Orbax announces every step of its work; the run has its own report.
        logging.getLogger("absl").setLevel(logging.ERROR)
        self._directory = directory.absolute()
        self._ocp = ocp
        if not is_first():
            return
        self._directory.mkdir(parents=True, exist_ok=True)  # Orbax would wait for the others.
        alone = ocp.options.MultiprocessingOptions(
            primary_host=0, active_processes={0}, barrier_sync_key_prefix="first"
        )
        self._manager = ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(create=False, multiprocessing_options=alone),
            item_handlers={
                "state": ocp.StandardCheckpointHandler(multiprocessing_options=alone),
                "history": ocp.JsonCheckpointHandler(multiprocessing_options=alone),
            },
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        if is_first():
            self._manager.close()

    def latest(self) -> int | None:
        """The newest epoch; None where there is none."""
        return in_first(lambda: self._manager.latest_step())

    def save(self, epoch: int, state: TrainState, history: list[EpochRecord], keep: int) -> None:
        """Save `epoch` and wait for the disk; of the earlier ones only epoch `keep` stays."""
        if not is_first():
            return
        self._manager.save(
            epoch,
            args=self._ocp.args.Composite(
                state=self._ocp.args.StandardSave(_saved(state)),
                history=self._ocp.args.JsonSave(history),
            ),
        )
        self._manager.wait_until_finished()
        for other in self._manager.all_steps():
            if other not in (epoch, keep):
                self._manager.delete(other)

    def restore(self, epoch: int, state: TrainState) -> tuple[TrainState, list[EpochRecord]]:
        """The state and history of `epoch`.

        Args:
          epoch: one that was saved.
          state: a state of the same model, for its structure, shapes and dtypes.

        Returns:
          The state, in NumPy arrays: `Trainer.place` puts it where it belongs, and gives that of
          the first process to the others, where it is `state` so far. And the history.

        Raises:
          InputError: there is no such checkpoint, it cannot be read, or it is another model's.
        """
        restored = state

        def read() -> list[EpochRecord]:
            nonlocal restored
            restored, history = self._read(epoch, state)
            return history

        history = in_first(read)
        return restored, history

    def _read(self, epoch: int, state: TrainState) -> tuple[TrainState, list[EpochRecord]]:
        checkpoint = f"the checkpoint of epoch {epoch} in {self._directory}"
        # Whatever orbax raises here, from whichever of its layers, is about what it read.
        try:
            saved = self._manager.item_metadata(epoch)["state"]
            if _shapes(saved["params"]) != _shapes(state.params):
                raise InputError(
                    f"{checkpoint} is another model's: its parameters have other shapes"
                )
            restored = self._manager.restore(
                epoch,
                args=self._ocp.args.Composite(
                    state=self._ocp.args.StandardRestore(_saved(state)),
                    history=self._ocp.args.JsonRestore(),
                ),
            )
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{checkpoint} cannot be read: {_one_line(error)}") from error
        return state.replace(**restored["state"]), restored["history"]


def _saved(state: TrainState) -> dict[str, Any]:
    """What is saved of a state, as NumPy arrays; the rest follows from the configuration."""
    saved = {"step": state.step, "params": state.params, "opt_state": state.opt_state}
    return jax.tree.map(np.asarray, saved)


def _shapes(params: Mapping[str, Any]) -> dict[tuple[str, ...], tuple[int, ...]]:
    return {path: tuple(leaf.shape) for path, leaf in flatten_dict(dict(params)).items()}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
