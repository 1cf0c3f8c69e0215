"""The directory of a run: its files, and its lock."""

import contextlib
import dataclasses
import glob
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from filelock import lock_descriptor

from flax_imdb.config import ExperimentConfig, load_config
from flax_imdb.data import DatasetInfo
from flax_imdb.distributed import on_main
from flax_imdb.errors import InputError
from flax_imdb.paths import check_utf8, exists, local_path, names_in, unreadable
from flax_imdb.results import Result, Summary
from flax_imdb.training import EpochRecord, StepRecord

T = TypeVar("T")

_FILES_OF_A_RUN = (
    "config.json",
    "vocabulary.json",
    "checkpoints",
    "metrics.jsonl",
    "steps.jsonl",
    "tensorboard",
    "curves.png",
    "scores.png",
    "report.html",
    "estimator.json",
    "result.json",
    "summary.json",
)
_SEED = re.compile(r"seed-\d+")  # The folder of each of several runs.


class Workdir:
    """The files of one run. Of several processes, the first reads and writes them for all.

    Args:
      path: the directory, which may not exist yet; ``~`` is the home directory.
      setting: the setting that names it, in backticks.
      new: create a new directory; if `path` exists, `hold` creates ``PATH-2``, ``PATH-3``, ...

    Attributes:
      path: the directory.
      setting: the setting that names it, in backticks.

    Raises:
      InputError: `path` can never be a workdir.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, setting: str = "`workdir`", new: bool = False
    ):
        self.path = local_path(setting, path)
        self.setting = setting
        _check_name(setting, self.path)
        self._new = new
        self._lock: IO[str] | None = None

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints are."""
        return self.path / "checkpoints"

    @on_main
    def config(self) -> ExperimentConfig | None:
        """The experiment; None if none was started."""
        path = self.path / "config.json"
        return load_config(path) if exists(path) else None

    def seeds(self) -> "list[Workdir]":
        """The directories of the run's seeds; of a single run, this one."""
        config = self.config()
        if config is None or config.runs == 1:
            return [self]
        first = config.training.seed
        return [Workdir(self.path / f"seed-{seed}") for seed in range(first, first + config.runs)]

    @on_main
    def dataset_info(self) -> DatasetInfo | None:
        """The content of ``vocabulary.json``; None if there is none yet."""
        path = self.path / "vocabulary.json"
        return DatasetInfo.load(path) if exists(path) else None

    @on_main
    def result(self) -> Result | None:
        """The result of the run; None if it has not finished, or the file is damaged."""
        text = _read(self.path / "result.json")
        return None if text is None else Result.parse(text)

    @on_main
    def summary(self) -> Summary | None:
        """The summary of several runs; None as with `result`."""
        text = _read(self.path / "summary.json")
        return None if text is None else Summary.parse(text)

    @on_main
    def records(self) -> list[EpochRecord]:
        """The lines of ``metrics.jsonl``."""
        return _parse_lines(self.path / "metrics.jsonl", EpochRecord)

    def write_records(self, epochs: Sequence[EpochRecord]) -> None:
        """Write ``metrics.jsonl``."""
        self.write("metrics.jsonl", _as_lines(map(dataclasses.asdict, epochs)))

    @on_main
    def steps(self) -> list[StepRecord]:
        """The lines of ``steps.jsonl``; none if an older version made the run."""
        return _parse_lines(self.path / "steps.jsonl", StepRecord)

    @on_main
    def write_steps(self, epoch: int, steps: Sequence[StepRecord]) -> None:
        """Make the steps of an epoch the last ones in ``steps.jsonl``.

        Args:
          epoch: number of the epoch.
          steps: its steps.
        """
        before = [step for step in self.steps() if step.epoch < epoch]
        self.write("steps.jsonl", _as_lines(step._asdict() for step in (*before, *steps)))

    @on_main
    def read(self, name: str) -> str | None:
        """The text of a file; None if there is none."""
        return _read(self.path / name)

    @on_main
    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return exists(self.path / name)

    @on_main
    def finished_epochs(self) -> int:
        """The number of epochs in ``metrics.jsonl``."""
        return len((_read(self.path / "metrics.jsonl") or "").splitlines())

    @on_main
    def check_free(self) -> None:
        """Raise InputError if there is a run."""
        if not self._new and (left := _left_by_a_run(self.path)):
            raise InputError(
                f"`workdir` {self.path} already holds a run ({left[0].name}): `resume` continues "
                "it, `overwrite` deletes it"
            )

    @on_main
    def check_own(self) -> None:
        """Raise InputError if there are files with a run's names, but no valid config.json."""
        if _left_by_a_run(self.path):
            load_config(self.path / "config.json")

    @on_main
    def clear(self) -> None:
        """Delete the files of a run, and nothing else.

        Raises:
          InputError: they cannot be deleted.
        """
        try:
            # The configuration last: without it nobody would know whose the other files are.
            for path in reversed(_left_by_a_run(self.path)):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        except OSError as error:
            raise _problem(self.path, "cleared", error) from None

    @on_main
    def write(self, name: str, content: str | bytes) -> None:
        """Write a file, all of it or nothing.

        Raises:
          InputError: it cannot be written.
        """
        self.check_held()
        path = self.path / name
        unfinished = path.with_name(f"{name}.tmp")
        try:
            with unfinished.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except OSError as error:
            raise _problem(self.path, "written", error) from None

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Create the directory and lock it against other runs; the lock ends with the process.

        Raises:
          InputError: it cannot be written, or another run holds it.
        """
        with contextlib.ExitStack() as stack:
            stack.callback(setattr, self, "_lock", None)
            self.path = self._hold(stack)
            yield

    @on_main
    def _hold(self, stack: contextlib.ExitStack) -> Path:
        try:
            if self._new:
                self.path = _make_new(self.path)
            else:
                self.path.mkdir(parents=True, exist_ok=True)
            self._lock = stack.enter_context((self.path / ".lock").open("a"))
        except FileExistsError:
            raise InputError(f"`workdir` {self.path} is not a directory") from None
        except OSError as error:
            raise _problem(self.path, "written", error) from None
        try:
            # On a descriptor, which `check_held` compares; closing it releases the lock.
            held = lock_descriptor(self._lock.fileno(), blocking=False)
        except OSError as error:  # A file system without locks.
            raise _problem(self.path, "locked", error) from None
        if not held:
            raise InputError(f"`workdir` {self.path} is in use by another run")
        self.check_held()  # It may have been removed meanwhile.
        return self.path

    def check_held(self) -> None:
        """Raise InputError unless the directory is the one that was locked.

        Otherwise it was removed, and perhaps made again by another run.
        """
        if self._lock is None:
            raise RuntimeError(f"{self.path} is written to and not held")
        try:
            same = os.path.samestat(os.fstat(self._lock.fileno()), os.stat(self.path / ".lock"))
        except (FileNotFoundError, NotADirectoryError):
            same = False
        except OSError as error:
            raise _problem(self.path, "written", error) from None
        if not same:
            raise InputError(f"`workdir` {self.path} was removed while the run wrote to it")


def is_of_a_run(path: Path) -> bool:
    """Whether a file has the name, and the place, of one of a run's."""
    named = path.name in _FILES_OF_A_RUN or _SEED.fullmatch(path.name) is not None
    return named and exists(path.with_name("config.json"))


def _read(path: Path) -> str | None:
    """The text of a file, with what is not UTF-8 replaced; None if there is no file."""
    try:
        return path.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from None


def _as_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def _parse_lines(path: Path, kind: Callable[..., T]) -> list[T]:
    """The lines of a file that `_as_lines` made; none if there is no file.

    Raises:
      InputError: it is damaged, or cannot be read.
    """
    lines = (_read(path) or "").splitlines()
    try:
        return [kind(**json.loads(line)) for line in lines]
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path} is damaged ({error}): once it is deleted, `resume` goes on without it"
        ) from error


def _left_by_a_run(directory: Path) -> list[Path]:
    names = set(names_in(directory))
    seeds = sorted(filter(_SEED.fullmatch, names))
    return [directory / name for name in (*_FILES_OF_A_RUN, *seeds) if name in names]


def _problem(directory: Path, done: str, error: OSError) -> InputError:
    return InputError(f"`workdir` {directory} cannot be {done}: {error.strerror}")


def _make_new(path: Path) -> Path:
    """Create a new directory: `path`, or else ``PATH-2``, ``PATH-3``, ..."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        new = path if number == 1 else path.with_name(f"{path.name}-{number}")
        with contextlib.suppress(FileExistsError):
            new.mkdir()
            break
    return new


def _check_name(setting: str, path: Path) -> None:
    """Raise InputError if the libraries that write checkpoints would misread `path`."""
    check_utf8(setting, path)
    absolute = os.path.abspath(path)
    if glob.escape(absolute) != absolute:  # Orbax looks for files below it by a pattern.
        raise InputError(
            f"{setting} {absolute} has one of the characters * ? [, with which no checkpoint can "
            "be found again: another name is needed"
        )
