"""Pictures: curves over the epochs, confusion matrix, reliability."""

import io
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from flax_imdb.report.console import short
from flax_imdb.scores import MAX_MATRIX_CLASSES, Scores
from flax_imdb.training import EpochRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_curves(history: Sequence[EpochRecord], title: str) -> bytes:
    """Plot loss and accuracy over the epochs as a PNG, independently of the user's matplotlibrc.

    Raises:
      Exception: of any class, as broken installations of matplotlib fail in many ways.
    """
    return as_png(lambda figure: _plot_curves(figure, history), title, height=3.6)


def draw_scores(scores: Scores, title: str) -> bytes:
    """Plot the confusion matrix and the reliability diagram as a PNG, as `draw_curves` does.

    Where a text may have several labels, the F1 of each takes the place of the matrix.

    Raises:
      Exception: of any class.
    """
    return as_png(lambda figure: _plot_scores(figure, scores), title, height=4.4)


def as_png(plot: Callable[["Figure"], None], title: str, height: float) -> bytes:
    """A picture as a PNG, the same whatever the user's matplotlibrc says.

    Args:
      plot: fills the figure.
      title: above it.
      height: in inches; it is 9 wide.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    png = io.BytesIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        # Of letters of a class's name that the font lacks: boxes stand for them.
        warnings.filterwarnings("ignore", message="Glyph")
        matplotlib.rcdefaults()
        figure = Figure(figsize=(9, height), layout="constrained")
        canvas = FigureCanvasAgg(figure)
        figure.suptitle(title, fontsize="medium", parse_math=False)
        plot(figure)
        canvas.print_figure(png, format="png", dpi=150)
    return png.getvalue()


def _plot_curves(figure: "Figure", history: Sequence[EpochRecord]) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    epochs = [record.epoch for record in history]
    split = history[-1].eval_split
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


def _plot_scores(figure: "Figure", scores: Scores) -> None:
    left, right = figure.subplots(1, 2)
    (_plot_f1 if scores.thresholds else _plot_matrix)(left, scores)
    _plot_reliability(right, scores)


def _plot_f1(axes: "Axes", scores: Scores) -> None:
    """The F1 of each of several labels, or of those with the lowest."""
    from matplotlib.ticker import PercentFormatter

    lowest = sorted(scores.classes, key=lambda name: scores.per_class[name]["f1"])
    shown = set(lowest[:MAX_MATRIX_CLASSES])
    names = [name for name in scores.classes if name in shown]
    axes.barh(range(len(names)), [scores.per_class[name]["f1"] for name in names])
    fontsize = max(4.0, 10 - len(names) / 5)
    axes.set_yticks(range(len(names)), map(short, names), fontsize=fontsize, parse_math=False)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="F1")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    of_all = len(scores.classes)
    axes.set_title(
        "F1 of each label" if len(names) == of_all else f"the {len(names)} lowest of {of_all:,}",
        fontsize="medium",
    )


def _plot_matrix(matrix_axes: "Axes", scores: Scores) -> None:
    counts = np.array(scores.confusion_matrix)
    names = [short(name) for name in scores.confusion_classes]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    matrix_axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    fontsize = max(4.0, 10 - len(names) / 5)
    for axis, label in ((matrix_axes.xaxis, "predicted"), (matrix_axes.yaxis, "class")):
        axis.set_label_text(label)
        axis.set_ticks(range(len(names)), names, fontsize=fontsize, parse_math=False)
    if len(names) > 4:
        matrix_axes.tick_params(axis="x", rotation=90)
    if len(names) <= 15:
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if shares[row, column] > 0.5 else "black"
            matrix_axes.text(
                column, row, f"{count:,}", color=color, ha="center", va="center", fontsize=fontsize
            )
    of_all = len(scores.classes)
    matrix_axes.set_title(
        "confusion matrix"
        + (f" of the {len(names)} most frequent of {of_all:,} classes" * (len(names) < of_all)),
        fontsize="medium",
    )


def _plot_reliability(reliability_axes: "Axes", scores: Scores) -> None:
    from matplotlib.ticker import PercentFormatter

    confidence, accuracy, examples = np.array(scores.reliability).T
    reliability_axes.plot([0, 1], [0, 1], color="gray", linestyle="--", label="calibrated")
    reliability_axes.plot(confidence, accuracy, "o-", label="model")
    share_axes = reliability_axes.twinx()
    share_axes.bar(confidence, examples / examples.sum(), width=0.03, alpha=0.2, color="gray")
    share_axes.set(ylim=(0, 1), ylabel="share of examples (bars)")
    of_what = ("the predicted class", "accuracy")
    if scores.thresholds:
        of_what = ("a label", "share of texts that have it")
    reliability_axes.set(
        xlim=(0, 1), ylim=(0, 1), xlabel=f"probability of {of_what[0]}", ylabel=of_what[1]
    )
    reliability_axes.set_title(
        f"reliability: calibration error {scores.calibration_error:.3f}", fontsize="medium"
    )
    for axis in (reliability_axes.yaxis, share_axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    reliability_axes.legend(loc="upper left")
