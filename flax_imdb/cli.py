"""The commands: flags become a configuration, and errors one line."""

import argparse
import contextlib
import dataclasses
import datetime
import importlib
import io
import itertools
import json
import os
import re
import signal
import statistics
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import jax
import tyro

import flax_imdb
from flax_imdb.config import RECIPES, ExperimentConfig, recipe
from flax_imdb.devices import DeviceName
from flax_imdb.distributed import Processes, is_one_of_several, join, leave
from flax_imdb.errors import InputError, Preempted, as_flags
from flax_imdb.training.checkpoints import CheckpointConfig
from flax_imdb.tuning import tune_process
from flax_imdb.watch import lost_process, take_last_word
from flax_imdb.workdir import Workdir

T = TypeVar("T")

Imports = Annotated[tuple[str, ...], tyro.conf.arg(name="import"), tyro.conf.UseAppendAction]
"""Modules to import before the other flags are read."""


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Train a classifier on the IMDB reviews, or on texts of your own.

    Attributes:
      experiment: what to train.
      processes: of a run on several hosts.
      imports: Import this module first, such as one that registers an architecture.
      device: Train on all devices of this kind; auto: what JAX prefers.
      checkpoints: when to save, and what to keep.
      baseline: Compare with logistic regression on word counts; without this and the next flag, up
        to 200,000 texts are.
      no_baseline: Do not compare with it.
      workdir: Where the run's files go. None: runs/ARCH-DATE-TIME.
      resume: Continue the run in workdir after its newest checkpoint.
      overwrite: Delete the run in workdir first.
    """

    experiment: ExperimentConfig = dataclasses.field(default_factory=ExperimentConfig)
    processes: Processes = dataclasses.field(default_factory=Processes)
    checkpoints: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    imports: Imports = ()
    device: DeviceName = "auto"
    baseline: bool = False
    no_baseline: bool = False
    workdir: str | None = None
    resume: bool = False
    overwrite: bool = False


def train(args: list[str], prog: str) -> int:
    """Train a classifier on the IMDB reviews, or on texts of your own."""
    # A flag that is not given has the value of the recipe, or of the run that goes on.
    first = _first(args)
    experiment = ExperimentConfig() if first.recipe in (None, "None") else recipe(first.recipe)
    if first.resume and first.workdir is not None:
        experiment = Workdir(first.workdir).config() or experiment
    default = TrainOptions(experiment=experiment)
    options = _parse(TrainOptions, args, prog, default=default)
    if options.workdir is None:
        if options.resume:
            raise InputError("--resume needs --workdir: the directory of the run to continue")
        now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        workdir = Workdir(Path("runs", f"{options.experiment.model.arch}-{now}"), new=True)
    else:
        workdir = Workdir(options.workdir)
    from flax_imdb.experiment import train

    join(options.processes)
    try:
        train(
            options.experiment,
            workdir,
            device=options.device,
            resume=options.resume,
            overwrite=options.overwrite,
            checkpoints=options.checkpoints,
            baseline=None if options.baseline == options.no_baseline else options.baseline,
        )
    except Preempted as stop:
        _say(f"{stop}: continue with --resume --workdir {workdir.path}")
        return 128 + stop.signal
    except KeyboardInterrupt:
        _say("stopped by SIGINT before there was anything new to save")
        return 128 + signal.SIGINT
    return 0


# The settings of `DataConfig` that say where texts are and how they are read.
_READING = (
    *("dataset", "text_columns", "label_column", "columns", "delimiter"),
    *("encoding", "skip_bad_rows"),
)


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """Score a run's model on its test split again, or on other texts.

    How other texts are read is as in training, unless a flag says otherwise.

    Attributes:
      workdir: The run's directory.
      dataset: Score on this file, folder or tfds:NAME. None: the run's test split.
      text_columns: The columns of its text.
      label_column: The column of its label.
      columns: The names of all its columns, if it has no header.
      delimiter: What separates its columns.
      encoding: Its encoding.
      skip_bad_rows: Leave out rows without a text or a label, instead of stopping.
      device: Where to evaluate.
      data_dir: Where the reviews or tfds's datasets are now. None: as in training.
      imports: Import this module first: the one that registers the run's architecture.
    """

    workdir: str
    dataset: str | None = None
    text_columns: str | None = None
    label_column: str | None = None
    columns: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    skip_bad_rows: bool = False
    device: DeviceName = "auto"
    data_dir: str | None = None
    imports: Imports = ()


def evaluate(args: list[str], prog: str) -> int:
    """Score a run's model on its test split again, or on other texts."""
    from flax_imdb.data import load_examples
    from flax_imdb.predict import load
    from flax_imdb.report import ProgramConsole, Report

    options = _parse(EvaluateOptions, args, prog)
    model = load(options.workdir, options.device)
    _warn_of_synthetic(model.config)
    report = Report(ProgramConsole())
    of_reading = {name: getattr(options, name) for name in _READING}
    given = {name: value for name, value in of_reading.items() if value not in (None, False)}
    if options.dataset is None:
        if given:
            raise InputError(f"`{next(iter(given))}` is of other texts: give them as `dataset`")
        examples = model.test_examples(options.data_dir)
    else:
        data_dir = options.data_dir or model.config.data.data_dir
        data = dataclasses.replace(model.config.data, **given, data_dir=data_dir)
        examples, remarks = load_examples(data, model.info, given)
        for remark in remarks:
            report.say(remark)
    scores = model.score(examples)
    report.scores(scores)
    print(f"Loss: {scores.test_loss:.4f}")
    print(f"Accuracy: {scores.test_accuracy:.2%}")
    return 0


@dataclasses.dataclass(frozen=True)
class PredictOptions:
    """Print a line for each text: a probability, and the likeliest class.

    Of two classes the probability is that of the second; of more that of the likeliest.

    Attributes:
      texts: The texts. Without any, the lines of standard input.
      workdir: The run's directory.
      device: Where to compute.
      imports: Import this module first: the one that registers the run's architecture.
    """

    texts: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    workdir: str = tyro.MISSING
    device: DeviceName = "auto"
    imports: Imports = ()


def predict(args: list[str], prog: str) -> int:
    """Print the probability and the class of texts."""
    from flax_imdb.predict import load, unreadable

    options = _parse(PredictOptions, args, prog)
    model = load(options.workdir, options.device)
    _warn_of_synthetic(model.config)
    # Bytes that are not UTF-8 become lone surrogates, as they do in the arguments.
    texts = options.texts or [
        line.decode(errors="surrogateescape") for line in _standard_input().splitlines()
    ]
    rules = model.vocabulary.rules
    reasons = [unreadable(text, rules) for text in texts]
    numbers = [number for number, reason in enumerate(reasons, start=1) if reason is None]
    predictions = iter(model.predict([texts[number - 1] for number in numbers], numbers=numbers))
    for number, reason in enumerate(reasons, start=1):
        if reason is None:
            prediction = next(predictions)
            shown = model.info.classes[1] if len(model.info.classes) == 2 else prediction.label
            print(f"{prediction.probabilities[shown]:.4f}\t{prediction.label}")
        else:
            print("nan\tunreadable")
            _say(f"error: text {number}: {reason}")
    return 0 if len(numbers) == len(texts) else 2


@dataclasses.dataclass(frozen=True)
class RecipesOptions:
    """List the recipes: their settings, and what each reached on the IMDB reviews."""


def recipes(args: list[str], prog: str) -> int:
    """List the recipes: their settings, and what each reached on the IMDB reviews."""
    _parse(RecipesOptions, args, prog)
    reached = json.loads(Path(__file__).with_name("recipes.json").read_text())
    for name, (about, settings) in RECIPES.items():
        flags = (f"--{setting.replace('_', '-')} {value}" for setting, value in settings.items())
        print(f"{name}: {about}\n  {' '.join(flags)}\n  {_reached(reached[name])}")
    return 0


def _reached(results: dict[str, Any]) -> str:
    """What the runs of a recipe reached, in one line."""
    accuracies, seconds, memory = (
        [run[name] for run in results["rows"]] for name in ("accuracy", "seconds", "peak_memory_mb")
    )
    return (
        f"{statistics.mean(accuracies):.2%} ± {statistics.stdev(accuracies):.2%} of the test "
        f"reviews right (mean and standard deviation of {len(accuracies)} seeds), in "
        f"{statistics.mean(seconds) / 60:.1f} minutes and {max(memory) / 1000:.1f} GB, on "
        f"{results['cpus']} CPUs with jax {results['versions']['jax']}"
    )


def _warn_of_synthetic(config: ExperimentConfig) -> None:
    if config.data.dataset == "synthetic":
        _say("SYNTHETIC REVIEWS: this model knows nothing of IMDB")


def _standard_input() -> bytes:
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise InputError(f"standard input cannot be read: {error.strerror or error}") from None


COMMANDS: dict[str, Callable[[list[str], str], int]] = {
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "recipes": recipes,
}


def _help(args: list[str], prog: str) -> int:
    print(f"usage: {prog} COMMAND [--help] [OPTIONS]\n")
    for name, command in COMMANDS.items():
        print(f"  {name:10} {command.__doc__}")
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
    return run(COMMANDS[name], rest, f"flax-imdb {name}")


def run(command: Callable[[list[str], str], int], args: list[str], prog: str) -> int:
    """Run a command; an InputError becomes one line on standard error and status 2."""
    if args[:1] == ["--version"]:
        command = _version
    _settle()
    tune_process()
    try:
        _import(_first(args).modules)
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
            f"less ({reason[:200]})"
        )
    return lost_process(error) if is_one_of_several() else None


def _fail(message: str, status: int = 2) -> int:
    _say(f"error: {as_flags(' '.join(message.split()))}")
    return status


def _say(line: str) -> None:
    """Print on standard error, if it is open: the exit status must not change."""
    if is_one_of_several():
        take_last_word()
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _parse(
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


def _first(args: list[str]) -> argparse.Namespace:
    """The flags that decide what the others may be."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--import", action="append", default=[], dest="modules")
    parser.add_argument("--workdir")
    parser.add_argument("--recipe")
    parser.add_argument("--resume", action="store_true")
    try:
        return parser.parse_known_args(args)[0]
    except argparse.ArgumentError:  # A value is missing: tyro says so.
        return parser.parse_args([])


def _import(modules: list[str]) -> None:
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


def script() -> None:
    """The command ``flax-imdb``."""
    sys.exit(main())


if __name__ == "__main__":
    script()
