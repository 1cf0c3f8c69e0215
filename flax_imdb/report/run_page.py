"""``report.html``: one or several runs on a page that needs nothing but a browser.

The page is ``report.html.jinja``; here are the numbers and texts in it.
"""

import dataclasses
import itertools
import os
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flax_imdb import pages
from flax_imdb.config import ExperimentConfig, settings
from flax_imdb.data import DataConfig, DatasetInfo, Examples, read_again
from flax_imdb.data.sources import IMPORTED
from flax_imdb.errors import InputError, as_flags
from flax_imdb.report.charts import Chart, Line, smoothed
from flax_imdb.results import Result
from flax_imdb.scores import confidences
from flax_imdb.training import EpochRecord, Evaluation, StepRecord
from flax_imdb.workdir import Workdir

MAX_MISTAKES = 20
_MAX_TEXT = 4000  # Characters of a mistake that are shown.
_MAX_CLASSES = 50
_LENGTHS = 6  # Groups of texts by length.
_LOOKS = 6  # Lines that differ in dashes, marks and colour.


class Predicted(NamedTuple):
    """A test split, and what a model predicted for it.

    Attributes:
      examples: the test split.
      evaluation: of these examples.
    """

    examples: Examples
    evaluation: Evaluation


class Mistake(NamedTuple):
    """A text that was predicted wrongly.

    Attributes:
      number: index of the text in the whole test split.
      label: its class; or all of several labels.
      predicted: the class that was predicted, or the labels.
      confidence: the probability of the predicted class; of several labels see `_certainty`.
      text: the text, or its end if it is long.
      left_out: characters before that end.
    """

    number: int
    label: str
    predicted: str
    confidence: float
    text: str
    left_out: int


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run, as a report shows it.

    Attributes:
      name: what to call it.
      config: its configuration.
      info: of its dataset.
      result: its result.
      epochs: its epochs.
      steps: its steps; empty if an older version made it.
      predicted: None if the predictions for the test split are not known.
      mistakes: the most certain ones; None if they are not shown.
      missing: what is not shown, and why; empty if all is.
    """

    name: str
    config: ExperimentConfig
    info: DatasetInfo
    result: Result
    epochs: Sequence[EpochRecord]
    steps: Sequence[StepRecord]
    predicted: Predicted | None = None
    mistakes: Sequence[Mistake] | None = None
    missing: str = ""


def read_run(
    workdir: Workdir,
    predicted: Predicted | InputError,
    *,
    name: str | None = None,
    texts: bool = True,
    data_dir: str | None = None,
) -> Run:
    """Read what a report shows of a finished run.

    Args:
      workdir: its directory.
      predicted: what its model predicts; an error says why that is not known.
      name: what to call it; None: as its directory.
      texts: show the texts of mistakes.
      data_dir: directory of the reviews, if they have moved since training.

    Raises:
      InputError: there is no finished run, or its files are damaged.
    """
    config, info, result = workdir.config(), workdir.dataset_info(), workdir.result()
    epochs = workdir.records()
    if info is not None and info.name == IMPORTED:
        raise InputError(
            f"`workdir` {workdir.path} holds a model that was trained elsewhere: there is no run "
            "to report on"
        )
    if config is None or info is None or result is None or not epochs:
        raise InputError(
            f"`workdir` {workdir.path} holds no finished run: `resume` it, or name another"
        )
    mistakes, missing = None, ""
    if isinstance(predicted, InputError):
        missing = f"Accuracy by length and the most certain mistakes are missing: {predicted}."
    elif not texts:
        missing = "The most certain mistakes were left out."
    elif info.task.features is not None:
        missing = "Mistakes are not shown: these are numeric sequences."
    else:
        data = config.data
        if data_dir is not None:
            data = dataclasses.replace(data, data_dir=data_dir)
        try:
            mistakes = find_mistakes(data, info, predicted)
        except InputError as problem:
            missing = f"The most certain mistakes are missing: {problem}."
    return Run(
        name=name or workdir.path.absolute().name,
        config=config,
        info=info,
        result=result,
        epochs=epochs,
        steps=workdir.steps(),
        predicted=None if isinstance(predicted, InputError) else predicted,
        mistakes=mistakes,
        missing=as_flags(missing),
    )


def find_mistakes(data: DataConfig, info: DatasetInfo, predicted: Predicted) -> list[Mistake]:
    """The most certain mistakes, with their texts, which are read again from where `data` says.

    Raises:
      InputError: the texts are not there any more, or are others.
    """
    examples, evaluation = predicted
    if info.multi_label:
        confidence = _certainty(evaluation, examples.labels)
    else:
        confidence = confidences(evaluation, len(info.classes))
    wrong = np.flatnonzero(~_is_right(predicted))
    most_certain = wrong[np.argsort(-confidence[wrong], kind="stable")][:MAX_MISTAKES]
    numbers = examples.ids[most_certain].tolist()
    texts = read_again(data, info, numbers) if numbers else []
    return [
        Mistake(
            number=number,
            label=_named(examples.labels[i], info.classes),
            predicted=_named(evaluation.predicted[i], info.classes),
            confidence=float(confidence[i]),
            text=text[-_MAX_TEXT:],
            left_out=max(len(text) - _MAX_TEXT, 0),
        )
        for i, number, text in zip(most_certain, numbers, texts, strict=True)
    ]


def _is_right(predicted: Predicted) -> np.ndarray:
    """Which texts were predicted rightly, bool [examples]."""
    right = predicted.evaluation.predicted == predicted.examples.labels
    return np.all(right, axis=tuple(range(1, right.ndim)))


def _certainty(evaluation: Evaluation, labels: np.ndarray) -> np.ndarray:
    """The greatest probability of a wrong decision on a label, float32 [examples]."""
    probability = evaluation.probability
    of_decision = np.where(evaluation.predicted == 1, probability, 1 - probability)
    greatest: np.ndarray = np.max(
        of_decision, axis=1, initial=0, where=evaluation.predicted != labels
    )
    return greatest


def _named(label: np.ndarray, classes: Sequence[str]) -> str:
    """The name of a class; or of all labels that a text has."""
    if label.ndim == 0:
        return classes[int(label)]
    return ", ".join(itertools.compress(classes, label)) or "no label"


def render(runs: Sequence[Run]) -> str:
    """The page, as HTML.

    Args:
      runs: one run, or several to compare.
    """
    one = runs[0].result if len(runs) == 1 else None
    subject = f"{one.arch} on {one.dataset}" if one else f"Comparison of {len(runs)} runs"
    return pages.self_contained(
        Path(__file__).parent,
        "report.html.jinja",
        styles=["report.css"],
        scripts=["report.js"],
        title=f"{subject}: {one.test_accuracy:.2%}" if one else subject,
        subject=subject,
        runs=runs,
        shown=list(map(_Shown, runs)),
        comparison=None if one else _Comparison(runs),
    )


class _Shown:
    """What the page shows of a run, besides what is in its files."""

    def __init__(self, run: Run):
        self.run = run
        self.steps = "tokens" if run.info.task.features is None else "steps"
        self.result = run.result

    def interval(self) -> tuple[float, float]:
        """That of the accuracy."""
        return _interval(self.result.test_accuracy, self.result.test_examples)

    def charts(self) -> list[Chart]:
        """Loss and accuracy while training."""
        run = self.run
        end = max([step.step for step in run.steps[-1:]] + [run.epochs[-1].step])
        borders = [epoch.step for epoch in run.epochs[:-1]] if len(run.epochs) <= 20 else []
        charts = []
        for quantity, percent in (("loss", False), ("accuracy", True)):
            lines = _training_lines(run, quantity)
            split = run.epochs[-1].eval_split
            if split is not None:
                lines.append(_of_epochs(run, f"eval_{quantity}", split, "evaluation", "square"))
            values = [y for line in lines for y in line.y if y is not None]
            charts.append(
                Chart(
                    title=quantity.capitalize(),
                    x_label="training step",
                    y_label="accuracy" if percent else "cross-entropy (nats)",
                    lines=lines,
                    x_range=(0, end),
                    y_range=_ends(values, percent),
                    percent=percent,
                    borders=borders,
                )
            )
        return charts

    def classes(self) -> list[tuple[str, dict[str, float]]]:
        """The classes' scores; of many, those with the lowest F1."""
        by_class = list(self.result.per_class.items())
        if len(by_class) > _MAX_CLASSES:
            by_class = sorted(by_class, key=lambda item: item[1]["f1"])[:_MAX_CLASSES]
        return by_class

    def confusion(self) -> list[tuple[str, list[tuple[int, int]]]]:
        """The matrix by rows; of each cell the count, and its share of the row in tenths."""
        rows = zip(self.result.confusion_classes, self.result.confusion_matrix, strict=True)
        return [
            (name, [(count, round(10 * count / max(sum(row), 1))) for count in row])
            for name, row in rows
        ]

    def calibration(self) -> Chart:
        """The reliability diagram."""
        several = self.result.thresholds
        confidence, accuracy, _ = zip(*self.result.reliability, strict=True)
        return Chart(
            title="Calibration",
            x_label=f"probability of {'a label' if several else 'the predicted class'}",
            y_label="share of texts that have it" if several else "accuracy",
            lines=[
                Line("calibrated", "ideal", (0, 1), (0, 1)),
                Line("model", "evaluation", confidence, accuracy, "square"),
            ],
            x_range=(0, 1),
            y_range=(0, 1),
            percent=True,
            x_percent=True,
        )

    def lengths(self) -> "list[_Group] | None":
        """The accuracy by length, in groups of about as many texts."""
        if self.run.predicted is None:
            return None
        examples = self.run.predicted.examples
        return list(_by_length(examples.lengths, _is_right(self.run.predicted)))

    def length_chart(self, groups: "Sequence[_Group]") -> Chart:
        """The accuracy of `lengths`."""
        lows = [group.interval[0] for group in groups]
        return Chart(
            title="Accuracy by length",
            x_label=f"length in {self.steps}",
            y_label="accuracy",
            lines=[
                Line(
                    "accuracy, with its 95% interval",
                    "interval",
                    range(len(groups)),
                    [group.accuracy for group in groups],
                    "square",
                    [group.interval for group in groups],
                )
            ],
            x_range=(-0.5, len(groups) - 0.5),
            y_range=_ends(lows, percent=True),
            percent=True,
            x_names=[group.name for group in groups],
        )

    def settings(self) -> list[tuple[str, Any, Any, bool]]:
        """Name, value, default, and whether they differ; first those that do."""
        defaults = settings(ExperimentConfig())
        rows = [
            (name, value, defaults[name], value != defaults[name])
            for name, value in settings(self.run.config).items()
        ]
        return sorted(rows, key=lambda row: not row[3])


def _ends(values: Sequence[float], percent: bool) -> tuple[float, float]:
    """The ends of an axis: up to 100% for shares, and from 0 for a loss."""
    if percent:
        return min(0.1 * int(10 * min(values, default=0)), 0.9), 1.0
    return 0.0, 1.05 * max(values, default=0) or 1.0


class _Group(NamedTuple):
    """Texts of similar length."""

    name: str
    examples: int
    accuracy: float
    interval: tuple[float, float]


def _by_length(lengths: np.ndarray, correct: np.ndarray) -> Iterator[_Group]:
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, _LENGTHS + 1), method="higher"))
    group = np.searchsorted(edges[1:], lengths)
    for number in np.unique(group):
        of_group = lengths[group == number]
        low, high, accuracy = of_group.min(), of_group.max(), correct[group == number].mean()
        yield _Group(
            name=f"{low}" if low == high else f"{low}-{high}",
            examples=len(of_group),
            accuracy=float(accuracy),
            interval=_interval(accuracy, len(of_group)),
        )


def _interval(accuracy: float, examples: int) -> tuple[float, float]:
    """The 95% interval of an accuracy (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(round(accuracy * examples), examples).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _training_lines(run: Run, quantity: str) -> list[Line]:
    """Each step and their running mean, or without steps the mean of each epoch."""
    if not run.steps:
        return [_of_epochs(run, f"train_{quantity}", "training", "mean", "circle")]
    steps = [step.step for step in run.steps]
    values = [getattr(step, quantity) for step in run.steps]
    return [
        Line("each step", "step", steps, values),
        Line("training, smoothed", "mean", *smoothed(steps, values)),
    ]


def _of_epochs(run: Run, name: str, label: str, look: str, mark: str) -> Line:
    steps, values = [epoch.step for epoch in run.epochs], [getattr(e, name) for e in run.epochs]
    return Line(label, look, steps, values, mark)


class _Comparison:
    """What the page shows of several runs together."""

    def __init__(self, runs: Sequence[Run]):
        self._runs = runs
        self.intervals = [_Shown(run).interval() for run in runs]
        # Accuracies on other texts cannot be compared.
        self.same_texts = len({(r.info.fingerprint, r.result.test_examples) for r in runs}) == 1

    def charts(self) -> list[Chart]:
        """The training loss of all runs, and their accuracy after each epoch."""
        losses = [(label, *_loss_by_epoch(run)) for label, run in self._labelled()]
        accuracies = [
            (label, [e.epoch for e in run.epochs], [e.eval_accuracy for e in run.epochs])
            for label, run in self._labelled()
            if run.epochs[-1].eval_split is not None
        ]
        charts = []
        for title, y_label, drawn, percent in (
            ("Training loss, smoothed", "cross-entropy (nats)", losses, False),
            ("Accuracy after each epoch", "accuracy", accuracies, True),
        ):
            values = [y for _, _, ys in drawn for y in ys if y is not None]
            if not values:
                continue
            charts.append(
                Chart(
                    title=title,
                    x_label="epoch",
                    y_label=y_label,
                    lines=[
                        Line(label, f"run{(int(label) - 1) % _LOOKS}", xs, ys, "number")
                        for label, xs, ys in drawn
                    ],
                    x_range=(0, max(run.result.epochs for run in self._runs) * 1.03),
                    y_range=_ends(values, percent),
                    percent=percent,
                )
            )
        return charts

    def _labelled(self) -> list[tuple[str, Run]]:
        return [(str(number), run) for number, run in enumerate(self._runs, start=1)]

    def differing(self) -> list[tuple[str, list[Any]]]:
        """The settings that are not the same in all runs."""
        of_runs = [settings(run.config) for run in self._runs]
        rows = [(name, [values[name] for values in of_runs]) for name in of_runs[0]]
        return [(name, values) for name, values in rows if any(v != values[0] for v in values)]

    def groups(self) -> list[tuple[str, list[int], float, float]]:
        """Runs that differ in the seed alone: what they are, which, mean and deviation."""
        alike: dict[str, list[int]] = {}
        for number, run in enumerate(self._runs):
            alike.setdefault(str(settings(run.config) | {"seed": None}), []).append(number)
        return [
            (
                self._runs[numbers[0]].result.arch,
                [number + 1 for number in numbers],
                statistics.mean(accuracies),
                statistics.stdev(accuracies),
            )
            for numbers in alike.values()
            if len(numbers) > 1
            and (accuracies := [self._runs[number].result.test_accuracy for number in numbers])
        ]


def _loss_by_epoch(run: Run) -> tuple[list[float], list[float]]:
    """The training loss, smoothed, over epochs and their parts."""
    if run.steps:
        steps, losses = smoothed([s.step for s in run.steps], [s.loss for s in run.steps])
    else:
        steps = [float(epoch.step) for epoch in run.epochs]
        losses = [epoch.train_loss for epoch in run.epochs]
    ends = [0, *(epoch.step for epoch in run.epochs)]
    return np.interp(steps, ends, range(len(ends))).tolist(), losses


def names_of(directories: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Short names that tell directories apart: without what all have in common."""
    paths = [os.path.abspath(directory) for directory in directories]
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    return [os.path.relpath(path, common) for path in paths]
