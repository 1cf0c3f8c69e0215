"""Console output: parameter table, progress bar, metrics of epochs, scores."""

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import jax
import optax
from flax.traverse_util import flatten_dict
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from flax_imdb.config import ExperimentConfig, settings
from flax_imdb.data import Dataset, DatasetInfo, OnRead, WordVectors
from flax_imdb.devices import in_words
from flax_imdb.distributed import is_main, on_main
from flax_imdb.errors import warn
from flax_imdb.report.tensorboard import EventFiles, check_installed
from flax_imdb.results import Result, Summary
from flax_imdb.scores import Scores, SetScores
from flax_imdb.training import EpochRecord, History, Progress, TrainState
from flax_imdb.training.checkpoints import Restored
from flax_imdb.workdir import Workdir

# Minimum time between updates of a notebook's output.
_NOTEBOOK_SECONDS = 0.25

# If less of the texts has a word vector, they may be of another language or form of words.
_LITTLE = 0.5

# How an epoch's monitored value is shown, where it is not among the others.
_MONITORED = {"macro_f1": "macro F1 {:.2%}", "roc_auc": "ROC AUC {:.4f}"}

# Time between lines where there is no bar.
_LOG_SECONDS = 60.0


def parameter_table(params: Mapping[str, Any], title: str) -> Table:
    """A table of all parameters (path, shape, dtype, number of scalars) and their total."""
    table = Table(title=title, title_justify="left", show_footer=True)
    table.add_column("parameter", "total")
    table.add_column("shape", justify="right")
    table.add_column("dtype")
    table.add_column("scalars", f"{optax.tree.size(params):,}", justify="right")
    for path, leaf in flatten_dict(dict(params), sep="/").items():
        shape = " x ".join(map(str, leaf.shape))
        table.add_row(path, shape, str(leaf.dtype), f"{math.prod(leaf.shape):,}")
    return table


class ProgramConsole(Console):
    """A console that raises BrokenPipeError, so that the program decides how to exit."""

    def on_broken_pipe(self) -> None:
        """Called while a BrokenPipeError is handled; rich would exit with status 1."""
        raise


class Report:
    """What a run shows while it goes. With several processes, only process 0 does.

    Args:
      console: where to print.
      tensorboard: also write event files for TensorBoard.
      bar_only: show nothing but how far it is.

    Raises:
      InputError: the library that writes event files is not installed.
    """

    def __init__(self, console: Console, *, tensorboard: bool = False, bar_only: bool = False):
        if tensorboard:
            check_installed()
        self._of_bars = console
        self._console = Console(quiet=True) if bar_only else console
        self._warns = not bar_only
        self._training: TrainingReport | None = None
        self._tensorboard = tensorboard
        self._events: EventFiles | None = None

    def say(self, line: str) -> None:
        """Print a line without markup or wrapping."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def warn(self, line: str) -> None:
        """Print a warning to standard error."""
        if self._warns and is_main():
            warn(line)

    def dataset(self, dataset: Dataset) -> None:
        """Print what was chosen while reading, and warn of what may be wrong with the texts."""
        self.note(dataset.note)
        for remark in dataset.remarks:
            self.say(remark)
        for warning in dataset.warnings:
            self.warn(warning)

    def word_vectors(
        self, vectors: WordVectors, config: ExperimentConfig, dataset: Dataset
    ) -> None:
        """Print how many words have a vector, and warn if that is little.

        Args:
          vectors: what was read.
          config: the experiment, still with its own width of the embedding.
          dataset: the words of the texts.
        """
        if not is_main():
            return
        words, share = vectors.coverage(dataset.info.vocabulary, dataset.train)
        known, width = len(dataset.info.vocabulary.words), config.model.embedding_features
        self.say(
            f"{vectors.path}: vectors of {vectors.width:,} features for {words:,} of {known:,} "
            f"words, which make up {share:.1%} of the training texts"
        )
        if vectors.width != width:
            self.say(f"the embedding has {vectors.width:,} features like them, not {width:,}")
        if vectors.undecoded:
            self.say(f"{vectors.undecoded:,} of its words are not UTF-8 and were left out")
        if share < _LITTLE:
            self.warn(
                f"only {share:.1%} of the words of the training texts have a vector in "
                f"{vectors.path}: the other words begin at random"
            )

    def note(self, note: str) -> None:
        """Print the dataset's warning, if there is one."""
        if note:
            self._console.print(
                note, style="bold red", highlight=False, markup=False, soft_wrap=True
            )

    def seed(self, seed: int) -> None:
        """Print the seed of the run that starts."""
        self._console.print(f"seed {seed}", style="bold")

    def start(
        self,
        config: ExperimentConfig,
        dataset: Dataset,
        devices: Sequence[jax.Device],
        state: TrainState,
        workdir: Workdir,
    ) -> None:
        """Print the parameter table, the sizes of the dataset, the devices and the workdir."""
        self._console.print(parameter_table(state.params, title=config.model.arch))
        held_out = f"{len(dataset.validation):,} to validate, "
        if len(dataset.calibration):
            held_out += f"{len(dataset.calibration):,} to calibrate, "
        self.say(
            f"{len(dataset.train):,} {dataset.info.units} to train on, "
            f"{held_out}{len(dataset.test):,} to test "
            f"({dataset.info.name}); {in_words(devices)}; {workdir.path}"
        )
        self.say(_classes(dataset.info))
        if config.recipe is not None:
            self.say(f"recipe {config.recipe}: {_unlike_defaults(config)}")

    def resumed(self, restored: Restored) -> None:
        """Print where the run resumes; warn of refused checkpoints and of another environment."""
        for line in (*restored.refused, *filter(None, [restored.elsewhere])):
            self.warn(line)
        step, history = int(restored.state.step), restored.history
        if step and history.unfinished is None:
            where = f"resumed after step {step}, the end of epoch {len(history.epochs)}"
        elif step:
            where = f"resumed after step {step}, in epoch {len(history.epochs) + 1}"
        elif restored.refused:
            where = "no checkpoint is left, and no epoch was finished: starting afresh"
        else:
            return
        self._console.print(where, highlight=False)

    @contextlib.contextmanager
    def reading(self) -> Iterator[OnRead]:
        """Context manager that shows how far the reading of texts is, by what it returns."""
        with Bar(self._of_bars, "reading") as bar:
            yield lambda what, done, total: bar.show(
                what, done, total, f"{done:,}" if total is None else f"{done:,}/{total:,}"
            )

    @contextlib.contextmanager
    def epochs(self, count: int) -> Iterator[None]:
        """Context manager that shows progress; call the following methods inside."""
        try:
            training = TrainingReport(self._of_bars, count, self._console)
            with training as self._training:
                yield
        finally:
            if self._events is not None:
                self._events.close()
                self._events = None

    @on_main
    def before(self, workdir: Workdir, history: History) -> None:
        """Begin the event files with what the run has behind it, if there are to be any."""
        if self._tensorboard:
            workdir.check_held()
            unfinished = history.unfinished.records if history.unfinished else []
            self._events = EventFiles(workdir.path / "tensorboard")
            self._events.add([*workdir.steps(), *unfinished], history.epochs)

    def step(self, progress: Progress) -> None:
        """Show a step."""
        assert self._training is not None
        self._training.step(progress)
        if self._events is not None:
            self._events.step(progress.last)

    def evaluated(self, done: int, batches: int) -> None:
        """Show that so many batches of an evaluation are done."""
        assert self._training is not None
        self._training.evaluated(done, batches)

    def epoch(self, record: EpochRecord) -> None:
        """Print the metrics of an epoch."""
        assert self._training is not None
        self._training.epoch(record)
        if self._events is not None:
            self._events.epoch(record)

    def scores(self, scores: Scores) -> None:
        """Print the scores of a test, but for the accuracy."""
        for table in score_tables(scores):
            self._console.print(table)
        self.say(score_line(scores))

    def set_scores(self, scores: SetScores) -> None:
        """Print the scores of prediction sets."""
        self.say(
            f"Coverage: {scores.coverage:.2%} of the sets have the true class "
            f"({scores.stated:.6g} was asked for)"
        )
        right = "" if scores.accuracy is None else f", {scores.accuracy:.2%} of the answers right"
        self.say(f"Answered: {scores.answered:.2%}{right}")
        sizes = [f"{count:,} of {size}" for size, count in enumerate(scores.sizes) if count]
        self.say(f"Sets by number of classes: {', '.join(sizes)}")

    def result(self, result: Result | Summary) -> None:
        """Print the scores and the test accuracy."""
        self.note(result.note)
        if isinstance(result, Summary):
            self.say(
                f"{result.runs} runs: "
                + ", ".join(f"{accuracy:.2%}" for accuracy in result.test_accuracies)
                + f"; standard deviation {100 * result.test_accuracy_std:.2f} points; mean:"
            )
            if min(result.epochs_by_run, default=result.epochs) < result.epochs:
                self.say(f"epochs until they stopped: {', '.join(map(str, result.epochs_by_run))}")
        else:
            if result.stopped_early:
                self.say(
                    f"stopped early, after epoch {result.epochs}: none was better than epoch "
                    f"{result.reported_epoch}"
                )
            self.scores(result)
            if result.test_accuracy <= result.majority_accuracy:
                answer = "set of labels" if result.thresholds else "class"
                self.warn(
                    f"always answering with the most frequent {answer} would score as well "
                    f"({result.majority_accuracy:.2%})"
                )
        if result.baseline_accuracy is not None:
            self.say(f"Logistic regression on word counts: {result.baseline_accuracy:.2%}")
        self._console.print(f"Accuracy: {result.test_accuracy:.2%}", highlight=False)


class Bar:
    """Context manager that shows how far something is.

    It is a bar in a terminal and in a notebook. Elsewhere, as in a log, it is a line a minute.

    Args:
      console: where to show it.
      description: what is done first.
    """

    def __init__(self, console: Console, description: str):
        self._console = console
        self._bar = ProgressBar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._description = description
        self._task = self._bar.add_task(description, total=None, status="")
        self._in_notebook = NotebookDisplay() if console.is_jupyter and not console.quiet else None
        self._in_log = not console.is_terminal and not console.is_jupyter
        self._logged = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        if self._in_notebook:
            self._in_notebook.show(self._bar)
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(OSError):  # The terminal may be closed (SIGHUP).
            self._bar.stop()
        if self._in_notebook:
            self._in_notebook.show(None)

    def show(self, description: str, done: int, total: int | None, status: str) -> None:
        """Show what is done, how much of it, how much there is (None: not known), and more."""
        new = description != self._description
        if new:
            self._description = description
            self._bar.reset(self._task)
        self._bar.update(
            self._task, description=description, completed=done, total=total, status=status
        )
        if self._in_notebook:
            self._in_notebook.show(self._bar, at_once=new)
        if self._in_log and time.monotonic() - self._logged >= _LOG_SECONDS:
            self._logged = time.monotonic()
            line = f"{description}  {status}"
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class TrainingReport:
    """Context manager that shows how far a training is, and a line after each epoch.

    Args:
      console: where to show it.
      epochs: how many there are.
      of_lines: where to print the lines, if elsewhere.
    """

    def __init__(self, console: Console, epochs: int, of_lines: Console | None = None):
        self._console = of_lines or console
        self._epochs = epochs
        self._epoch = ""  # The current one; none before the first and after the last.
        self._bar = Bar(console, "compiling")

    def __enter__(self) -> "TrainingReport":
        self._bar.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.__exit__(*exception)

    def step(self, progress: Progress) -> None:
        """Show a step."""
        self._epoch = f"epoch {progress.epoch}/{self._epochs}"
        last = progress.step == progress.steps
        self._bar.show(
            f"{self._epoch}, evaluating" if last else self._epoch,
            progress.step,
            progress.steps,
            f"step {progress.step}/{progress.steps}  loss {progress.loss:.4f}  "
            f"accuracy {progress.accuracy:.2%}  {progress.step_ms:.1f} ms/step",
        )

    def evaluated(self, done: int, batches: int) -> None:
        """Show that so many batches of an evaluation are done."""
        where = f"{self._epoch}, evaluating" if self._epoch else "testing"
        self._bar.show(where, done, batches, f"batch {done}/{batches}")

    def epoch(self, record: EpochRecord) -> None:
        """Print the metrics of an epoch."""
        self._epoch = ""
        skipped = record.skipped_steps
        self._console.print(
            f"epoch {record.epoch}/{self._epochs}  {record.seconds:.1f} s  "
            f"{record.step_ms_median:.1f} ms/step  "
            f"train loss {record.train_loss:.4f} accuracy {record.train_accuracy:.2%}"
            + (
                f"  {record.eval_split} loss {record.eval_loss:.4f} "
                f"accuracy {record.eval_accuracy:.2%}"
                if record.eval_split
                else ""
            )
            + (
                f" {_MONITORED[record.monitor].format(record.monitored)}"
                if record.monitor in _MONITORED
                else ""
            )
            + (f"  {skipped} steps skipped, not finite" if skipped else ""),
            highlight=False,
            soft_wrap=True,
        )


class NotebookDisplay:
    """Updatable output in a notebook cell.

    Rich's own live display needs ipywidgets and shows nothing without it.
    """

    def __init__(self) -> None:
        self._handle: Any = None
        self._changed = 0.0

    def show(self, content: Any, at_once: bool = True) -> None:
        """Show `content` (None clears), at most every `_NOTEBOOK_SECONDS` unless `at_once`."""
        from IPython.display import HTML, display

        now = time.monotonic()
        if not at_once and now - self._changed < _NOTEBOOK_SECONDS:
            return
        content = HTML("") if content is None else content
        self._changed = now
        if self._handle is None:
            self._handle = display(content, display_id=True)
        else:
            self._handle.update(content)


# Of more classes a table would be longer than a screen.
_MAX_TABLE_CLASSES = 20
_MAX_CONSOLE_MATRIX = 8


def score_tables(scores: Scores) -> list[Table]:
    """The classes' scores, and the confusion matrix if it is small.

    Of many classes only those with the lowest F1 are shown.
    """
    names = sorted(scores.per_class, key=lambda name: scores.per_class[name]["f1"])
    many = len(names) > _MAX_TABLE_CLASSES
    shown = names[:_MAX_TABLE_CLASSES] if many else scores.classes
    several = bool(scores.thresholds)
    one = "label" if several else "class"
    all_names = "labels" if several else "classes"
    title = f"the {len(shown)} lowest of {len(names):,} {all_names}" if many else all_names
    by_class = Table(title=title, title_justify="left")
    by_class.add_column(one)
    for column in ("precision", "recall", "F1", "count", *(["threshold"] if several else [])):
        by_class.add_column(column, justify="right")
    for name in shown:
        of_class = scores.per_class[name]
        numbers = (f"{of_class[column]:.2%}" for column in ("precision", "recall", "f1"))
        threshold = [f"{scores.thresholds[name]:.4f}"] if several else []
        by_class.add_row(escape(short(name)), *numbers, f"{of_class['count']:,}", *threshold)
    if several or len(scores.classes) > _MAX_CONSOLE_MATRIX:
        return [by_class]
    matrix = Table(title="confusion matrix", title_justify="left")
    matrix.add_column("class \\ predicted")
    for name in scores.classes:
        matrix.add_column(escape(short(name)), justify="right")
    for name, row in zip(scores.classes, scores.confusion_matrix, strict=True):
        matrix.add_row(escape(short(name)), *(f"{count:,}" for count in row))
    return [by_class, matrix]


def score_line(scores: Scores) -> str:
    """The scores over all classes, on one line."""
    parts = [f"macro F1 {scores.macro_f1:.2%}"]
    if scores.micro_f1 is not None:
        parts = [f"micro F1 {scores.micro_f1:.2%}", *parts]
    if scores.roc_auc is not None and scores.average_precision is not None:
        parts += [
            f"ROC AUC {scores.roc_auc:.4f}",
            f"average precision {scores.average_precision:.4f}",
        ]
    line = ", ".join([*parts, f"expected calibration error {scores.calibration_error:.4f}"])
    strict = "; accuracy is the share of the texts with all labels right"
    return line if scores.micro_f1 is None else line + strict


def _unlike_defaults(config: ExperimentConfig) -> str:
    """The settings that differ from the defaults."""
    defaults = settings(ExperimentConfig(recipe=config.recipe))
    return ", ".join(
        f"{name} {value}" for name, value in settings(config).items() if value != defaults[name]
    )


def _classes(info: DatasetInfo) -> str:
    names = info.classes
    kind = "labels, of which a text has any number" if info.multi_label else "classes"
    if len(names) == 2 and not info.multi_label:
        first, second = map(short, names)
        return f"2 classes: {first}, {second}; a probability is that of {second}"
    if len(names) == 1:
        return f"1 label, which a text has or not: {short(names[0])}"
    shown = ", ".join(map(short, names[:10])) + (", ..." if len(names) > 10 else "")
    return f"{len(names):,} {kind}: {shown}"


def short(name: str) -> str:
    """A class's name, cut to fit a column."""
    return name if len(name) <= 24 else f"{name[:21]}..."
