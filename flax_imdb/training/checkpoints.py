"""Checkpoints of a run: one per finished epoch, with the history that led to it."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from flax_imdb.errors import InputError
from flax_imdb.training.loop import EpochRecord
from flax_imdb.training.state import TrainState


class Checkpoints:
    """The checkpoints in a directory, by epoch (1 is the first), kept with orbax.

    A context manager: leaving it waits for what is being written.
    """

    def __init__(self, directory: Path):
        import orbax.checkpoint as ocp

        # Orbax announces every step of its work; the run has its own report.
        logging.getLogger("absl").setLevel(logging.ERROR)
        self._directory = directory.absolute()
        self._ocp = ocp
        self._manager = ocp.CheckpointManager(
            self._directory, options=ocp.CheckpointManagerOptions(create=True)
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self._manager.close()

    def latest(self) -> int | None:
        """The newest epoch; None where there is none."""
        return self._manager.latest_step()

    def save(self, epoch: int, state: TrainState, history: list[EpochRecord], keep: int) -> None:
        """Save `epoch` and wait for the disk; of the earlier ones only epoch `keep` stays."""
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
          state: a state of the same model, for its structure, shapes, dtypes and devices.

        Raises:
          InputError: there is no such checkpoint, it cannot be read, or it is another model's.
        """
        target = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding),
            _saved(state),
        )
        with self._errors_of_reading(epoch):
            restored = self._manager.restore(
                epoch,
                args=self._ocp.args.Composite(
                    state=self._ocp.args.StandardRestore(target),
                    history=self._ocp.args.JsonRestore(),
                ),
            )
        return state.replace(**restored["state"]), restored["history"]

    @contextlib.contextmanager
    def _errors_of_reading(self, epoch: int) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise InputError(
                f"the checkpoint of epoch {epoch} in {self._directory} is missing, damaged or of "
                f"another model: {reason}"
            ) from error


def _saved(state: TrainState) -> dict[str, Any]:
    """What is saved of a state; the rest follows from the configuration."""
    return {"step": state.step, "params": state.params, "opt_state": state.opt_state}
