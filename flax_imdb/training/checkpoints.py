"""Checkpoints of a run: when they are saved, which are kept, and which one a run goes on from."""

import dataclasses
import math
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from flax_imdb.distributed import is_main, on_main
from flax_imdb.environment import difference
from flax_imdb.errors import InputError, check_between
from flax_imdb.training.checkpoint_store import CheckpointStore, RefusedError, shapes
from flax_imdb.training.history import History
from flax_imdb.training.state import TrainState, saved_arrays


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """When a run is saved, apart from the end of each epoch, and what is kept.

    Attributes:
      checkpoint_steps: Also save every so many training steps. None: by time alone.
      checkpoint_minutes: Also save when the last checkpoint is this old.
      keep_checkpoints: How many of the newest to keep. For each, the epoch that the run would
        report there is kept, too.
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
      settings: by name.
      fingerprint: of the texts.
      words: of the vocabulary, in order of id.
      environment: that of the training (see `flax_imdb.environment.describe`). It may differ, as
        long as the random numbers are the same. An empty one matches any.
    """

    settings: dict[str, Any]
    fingerprint: str
    words: Sequence[str]
    environment: Mapping[str, str] = MappingProxyType({})

    def difference(self, other: "Identity", defaults: Mapping[str, Any]) -> str | None:
        """How the experiment of a checkpoint, `other`, differs from this one; None: not at all."""
        # Version 0.1.0 named settings by their flags.
        theirs = {
            name.lstrip("-").replace("-", "_"): value for name, value in other.settings.items()
        }
        theirs = {**defaults, **theirs}
        for name, value in self.settings.items():
            if theirs.get(name) != value:
                return f"`{name}` is {theirs.get(name)} in it and {value} here"
        if other.fingerprint != self.fingerprint:
            return "it was trained on other texts"
        if list(other.words) != list(self.words):
            return "it has another vocabulary"
        return None


class Restored(NamedTuple):
    """What `Checkpoints` read.

    Attributes:
      state: in NumPy arrays, for `Trainer.place`. Only the first process has what was read; the
        others keep the state that they passed in until `place` sends it to them.
      history: of the training before it.
      refused: newer checkpoints that were not taken, and why, a line for each.
      elsewhere: how the environment that it was trained in differs; None if it does not.
    """

    state: TrainState
    history: History
    refused: Sequence[str] = ()
    elsewhere: str | None = None


class Checkpoints:
    """The checkpoints of a run, in a directory.

    A context manager: leaving it waits for what is being written. With several processes the first
    one alone reads and writes; the others get what it reads.

    Args:
      directory: where they are.
      identity: of the run; checkpoints of other experiments are not read.
      config: when to save, and what to keep.
      defaults: the settings that a checkpoint of an older version lacks.
      read_only: change nothing.
      always: steps at which to save as well, and what to keep whatever `config` says.
    """

    def __init__(
        self,
        directory: Path,
        identity: Identity,
        config: CheckpointConfig = CheckpointConfig(),
        *,
        defaults: Mapping[str, Any] = MappingProxyType({}),
        read_only: bool = False,
        always: Collection[int] = (),
    ):
        self._always = set(always)
        self._directory = directory.absolute()
        self._identity = identity
        self._defaults = defaults
        self._config = config
        self._last_save = time.monotonic()
        self._history = History()
        self._open(read_only)

    @on_main
    def _open(self, read_only: bool) -> None:
        self._store = CheckpointStore(self._directory, self._kept, read_only=read_only)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type | None, *exception: object) -> None:
        if not is_main():
            return
        try:
            self._store.close()
        except InputError:
            if kind is None:  # Otherwise there is a more urgent problem.
                raise

    def _kept(self, steps: Sequence[int]) -> set[int]:
        """The steps to keep: the newest, and for each of them the best epoch up to it."""
        newest = steps[-self._config.keep_checkpoints :]
        bests = (self._history.best(step) for step in newest)
        return {*newest, *(best.step for best in bests if best is not None), *self._always}

    def due(self, step: int) -> bool:
        """Whether it is time to save after this training step."""
        every, minutes = self._config.checkpoint_steps, self._config.checkpoint_minutes
        return is_main() and (
            step in self._always
            or (every is not None and step % every == 0)
            or time.monotonic() - self._last_save >= 60 * minutes
        )

    def save(self, state: TrainState, history: History) -> None:
        """Start to save; wait for an earlier save first.

        Raises:
          InputError: this checkpoint, or the earlier one, cannot be written. Complete ones are
            intact.
        """
        if not is_main():
            return
        self._history = dataclasses.replace(history, epochs=list(history.epochs))
        experiment = self._identity._asdict() | {"environment": dict(self._identity.environment)}
        self._store.save(
            int(state.step),
            saved_arrays(state),
            history=dataclasses.asdict(history),
            experiment=experiment,
        )
        self._last_save = time.monotonic()

    @on_main
    def wait(self) -> None:
        """Wait until everything saved is on the disk; see `save`."""
        self._store.wait()

    def resume(self, state: TrainState, finished: int) -> Restored:
        """The newest intact checkpoint of this experiment, to go on from.

        Newer ones are moved aside, to names that begin with ``refused-``.

        Args:
          state: a state of the same model, for its structure; returned if there is no checkpoint.
          finished: the number of epochs that are known to have been finished.

        Raises:
          InputError: there is none, although an epoch was finished; or its random numbers differ
            from those drawn here.
        """
        saved: dict[str, Any] = {}
        told = self._resume(state, finished, saved)
        return Restored(state.replace(**saved), *told)

    @on_main
    def _resume(
        self, state: TrainState, finished: int, saved: dict[str, Any]
    ) -> tuple[History, list[str], str | None]:
        refused: dict[int, str] = {}
        for step in reversed(self._store.steps()):
            try:
                found, history, elsewhere = self._read(step, state)
                best = history.best()
                if best is not None and best.step != step:
                    self._store.check(best.step)
                saved.update(found)
                break
            except RefusedError as error:
                refused[step] = str(error)
        else:
            history, elsewhere = History(), None
            if finished:
                raise InputError(
                    f"{self._directory} has no intact checkpoint "
                    f"({next(iter(refused.values()), 'it is empty')}), but {finished} epochs "
                    "in metrics.jsonl had one: put it back, or begin again with `overwrite`"
                )
        for step in refused:
            self._store.move_aside(step)
        return history, list(refused.values()), elsewhere

    def restore(self, state: TrainState, step: int) -> TrainState:
        """The state of a step; see `resume`."""
        saved: dict[str, Any] = {}
        self._restore(state, step, saved)
        return state.replace(**saved)

    @on_main
    def _restore(self, state: TrainState, step: int, saved: dict[str, Any]) -> None:
        saved.update(self._read(step, state)[0])

    def load(self, state: TrainState, finished: int) -> TrainState | None:
        """The state of the epoch that the run reports so far; None before the first one.

        A model that was not trained here has no epochs, and the state that was saved.

        Args:
          state: a state of the same model, for its structure.
          finished: the number of epochs that are known to have been finished.

        Raises:
          InputError: that checkpoint, or the newest one, is damaged, missing, or another
            experiment's.
        """
        refused: dict[int, int] = {}
        while steps := self._store.steps():
            newest = steps[-1]
            try:
                saved, history, _ = self._read(newest, state)
                if len(history.epochs) < finished:
                    raise RefusedError(
                        f"{self._directory} has no checkpoint of epoch {finished}, which was "
                        "finished: `resume` trains it again"
                    )
                best = history.best()
                if best is not None and best.step != newest:
                    saved = self._read(best.step, state)[0]
                begun = best is None and history.unfinished is not None
                return None if begun else state.replace(**saved)
            except RefusedError:
                # A run in progress may be about to write what is missing.
                refused[newest] = refused.get(newest, 0) + 1
                if refused[newest] == 3 or len(refused) == 20:
                    raise
                time.sleep(0.3)
                self._store.reload()
        if finished:
            raise InputError(
                f"{self._directory} has no checkpoint, but {finished} epochs in metrics.jsonl had "
                "one: put it back, or train again with `overwrite`"
            )
        return None

    def _read(self, step: int, state: TrainState) -> tuple[dict[str, Any], History, str | None]:
        """What was saved of a state, its history, and how its environment differs.

        Raises:
          InputError: the checkpoint is damaged, or another experiment's or model's.
        """
        name = self._store.name(step)
        content, params = self._store.read(step)
        with self._store.reading(step):
            identity = Identity(**content["experiment"])
            history = History.from_dict(content["history"])
        if other := self._identity.difference(identity, self._defaults):
            raise RefusedError(f"{name} is another run's: {other}")
        if params != shapes(state.params):
            raise RefusedError(f"{name} is another model's: its parameters have other shapes")
        saved = self._store.read_state(step, saved_arrays(state))
        if int(saved["step"]) != step:
            raise RefusedError(f"{name} is that of step {int(saved['step'])}, renamed")
        elsewhere = difference(identity.environment, self._identity.environment)
        return saved, history, elsewhere
