"""The program: it runs a command, and makes errors one line and an exit status."""

import importlib
import io
import os
import sys
import traceback
from collections.abc import Callable

import jax

import flax_imdb
from flax_imdb.cli.flags import first_of, import_modules, say
from flax_imdb.distributed import is_one_of_several, leave
from flax_imdb.errors import InputError, as_flags
from flax_imdb.tuning import tune_process
from flax_imdb.watch import lost_process, take_last_word

COMMANDS = {
    "train": "Train a classifier on the IMDB reviews, or on texts of your own.",
    "evaluate": "Score a run's model on its test split again, or on other texts.",
    "predict": "Print the probability and the class of texts.",
    "explain": "Show which words led to the predictions.",
    "serve": "Answer over HTTP: a page to type a text in, and an API.",
    "export": "Write a run's model in another format: ONNX, StableHLO, Keras, PyTorch, HTML, ...",
    "report": "Write a page about a run, or about several: report.html.",
    "verify": "Repeat a finished run: the same bits, or where it differs first.",
    "recipes": "List the recipes: their settings, and what each reached on the IMDB reviews.",
    "check": "Look for what may be wrong with texts and labels, before training.",
}

Command = Callable[[list[str], str], int]
"""Takes the arguments, and the program's name for messages; returns the exit status."""


def command(name: str) -> Command:
    """The command of this name: a module of this package for each."""
    of_name: Command = importlib.import_module(f"flax_imdb.cli.{name}").command
    return of_name


def _help(args: list[str], prog: str) -> int:
    print(f"usage: {prog} COMMAND [--help] [OPTIONS]\n")
    for name, about in COMMANDS.items():
        print(f"  {name:10} {about}")
    print(f"  {'--version':10} Print the version.")
    return 0


def _version(args: list[str], prog: str) -> int:
    print(f"flax-imdb {flax_imdb.__version__}")
    return 0


def main(args: list[str] | None = None) -> int:
    """``flax-imdb COMMAND ...``: run a command; returns the exit status."""
    args = sys.argv[1:] if args is None else args
    name, rest = (args[0], args[1:]) if args else ("--help", [])
    if name in ("-h", "--help"):
        return run(_help, rest, "flax-imdb")
    if name == "--version":
        return run(_version, rest, "flax-imdb")
    if name not in COMMANDS:
        return _fail(f"command {name} is unknown: one of {', '.join(COMMANDS)}")
    return run(command(name), rest, f"flax-imdb {name}")


def run(command: Command, args: list[str], prog: str) -> int:
    """Run a command; an InputError becomes one line on standard error and status 2."""
    if args[:1] == ["--version"]:
        command = _version
    _settle()
    tune_process()
    try:
        import_modules(first_of(args).modules)
        status = command(args, prog)
        sys.stdout.flush()
        if status == 0:
            leave()
    except BrokenPipeError:
        # The reader of the output has gone, as `head` does once it has its lines.
        _drop_output()
        status = 128 + 13  # SIGPIPE, by its number: Windows has no name for it.
    except InputError as error:
        lost = lost_process(error) if is_one_of_several() else None
        status = _fail(lost, status=1) if lost else _fail(str(error))
    except KeyboardInterrupt:
        status = 130
    except Exception as error:
        if isinstance(error, OSError) and not _output_works():
            _drop_output()
            status = _fail(f"standard output cannot be written: {error.strerror or error}")
        elif explained := _explained(error):
            status = _fail(explained, status=1)
        elif is_one_of_several():
            take_last_word()
            traceback.print_exc()
            status = 1
        else:
            raise
    if status != 0 and is_one_of_several():
        # At once: at a normal exit it would wait for the others, which wait for it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _settle() -> None:
    """Set what a program's surroundings may have closed or set otherwise."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # Closed, as by `>&-`: the next file would take its place.
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Not every file name can be encoded.
            stream.reconfigure(errors="backslashreplace")
    # A backend that is not here, such as a notebook's, would be an error.
    os.environ["MPLBACKEND"] = "agg"


def _output_works() -> bool:
    try:
        print(flush=True)
    except OSError:
        return False
    return True


def _drop_output() -> None:
    """Discard buffered output: it would be written at exit, and fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explained(error: Exception) -> str | None:
    """The message for an error that is neither the user's nor a bug; otherwise None."""
    reason = str(error)
    of_jax = isinstance(error, jax.errors.JaxRuntimeError)
    if isinstance(error, MemoryError) or (of_jax and "RESOURCE_EXHAUSTED" in reason):
        return (
            "out of memory: a smaller --batch-size, --microbatches 4 or --remat-steps 25 takes "
            f"less, and with n-grams a smaller --wide-buckets ({reason[:200]})"
        )
    return lost_process(error) if is_one_of_several() else None


def _fail(message: str, status: int = 2) -> int:
    say(f"error: {as_flags(' '.join(message.split()))}")
    return status


def script() -> None:
    """The command ``flax-imdb``."""
    sys.exit(main())
