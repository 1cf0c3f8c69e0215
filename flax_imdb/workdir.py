"""The directory of a run: which files are in it, and whose it is."""

import contextlib
import fnmatch
import glob
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from filelock import lock_descriptor

from flax_imdb.config import ExperimentConfig, load_config
from flax_imdb.data import Vocabulary
from flax_imdb.distributed import on_main
from flax_imdb.errors import InputError
from flax_imdb.paths import check_utf8, exists, local_path, unreadable
from flax_imdb.results import Result, Summary
from flax_imdb.training import EpochRecord

# What a run leaves; with --runs there is a folder seed-N for each.
_LEFT_BY_A_RUN = (
    "config.json",
    "vocabulary.json",
    "checkpoints",
    "metrics.jsonl",
    "curves.png",
    "result.json",
    "summary.json",
    "seed-[0-9]*",
)


class Workdir:
    """The files of one run, which the first of several processes reads and writes for all.

    Attributes:
      path: the directory.
    """

    def __init__(self, path: str | os.PathLike[str], *, new: bool = False):
        """The directory, which need not be there.

        Args:
          path: where it is, with ``~`` for the home directory.
          new: it must be this run's own: where `path` is taken, `hold` makes ``PATH-2`` or so.

        Raises:
          InputError: no run can be there, whatever is.
        """
        self.path = local_path("`workdir`", path)
        _check_name(self.path)
        self._new = new
        self._lock: IO[str] | None = None

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints are."""
        return self.path / "checkpoints"

    @on_main
    def config(self) -> ExperimentConfig | None:
        """The experiment; None where none was started."""
        path = self.path / "config.json"
        return load_config(path) if exists(path) else None

    @on_main
    def vocabulary(self) -> tuple[Vocabulary, str] | None:
        """The vocabulary and the fingerprint of its reviews; None where there is none yet."""
        path = self.path / "vocabulary.json"
        return Vocabulary.load(path) if exists(path) else None

    @on_main
    def result(self) -> Result | None:
        """What the run came to; None where it has not finished, or what it left is damaged."""
        text = self._read("result.json")
        return None if text is None else Result.parse(text)

    @on_main
    def summary(self) -> Summary | None:
        """What several runs came to; None as with `result`."""
        text = self._read("summary.json")
        return None if text is None else Summary.parse(text)

    @on_main
    def records(self) -> list[EpochRecord]:
        """The lines of ``metrics.jsonl``."""
        lines = (self._read("metrics.jsonl") or "").splitlines()
        return [EpochRecord(**json.loads(line)) for line in lines]

    @on_main
    def finished_epochs(self) -> int:
        """How many epochs ``metrics.jsonl`` has."""
        return len((self._read("metrics.jsonl") or "").splitlines())

    @on_main
    def check_free(self) -> None:
        """Raise InputError where there is a run."""
        if not self._new and (left := self._left_by_a_run()):
            raise InputError(
                f"`workdir` {self.path} already holds a run ({left[0].name}): `resume` continues "
                "it, `overwrite` deletes it"
            )

    @on_main
    def check_own(self) -> None:
        """Raise InputError where what a run would have left is not a run's."""
        if self._left_by_a_run():
            load_config(self.path / "config.json")

    @on_main
    def clear(self) -> None:
        """Delete what a run has left, and nothing else.

        Raises:
          InputError: it cannot be deleted.
        """
        try:
            # The configuration last: without it nobody would know whose the others are.
            for path in reversed(self._left_by_a_run()):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        except OSError as error:
            raise self._problem("cleared", error) from None

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
            raise self._problem("written", error) from None

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Create the directory and hold it against other runs; the lock ends with the process.

        Raises:
          InputError: it cannot be written, or another run holds it.
        """
        with contextlib.ExitStack() as stack:
            self.path = self._hold(stack)
            yield

    @on_main
    def _hold(self, stack: contextlib.ExitStack) -> Path:
        stack.enter_context(self._locked())
        return self.path

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            if self._new:
                self.path = _make_new(self.path)
            else:
                self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("a")
        except FileExistsError:
            raise InputError(f"`workdir` {self.path} is not a directory") from None
        except OSError as error:
            raise self._problem("written", error) from None
        with lock:
            try:
                # Of a descriptor, which `check_held` looks at, and of which closing it gives it up.
                held = lock_descriptor(lock.fileno(), blocking=False)
            except OSError as error:  # A file system without locks.
                raise self._problem("locked", error) from None
            if not held:
                raise InputError(f"`workdir` {self.path} is in use by another run")
            self._lock = lock
            try:
                self.check_held()  # It may have been removed meanwhile.
                yield
            finally:
                self._lock = None

    def check_held(self) -> None:
        """Raise InputError where the directory is not the one that is held.

        It has been removed then, or removed and made again, by another run perhaps.
        """
        if self._lock is None:
            raise RuntimeError(f"{self.path} is written to and not held")
        try:
            there = os.path.samestat(os.fstat(self._lock.fileno()), os.stat(self.path / ".lock"))
        except (FileNotFoundError, NotADirectoryError):
            there = False
        except OSError as error:
            raise self._problem("written", error) from None
        if not there:
            raise InputError(f"`workdir` {self.path} was removed while the run wrote to it")

    def _read(self, name: str) -> str | None:
        """The text of a file, of which what is not UTF-8 is replaced; None where there is none."""
        try:
            return (self.path / name).read_bytes().decode(errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unreadable(self.path / name, error) from None

    def _left_by_a_run(self) -> list[Path]:
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._problem("read", error) from None
        return [
            self.path / name
            for pattern in _LEFT_BY_A_RUN
            for name in fnmatch.filter(names, pattern)
        ]

    def _problem(self, done: str, error: OSError) -> InputError:
        return InputError(f"`workdir` {self.path} cannot be {done}: {error.strerror}")


def _make_new(path: Path) -> Path:
    """Create a directory that was not there: `path`, or else ``PATH-2``, ``PATH-3``, ..."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        new = path if number == 1 else path.with_name(f"{path.name}-{number}")
        with contextlib.suppress(FileExistsError):
            new.mkdir()
            break
    return new


def _check_name(path: Path) -> None:
    """Raise InputError where the libraries that write checkpoints would take `path` for another."""
    check_utf8("`workdir`", path)
    absolute = os.path.abspath(path)
    if glob.escape(absolute) != absolute:  # Orbax looks for files below it by a pattern.
        raise InputError(
            f"`workdir` {absolute} has one of the characters * ? [, with which no checkpoint can "
            "be found again: another name is needed"
        )
