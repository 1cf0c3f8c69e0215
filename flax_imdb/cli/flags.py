"""From flags to options, and what all commands say the same way."""

import argparse
import contextlib
import importlib
import io
import itertools
import re
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, TypeVar

import tyro

from flax_imdb.config import ExperimentConfig
from flax_imdb.distributed import is_one_of_several
from flax_imdb.errors import InputError
from flax_imdb.watch import take_last_word

T = TypeVar("T")

Imports = Annotated[tuple[str, ...], tyro.conf.arg(name="import"), tyro.conf.UseAppendAction]
"""Modules to import before the other flags are read."""


def parse(
    options: type[T], args: list[str], prog: str, default: T | Any = tyro.MISSING_NONPROP
) -> T:
    """Parse flags with tyro, whose boxed error becomes an InputError."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                options,
                args=args,
                prog=prog,
                default=default,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as exit:
        if exit.code == 0:
            sys.stdout.flush()  # The last chance to report that it fails.
            raise
        # tyro has no public hook for this. Its box has a title, the complaint, a rule and advice;
        # an ASCII console's has a rule below the title, too.
        lines = [line.strip("│ ") for line in complaint.getvalue().splitlines()[1:]]
        is_rule = re.compile("[─-]+").fullmatch
        text = itertools.takewhile(
            lambda line: not is_rule(line), itertools.dropwhile(is_rule, lines)
        )
        message = " ".join(" ".join(text).split()).rstrip(".")
        # What a configuration says of its settings needs no more introduction.
        raise InputError(re.sub(r"^Error parsing [a-z][a-z_.]*: ", "", message)) from None


def first_of(args: list[str]) -> argparse.Namespace:
    """The flags that decide what the others may be."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--import", action="append", default=[], dest="modules")
    parser.add_argument("--workdir")
    parser.add_argument("--recipe")
    parser.add_argument("--init-from")
    parser.add_argument("--resume", action="store_true")
    try:
        return parser.parse_known_args(args)[0]
    except argparse.ArgumentError:  # A value is missing: tyro says so.
        return parser.parse_args([])


def given_of(options: object, names: Iterable[str]) -> dict[str, Any]:
    """The settings of these names that are given: neither None nor False."""
    values = {name: getattr(options, name) for name in names}
    return {
        name: value for name, value in values.items() if value is not None and value is not False
    }


def import_modules(modules: list[str]) -> None:
    """Import what ``--import`` names.

    Raises:
      InputError: there is no such module.
    """
    if modules and not sys.flags.safe_path:
        sys.path.insert(0, "")  # The current directory, where `python -m` looks, too.
    for module in modules:
        if not all(part.isidentifier() for part in module.split(".")):
            raise InputError(f"`import` {module!r} is not the name of a module, such as my_module")
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise InputError(
                f"`import` {module}: {error.msg} in the current directory, in PYTHONPATH or "
                "among the installed packages"
            ) from None


@contextlib.contextmanager
def leaving_nothing() -> Iterator[None]:
    """Context manager in which signals end the program as an error would: unfinished files go.

    These are SIGTERM and SIGHUP, unless they are handled or ignored; SIGINT does so anyway.
    """
    caught = []
    if threading.current_thread() is threading.main_thread():
        known = [signal.Signals[name] for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
        caught = [each for each in known if signal.getsignal(each) == signal.SIG_DFL]
    for each in caught:
        signal.signal(each, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        for each in caught:
            signal.signal(each, signal.SIG_DFL)


def say(line: str) -> None:
    """Print on standard error, if it is open: the exit status must not change."""
    if is_one_of_several():
        take_last_word()
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def warn_of_synthetic(config: ExperimentConfig) -> None:
    """Say so, if a model was trained on synthetic reviews."""
    if config.data.dataset == "synthetic":
        say("SYNTHETIC REVIEWS: this model knows nothing of IMDB")
