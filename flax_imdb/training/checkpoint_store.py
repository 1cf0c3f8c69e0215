"""Checkpoints as files: written whole by orbax, with checksums, and read only as written."""

import contextlib
import logging
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flax.traverse_util import flatten_dict

from flax_imdb.errors import InputError, one_line
from flax_imdb.paths import names_in, unreadable
from flax_imdb.training.checksums import check_checksums, write_checksums

# The prefix of a checkpoint that is being replaced by a new one of the same step.
_REPLACED = "replaced-"

# The JSON files of a checkpoint, beside the arrays of its state.
_JSON = ("history", "experiment")


class RefusedError(InputError):
    """A checkpoint is damaged, or belongs to another run; an older one may be usable."""


class CheckpointStore:
    """The checkpoints in a directory, each named by its training step.

    Orbax writes them in the background and renames each one when it is complete; its checksums
    follow, and until then it counts as damaged. A checkpoint is arrays and JSON: nothing in it is
    executed.

    Args:
      directory: created unless `read_only`.
      keep: given the steps of all checkpoints, in order, returns those to keep.
      read_only: change nothing.

    Raises:
      InputError: the directory cannot be read or written.
    """

    def __init__(
        self,
        directory: Path,
        keep: Callable[[Sequence[int]], Collection[int]],
        *,
        read_only: bool = False,
    ):
        import orbax.checkpoint as ocp

        # Errors are raised; orbax would print them as well.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self._ocp = ocp
        self._directory = directory
        self._keep = keep
        if not read_only:
            try:
                directory.mkdir(
                    parents=True, exist_ok=True
                )  # Orbax would synchronize with the others.
                self._put_back()
            except OSError as error:
                raise InputError(f"{directory} cannot be written: {error.strerror}") from None
        names_in(directory)  # Orbax would show a traceback if it cannot be read.
        alone = ocp.options.MultiprocessingOptions(
            primary_host=0, active_processes={0}, barrier_sync_key_prefix="first"
        )
        handlers = {
            name: ocp.JsonCheckpointHandler(multiprocessing_options=alone) for name in _JSON
        }
        self._manager = _manager_class()(
            directory,
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
                **handlers,
            },
        )

    def steps(self) -> list[int]:
        """The steps of all checkpoints, in order."""
        return list(self._manager.all_steps())

    def reload(self) -> None:
        """Look again: another process may be writing."""
        self._manager.reload()

    def name(self, step: int) -> str:
        """A checkpoint, for messages."""
        return f"the checkpoint {self._directory / str(step)}"

    def save(self, step: int, state: Mapping[str, Any], **content: Mapping[str, Any]) -> None:
        """Start to write a checkpoint; wait for an earlier one first.

        Args:
          step: its training step.
          state: arrays, which must not change meanwhile.
          content: ``history`` and ``experiment``, for JSON.

        Raises:
          InputError: this checkpoint, or an earlier one, cannot be written. Complete ones are
            intact.
        """
        args = self._ocp.args.Composite(
            state=self._ocp.args.StandardSave(state),
            **{name: self._ocp.args.JsonSave(value) for name, value in content.items()},
        )
        with self._writing():
            self._manager.wait_until_finished()
            # A signal during the evaluation saves the same step again: the first checkpoint stays
            # until the second is complete.
            replaced = self._directory / f"{_REPLACED}{step}"
            if again := step in self.steps():
                (self._directory / str(step)).rename(replaced)
                self._manager.reload()
            try:
                self._manager.save(step, args=args, force=True)
                if again:
                    self._manager.wait_until_finished()
                    shutil.rmtree(replaced)
            except Exception:
                self._put_back()
                raise

    def wait(self) -> None:
        """Wait until everything saved is on the disk; see `save`."""
        with self._writing():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait, and end the threads; see `save`."""
        with self._writing():
            self._manager.close()

    def read(self, step: int) -> tuple[dict[str, Any], dict[tuple[str, ...], tuple[int, ...]]]:
        """The JSON of a checkpoint by its name, and the shapes of the parameters.

        Raises:
          RefusedError: it is damaged.
          InputError: it cannot be read.
        """
        self.check(step)
        args = self._ocp.args
        with self.reading(step):
            read = {name: args.JsonRestore() for name in _JSON}
            content = self._manager.restore(step, args=args.Composite(**read))
            params = self._manager.item_metadata(step)["state"]["params"]
            return dict(content.items()), shapes(params)

    def read_state(self, step: int, like: Mapping[str, Any]) -> dict[str, Any]:
        """The arrays of a checkpoint that `read` has accepted, in the structure of `like`."""
        args = self._ocp.args
        with self.reading(step):
            read = args.Composite(state=args.StandardRestore(like))
            state: dict[str, Any] = self._manager.restore(step, args=read)["state"]
            return state

    def check(self, step: int) -> None:
        """Raise RefusedError unless the files of a checkpoint are those that were written."""
        try:
            check_checksums(self._directory / str(step))
        except InputError as error:
            raise RefusedError(f"{self.name(step)} is damaged: {error}") from error
        except OSError as error:
            raise InputError(f"{self.name(step)} cannot be read: {error.strerror}") from error

    def move_aside(self, step: int) -> None:
        """Rename a checkpoint to ``refused-STEP``."""
        aside = self._directory / f"refused-{step}"
        try:
            if aside.is_dir():
                shutil.rmtree(aside)
            (self._directory / str(step)).rename(aside)
        except OSError as error:
            raise InputError(
                f"{self.name(step)} cannot be moved to {aside.name}: {error.strerror}"
            ) from error
        self._manager.reload()

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Which checkpoints to keep; orbax calls this."""
        steps = [checkpoint.step for checkpoint in checkpoints]
        kept = self._keep(steps)
        return [step in kept for step in steps]

    def _put_back(self) -> None:
        """Undo a replacement during which the process died, unless the new one is complete."""
        for replaced in self._directory.glob(f"{_REPLACED}*"):
            target = self._directory / replaced.name.removeprefix(_REPLACED)
            if _is_intact(target):
                shutil.rmtree(replaced)
            else:
                shutil.rmtree(target, ignore_errors=True)
                replaced.rename(target)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # Whatever class orbax raises, the write has failed.
            raise InputError(
                f"a checkpoint cannot be written to {self._directory}: {one_line(error)}; "
                "the earlier ones are as they were"
            ) from error

    @contextlib.contextmanager
    def reading(self, step: int) -> Iterator[None]:
        """Context manager: any error in it means that a checkpoint cannot be read.

        Raises:
          InputError: it cannot.
        """
        try:
            yield
        except (InputError, MemoryError):
            raise
        except Exception as error:  # The checksums match: it is not damaged. It may be newer.
            raise InputError(f"{self.name(step)} cannot be read: {one_line(error)}") from error


def are_intact(directory: Path, reported: int) -> bool:
    """Whether the newest and the reported checkpoint are as they were written.

    Raises:
      InputError: they cannot be read.
    """
    steps = [int(name) for name in names_in(directory) if name.isdecimal()]
    return all(_is_intact(directory / str(step)) for step in {reported, max(steps, default=-1)})


def shapes(params: Mapping[str, Any]) -> dict[tuple[str, ...], tuple[int, ...]]:
    """The shape of each parameter, by its path."""
    return {path: tuple(leaf.shape) for path, leaf in flatten_dict(dict(params)).items()}


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
        # Orbax would ask JAX's preemption service, which is off: see `Preemption`.
        def reached_preemption(self, step: int) -> bool:
            return False

    return Manager


def _temporary_path_class() -> Any:
    from orbax.checkpoint.path import atomicity

    class WithChecksums(atomicity.AtomicRenameTemporaryPath):
        """Adds checksums when a checkpoint gets its name, before orbax deletes older ones."""

        async def finalize(self) -> None:
            await super().finalize()
            path = Path(self.get_final())
            if path.name.isdecimal():  # The parts of a checkpoint are finalized like this, too.
                write_checksums(path)

    return WithChecksums
