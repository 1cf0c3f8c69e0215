"""Checkpoints of a run: all that it takes to continue, kept with orbax, with checksums."""

import dataclasses
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from flax_imdb.distributed import is_main, on_main
from flax_imdb.environment import difference
from flax_imdb.errors import InputError, check_between, one_line
from flax_imdb.paths import unreadable
from flax_imdb.training.checksums import check_checksums, write_checksums
from flax_imdb.training.history import History
from flax_imdb.training.state import TrainState

T = TypeVar("T")

# How a checkpoint is called while another one of its step is written.
_REPLACED = "replaced-"


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """When a run is saved beside the end of each epoch, and what is kept.

    Attributes:
      checkpoint_steps: Save after each so many training steps, too (default: by time alone).
      checkpoint_minutes: Save when the last time was so many minutes ago.
      keep_checkpoints: Keep so many of the newest, beside that of the epoch that is reported.
    """

    checkpoint_steps: int | None = None
    checkpoint_minutes: float = 10.0
    keep_checkpoints: int = 3

    def __post_init__(self) -> None:
        if self.checkpoint_steps is not None:
            check_between("checkpoint_steps", self.checkpoint_steps, 1)
        if not 0 < self.checkpoint_minutes < math.inf:
            raise InputError(
                f"`checkpoint_minutes` {self.checkpoint_minutes} makes no sense: "
                "a finite number above 0 is needed"
            )
        check_between("keep_checkpoints", self.keep_checkpoints, 1)


class Identity(NamedTuple):
    """What a checkpoint must have in common with the run that reads it.

    Attributes:
      settings: by their names.
      fingerprint: of the reviews.
      words: of the vocabulary, in order of id.
      environment: where it is trained (see `flax_imdb.environment.describe`); it may be another
        one, with the same random numbers. Empty: anywhere.
    """

    settings: dict[str, Any]
    fingerprint: str
    words: Sequence[str]
    environment: Mapping[str, str] = MappingProxyType({})


class _RefusedError(InputError):
    """A checkpoint is damaged or another run's; an older one may not be."""


class Restored(NamedTuple):
    """What `Checkpoints` read.

    Attributes:
      state: in NumPy arrays: `Trainer.place` puts it where it belongs.
      history: of the training before it.
      refused: newer checkpoints that were not taken, and why, a line for each.
      elsewhere: how the environment differs in which it was trained; None where it does not.
    """

    state: TrainState
    history: History
    refused: list[str]
    elsewhere: str | None


class _Read(NamedTuple):
    """`Restored`, with what was saved of the state, which can be sent to other processes."""

    saved: dict[str, Any]
    history: History
    refused: list[str]
    elsewhere: str | None


class Checkpoints:
    """The checkpoints in a directory, each under the number of its training steps.

    They are written while training goes on, and appear when they are whole. None is read whose
    files are not those that were written (orbax does not notice), or that another experiment
    made. What is read are numbers and texts; nothing of it is executed.

    `defaults` are the settings that a checkpoint of an older version does not name.

    A context manager: leaving it waits for what is being written. Of several processes the first
    alone reads and writes, and all get what it reads.
    """

    def __init__(
        self,
        directory: Path,
        identity: Identity,
        config: CheckpointConfig = CheckpointConfig(),
        *,
        defaults: Mapping[str, Any] = MappingProxyType({}),
        read_only: bool = False,
    ):
        self._directory = directory.absolute()
        self._identity = identity
        self._defaults = defaults
        self._config = config
        self._last_save = time.monotonic()
        self._history = History()
        self._open(read_only)

    @on_main
    def _open(self, read_only: bool) -> None:
        import orbax.checkpoint as ocp

        # What goes wrong is raised; orbax would print it, too.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self._ocp = ocp
        if not read_only:
            try:
                self._directory.mkdir(parents=True, exist_ok=True)  # Orbax would wait for others.
            except OSError as error:
                raise InputError(f"{self._directory} cannot be written: {error.strerror}") from None
            self._put_back()
        _names(self._directory)  # Orbax would show a traceback where it cannot be read.
        alone = ocp.options.MultiprocessingOptions(
            primary_host=0, active_processes={0}, barrier_sync_key_prefix="first"
        )
        self._manager = _manager_class()(
            self._directory,
            options=ocp.CheckpointManagerOptions(
                create=False,
                read_only=read_only,
                cleanup_tmp_directories=not read_only,
                preservation_policy=self,
                temporary_path_class=_temporary_path_class(),
                multiprocessing_options=alone,
            ),
            item_handlers={
                "state": ocp.StandardCheckpointHandler(multiprocessing_options=alone),
                **{
                    name: ocp.JsonCheckpointHandler(multiprocessing_options=alone)
                    for name in ("history", "experiment")
                },
            },
        )

    def _put_back(self) -> None:
        """What was to be replaced when a process died, unless what replaces it is whole."""
        for replaced in self._directory.glob(f"{_REPLACED}*"):
            target = self._directory / replaced.name.removeprefix(_REPLACED)
            if _is_intact(target):
                shutil.rmtree(replaced)
            else:
                shutil.rmtree(target, ignore_errors=True)
                replaced.rename(target)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type | None, *exception: object) -> None:
        if not is_main():
            return
        try:
            self._writing(self._manager.close)
        except InputError:
            if kind is None:  # Otherwise there is a more urgent problem.
                raise

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Which to keep, for orbax: the newest, and what the run stood for at each of them."""
        newest = [checkpoint.step for checkpoint in checkpoints][-self._config.keep_checkpoints :]
        bests = (self._history.best(step) for step in newest)
        kept = {*newest, *(best.step for best in bests if best is not None)}
        return [checkpoint.step in kept for checkpoint in checkpoints]

    def due(self, step: int) -> bool:
        """Whether it is time to save, after so many steps."""
        every, minutes = self._config.checkpoint_steps, self._config.checkpoint_minutes
        return is_main() and (
            (every is not None and step % every == 0)
            or time.monotonic() - self._last_save >= 60 * minutes
        )

    def save(self, state: TrainState, history: History) -> None:
        """Begin to save; an earlier save is waited for.

        Raises:
          InputError: this, or the earlier one, cannot be written. Those before it are intact.
        """
        if not is_main():
            return
        step = int(state.step)
        self._history = dataclasses.replace(history, epochs=list(history.epochs))
        args = self._ocp.args.Composite(
            state=self._ocp.args.StandardSave(_saved(state)),
            history=self._ocp.args.JsonSave(dataclasses.asdict(history)),
            experiment=self._ocp.args.JsonSave(
                {**self._identity._asdict(), "environment": dict(self._identity.environment)}
            ),
        )

        def save() -> None:
            self._manager.wait_until_finished()
            # The same step before the evaluation after it, on which a signal came: it stays until
            # the new one is whole.
            replaced = self._directory / f"{_REPLACED}{step}"
            if again := step in self._manager.all_steps():
                (self._directory / str(step)).rename(replaced)
                self._manager.reload()
            self._manager.save(step, args=args, force=True)
            if again:
                self._manager.wait_until_finished()
                shutil.rmtree(replaced)

        self._writing(save)
        self._last_save = time.monotonic()

    @on_main
    def wait(self) -> None:
        """Wait until what was saved is on the disk; see `save`."""
        self._writing(self._manager.wait_until_finished)

    def _writing(self, function: Callable[[], T]) -> T:
        try:
            return function()
        except Exception as error:  # Of whichever of orbax's layers: it is about what it wrote.
            raise InputError(
                f"a checkpoint cannot be written to {self._directory}: {one_line(error)}; "
                "the earlier ones are as they were"
            ) from error

    def resume(self, state: TrainState, finished: int) -> Restored:
        """The newest checkpoint that is whole and of this experiment, to go on from.

        Those newer than it are moved aside, to names that begin with ``refused-``.

        Args:
          state: a state of the same model, for its structure; returned where there is none.
          finished: how many epochs are known to have been finished.

        Raises:
          InputError: there is none, although an epoch was finished; or other random numbers were
            drawn for it than are drawn here.
        """
        return _rebuilt(state, self._resume(state, finished))

    @on_main
    def _resume(self, state: TrainState, finished: int) -> "_Read":
        read = _Read({}, History(), [], None)
        refused: dict[int, str] = {}
        for step in reversed(self._manager.all_steps()):
            try:
                newest = self._read(step, state)
                best = newest.history.best()
                if best is not None and best.step != step:
                    self._check(best.step)
                read = newest
                break
            except _RefusedError as error:
                refused[step] = str(error)
        else:
            if finished:
                raise InputError(
                    f"{self._directory} has no whole checkpoint "
                    f"({next(iter(refused.values()), 'it is empty')}), but {finished} epochs "
                    "in metrics.jsonl had one: put it back, or begin again with `overwrite`"
                )
        for step in refused:
            self._move_aside(step)
        return read._replace(refused=list(refused.values()))

    def restore(self, state: TrainState, step: int) -> Restored:
        """The checkpoint of a step; see `resume`."""
        return _rebuilt(state, self._restore(state, step))

    @on_main
    def _restore(self, state: TrainState, step: int) -> "_Read":
        return self._read(step, state)

    def load(self, state: TrainState, finished: int) -> TrainState | None:
        """The state of the epoch that the run stands for so far; None before the first one.

        Args:
          state: a state of the same model, for its structure.
          finished: how many epochs are known to have been finished.

        Raises:
          InputError: that checkpoint, or the newest, is not whole, is missing or is another
            experiment's.
        """
        refused: dict[int, int] = {}
        while (newest := self._manager.latest_step()) is not None:
            try:
                read = self._read(newest, state)
                if len(read.history.epochs) < finished:
                    raise _RefusedError(
                        f"{self._directory} has no checkpoint of epoch {finished}, which was "
                        "finished: `resume` makes it again"
                    )
                best = read.history.best()
                if best is not None and best.step != newest:
                    read = self._read(best.step, state)
                return None if best is None else _rebuilt(state, read).state
            except _RefusedError:
                # A run that is under way may be about to write what is missing.
                refused[newest] = refused.get(newest, 0) + 1
                if refused[newest] == 3 or len(refused) == 20:
                    raise
                time.sleep(0.3)
                self._manager.reload()
        if finished:
            raise InputError(
                f"{self._directory} has no checkpoint, but {finished} epochs in metrics.jsonl had "
                "one: put it back, or train again with `overwrite`"
            )
        return None

    def _read(self, step: int, state: TrainState) -> "_Read":
        """Read a checkpoint that is whole.

        Raises:
          InputError: it is not, or it is another experiment's or model's.
        """
        self._check(step)
        checkpoint = self._name(step)
        args = self._ocp.args
        # Whatever orbax raises here, from whichever of its layers, is about what it reads.
        try:
            described = self._manager.restore(
                step, args=args.Composite(history=args.JsonRestore(), experiment=args.JsonRestore())
            )
            identity = Identity(**described["experiment"])
            if other := self._difference(identity):
                raise _RefusedError(f"{checkpoint} is another run's: {other}")
            shapes = _shapes(self._manager.item_metadata(step)["state"]["params"])
            if shapes != _shapes(state.params):
                raise _RefusedError(
                    f"{checkpoint} is another model's: its parameters have other shapes"
                )
            saved = self._manager.restore(
                step, args=args.Composite(state=args.StandardRestore(_saved(state)))
            )["state"]
            if int(saved["step"]) != step:
                raise _RefusedError(f"{checkpoint} is that of step {int(saved['step'])}, renamed")
            elsewhere = difference(identity.environment, self._identity.environment)
            return _Read(saved, History.from_dict(described["history"]), [], elsewhere)
        except (InputError, MemoryError):
            raise
        except Exception as error:  # Not of its content, which is what was written.
            raise InputError(f"{checkpoint} cannot be read: {one_line(error)}") from error

    def _check(self, step: int) -> None:
        try:
            check_checksums(self._directory / str(step))
        except InputError as error:
            raise _RefusedError(f"{self._name(step)} is damaged: {error}") from error
        except OSError as error:
            raise InputError(f"{self._name(step)} cannot be read: {error.strerror}") from error

    def _difference(self, other: Identity) -> str | None:
        """How the experiment of a checkpoint is another one."""
        # Version 0.1.0 named settings by their flags.
        named = {
            name.lstrip("-").replace("-", "_"): value for name, value in other.settings.items()
        }
        settings = {**self._defaults, **named}
        for name, value in self._identity.settings.items():
            if settings.get(name) != value:
                return f"`{name}` is {settings.get(name)} in it and {value} here"
        if other.fingerprint != self._identity.fingerprint:
            return "it was trained on other reviews"
        if list(other.words) != list(self._identity.words):
            return "it has another vocabulary"
        return None

    def _name(self, step: int) -> str:
        return f"the checkpoint {self._directory / str(step)}"

    def _move_aside(self, step: int) -> None:
        aside = self._directory / f"refused-{step}"
        try:
            if aside.is_dir():
                shutil.rmtree(aside)
            (self._directory / str(step)).rename(aside)
        except OSError as error:
            raise InputError(
                f"{self._name(step)} cannot be moved to {aside.name}: {error.strerror}"
            ) from error
        self._manager.reload()


def are_intact(directory: Path, reported: int) -> bool:
    """Whether the checkpoints that `Checkpoints.load` reads are as they were written.

    Raises:
      InputError: they cannot be read.
    """
    steps = [int(name) for name in _names(directory) if name.isdecimal()]
    return all(_is_intact(directory / str(step)) for step in {reported, max(steps, default=-1)})


def _names(directory: Path) -> list[str]:
    try:
        os.stat(f"{directory}/.")  # Whether what is listed can be reached, too.
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable(directory, error) from None


def _is_intact(checkpoint: Path) -> bool:
    try:
        check_checksums(checkpoint)
    except InputError:
        return False
    except OSError as error:
        raise unreadable(error.filename or checkpoint, error) from None
    return True


def _manager_class() -> Any:
    import orbax.checkpoint as ocp

    class Manager(ocp.CheckpointManager):
        # Orbax asks JAX whether a preemption's step has come, in a thread and about a step that is
        # past: those that JAX lets agree on one would miss it.
        def reached_preemption(self, step: int) -> bool:
            return False

    return Manager


def _temporary_path_class() -> Any:
    from orbax.checkpoint.path import atomicity

    class Summed(atomicity.AtomicRenameTemporaryPath):
        """A checkpoint being written, under another name; then summed before others go."""

        async def finalize(self) -> None:
            await super().finalize()
            path = Path(self.get_final())
            if path.name.isdecimal():  # Parts of a checkpoint are finalized in this way, too.
                write_checksums(path)

    return Summed


def _rebuilt(state: TrainState, read: _Read) -> Restored:
    return Restored(state.replace(**read.saved) if read.saved else state, *read[1:])


def _saved(state: TrainState) -> dict[str, Any]:
    """What is saved of a state, copied; the rest follows from the configuration."""
    saved = {"step": state.step, "params": state.params, "opt_state": state.opt_state}
    # A copy, since NumPy would look into memory that the next step writes to.
    return jax.tree.map(np.array, saved)


def _shapes(params: Mapping[str, Any]) -> dict[tuple[str, ...], tuple[int, ...]]:
    return {path: tuple(leaf.shape) for path, leaf in flatten_dict(dict(params)).items()}
