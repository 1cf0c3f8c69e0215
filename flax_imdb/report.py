"""Console output and curves: parameter table, progress bar, metrics of epochs, result."""

import contextlib
import io
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
from flax.traverse_util import flatten_dict
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from flax_imdb.config import ExperimentConfig
from flax_imdb.data import Dataset
from flax_imdb.distributed import is_main
from flax_imdb.errors import warn
from flax_imdb.results import Result, Summary
from flax_imdb.training import EpochRecord, Progress, TrainState
from flax_imdb.training.checkpoints import Restored
from flax_imdb.workdir import Workdir

# Minimum time between updates of a notebook's output.
_NOTEBOOK_SECONDS = 0.25


def count_parameters(params: Mapping[str, Any]) -> int:
    """Total number of scalars in a tree of parameters."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def parameter_table(params: Mapping[str, Any], title: str) -> Table:
    """A table of all parameters (path, shape, dtype, number of scalars) and their total."""
    table = Table(title=title, title_justify="left", show_footer=True)
    table.add_column("parameter", "total")
    table.add_column("shape", justify="right")
    table.add_column("dtype")
    table.add_column("scalars", f"{count_parameters(params):,}", justify="right")
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
    """The console output of a run. With several processes, only process 0 prints."""

    def __init__(self, console: Console):
        self._console = console
        self._bar: TrainingReport | None = None

    def say(self, line: str) -> None:
        """Print a line without markup or wrapping."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

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
        self.say(
            f"{len(dataset.train):,} reviews to train on, {len(dataset.validation):,} to validate, "
            f"{len(dataset.test):,} to test ({dataset.name}); {len(devices)} x "
            f"{devices[0].device_kind}; {workdir.path}"
        )

    def resumed(self, restored: Restored) -> None:
        """Print where the run resumes; warn of refused checkpoints and of another environment."""
        if is_main():
            for line in (*restored.refused, *filter(None, [restored.elsewhere])):
                warn(line)
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
    def epochs(self, count: int) -> Iterator[None]:
        """Context manager that shows a progress bar; call `step` and `epoch` inside."""
        with TrainingReport(self._console, count) as self._bar:
            yield

    def step(self, progress: Progress) -> None:
        """Update the progress bar."""
        assert self._bar is not None
        self._bar.step(progress)

    def epoch(self, record: EpochRecord) -> None:
        """Print the metrics of an epoch."""
        assert self._bar is not None
        self._bar.epoch(record)

    def result(self, result: Result | Summary) -> None:
        """Print the test accuracy."""
        self.note(result.note)
        if isinstance(result, Summary):
            self.say(
                f"{result.runs} runs: "
                + ", ".join(f"{accuracy:.2%}" for accuracy in result.test_accuracies)
                + f"; standard deviation {100 * result.test_accuracy_std:.2f} points; mean:"
            )
        self._console.print(f"Accuracy: {result.test_accuracy:.2%}", highlight=False)


class TrainingReport:
    """Context manager that shows a progress bar, and a line after each epoch.

    There is no bar if the console is neither a terminal nor a notebook.
    """

    def __init__(self, console: Console, epochs: int):
        self._console = console
        self._epochs = epochs
        self._epoch = 0
        self._bar = ProgressBar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("compiling", total=None, status="")
        self._in_notebook = NotebookDisplay() if console.is_jupyter and not console.quiet else None

    def __enter__(self) -> "TrainingReport":
        self._bar.start()
        self._show()
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(OSError):  # The terminal may be closed (SIGHUP).
            self._bar.stop()
        if self._in_notebook:
            self._in_notebook.show(None)

    def step(self, progress: Progress) -> None:
        """Update the progress bar."""
        if progress.epoch != self._epoch:
            self._epoch = progress.epoch
            self._bar.reset(self._task)
        description = f"epoch {progress.epoch}/{self._epochs}"
        if progress.step == progress.steps:
            description += ", evaluating"
        self._bar.update(
            self._task,
            description=description,
            completed=progress.step,
            total=progress.steps,
            status=(
                f"{progress.step}/{progress.steps}  loss {progress.loss:.4f}  "
                f"accuracy {progress.accuracy:.2%}  {progress.step_ms:.1f} ms/step"
            ),
        )
        self._show(at_once=progress.step == progress.steps)

    def _show(self, at_once: bool = True) -> None:
        if self._in_notebook:
            self._in_notebook.show(self._bar, at_once)

    def epoch(self, record: EpochRecord) -> None:
        """Print the metrics of an epoch."""
        skipped = record.skipped_steps
        self._console.print(
            f"epoch {record.epoch}/{self._epochs}  {record.seconds:.1f} s  "
            f"{record.step_ms_median:.1f} ms/step  "
            f"train loss {record.train_loss:.4f} accuracy {record.train_accuracy:.2%}  "
            f"{record.eval_split} loss {record.eval_loss:.4f} "
            f"accuracy {record.eval_accuracy:.2%}"
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


def draw_curves(history: list[EpochRecord], title: str) -> bytes:
    """Plot loss and accuracy over the epochs as a PNG, independently of the user's matplotlibrc.

    Raises:
      Exception: of any class, as broken installations of matplotlib fail in many ways.
    """
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        return _draw_curves(history, title)


def _draw_curves(history: list[EpochRecord], title: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    epochs = [record.epoch for record in history]
    split = history[-1].eval_split
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize="medium")
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    for axes, quantity in ((loss_axes, "loss"), (accuracy_axes, "accuracy")):
        train = [getattr(record, f"train_{quantity}") for record in history]
        evaluated = [getattr(record, f"eval_{quantity}") for record in history]
        axes.plot(epochs, train, "o-", label="train")
        axes.plot(epochs, evaluated, "s-", label=split)
        axes.set(xlabel="epoch", ylabel=quantity)
        axes.set_xlim(0.5, len(epochs) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    loss_axes.set_ylabel("cross-entropy (nats)")
    accuracy_axes.yaxis.set_major_formatter(PercentFormatter(1))
    png = io.BytesIO()
    canvas.print_figure(png, format="png", dpi=150)
    return png.getvalue()
