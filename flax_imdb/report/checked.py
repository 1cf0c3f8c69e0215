"""What ``flax-imdb check`` shows: lines for the console, and a picture."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from flax_imdb.check import KINDS, Checked, Shortcut
from flax_imdb.check.texts import of_class, sizes_of
from flax_imdb.data.sources import listed, shown
from flax_imdb.report.console import short
from flax_imdb.report.pictures import as_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of each kind so many are shown.
_EXAMPLES = 5
_CHARACTERS = 60
_CLASSES = _SHORTCUTS = 10

_VERDICTS = {
    "yes": "more rows would help",
    "hardly": "more rows would hardly help a model of word counts",
    "unclear": "too few rows to say whether more would help",
}


def show_checked(checked: Checked, console: Console) -> None:
    """Print what was found."""
    for line in _lines(checked):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _lines(checked: Checked) -> Iterator[str]:
    texts, summary = checked.texts, checked.summary()
    if texts.source.note:
        yield texts.source.note
    yield from texts.source.remarks
    yield (
        f"{texts.source.name}: {summary['rows']:,} rows, {summary['train']:,} to train on and "
        f"{summary['test']:,} to test on"
    )
    yield _classes(summary["classes"])
    words = summary["words"]
    yield (
        f"words of a text: {words['least']:,.0f} to {words['most']:,.0f}, median "
        f"{words['median']:,.0f}, 95 % have at most {words['95 %']:,.0f}; "
        f"{summary['different_words']:,} different"
    )
    for name, what in (("without_words", "no words"), ("without_label", "no label")):
        if summary[name]:
            yield f"rows with {what}: {summary[name]:,}"
    broken = summary["broken_characters"]
    if broken["rows"]:
        most = sorted(broken["rows_by_character"].items(), key=lambda each: -each[1])
        names = listed([f"{name} ({count:,})" for name, count in most], 3)
        yield f"lost or broken characters in {broken['rows']:,} rows: {names}"
    near = summary["near_duplicates"]
    also = "" if near is None else f", and {near:,} nearly the same words"
    yield f"rows with the same words as an earlier one: {summary['duplicates']:,}{also}"
    yield from _labels(checked)
    for shortcut in checked.shortcuts[:_SHORTCUTS]:
        yield _shortcut(shortcut, texts.where(shortcut.example))
    if (more := len(checked.shortcuts) - _SHORTCUTS) > 0:
        yield f"  and {more:,} more shortcuts"
    yield from _curve(checked)
    yield from checked.notes
    yield from _findings(checked)


def _classes(sizes: dict[str, int]) -> str:
    frequent = sorted(sizes.items(), key=lambda each: -each[1])
    names = listed([f"{short(name)} {size:,}" for name, size in frequent], _CLASSES)
    return f"{len(sizes):,} {'class' if len(sizes) == 1 else 'classes'}: {names}"


def _labels(checked: Checked) -> Iterator[str]:
    labels = checked.labels
    if (wrong := labels.wrong) is not None:
        rows, probable = len(labels.chosen), int(np.count_nonzero(wrong.is_probable))
        # Of several labels each is one of the numbers that are estimated.
        total = round(float(np.sum(wrong.joint)))
        several = checked.texts.examples.labels.ndim == 2
        yield (
            f"labels: {'those of ' if several else ''}{probable:,} of {rows:,}"
            f"{' rows' if several else ''} are probably wrong; by an estimate about "
            f"{wrong.estimated:,.0f}{f' of {total:,} single labels' if several else ''} are "
            f"({wrong.estimated / total:.1%})"
        )
    if labels.few:
        names = listed([*map(short, labels.few)], 5)
        yield f"classes with too few rows for their labels to be looked at: {names}"


def _shortcut(shortcut: Shortcut, where: str) -> str:
    label = short(shortcut.label)
    if shortcut.mark.endswith(" words"):
        return (
            f"shortcut: {label} has {shortcut.mark}, {shortcut.in_class:,.0f} in the median and "
            f"{shortcut.elsewhere:,.0f} elsewhere, which tells {shortcut.strength:.0%} of pairs"
        )
    return (
        f"shortcut: {label}: {shortcut.mark}: {shortcut.in_class:.1%} of its rows, and "
        f"{shortcut.elsewhere:.1%} of the others, such as {where}"
    )


def _curve(checked: Checked) -> Iterator[str]:
    if (curve := checked.labels.curve) is None:
        return
    pairs = zip(curve.sizes, curve.accuracies, strict=True)
    accuracies = ", ".join(f"{size:,} rows {accuracy:.1%}" for size, accuracy in pairs)
    yield (
        f"accuracy of word counts: {accuracies}; the last doubling added "
        f"{100 * curve.gain:.1f} ± {100 * curve.error:.1f} points: {_VERDICTS[curve.verdict]}"
    )


def _findings(checked: Checked) -> Iterator[str]:
    texts = checked.texts
    for kind, number in checked.counts.items():
        if not number:
            continue
        yield f"{kind} ({KINDS[kind]}): {number:,}"
        of_kind = (finding for finding in checked.findings if finding.kind == kind)
        for finding, _ in zip(of_kind, range(_EXAMPLES), strict=False):
            label, excerpt = short(texts.label(finding.text)), texts.excerpts[finding.text]
            yield (
                f"  {texts.where(finding.text)}: {label or 'no label'}; {finding.why}: "
                f"{shown(excerpt, _CHARACTERS)}"
            )
        if number > _EXAMPLES:
            yield f"  and {number - _EXAMPLES:,} more"
    if not checked.findings:
        yield "nothing is doubtful"


def draw_checked(checked: Checked) -> bytes:
    """Draw the classes, the lengths, the doubts and the learning curve as a PNG.

    Raises:
      Exception: of any class, as of `draw_curves`.
    """
    return as_png(lambda figure: _plot(figure, checked), checked.texts.source.name, height=7)


def _plot(figure: "Figure", checked: Checked) -> None:
    (classes, lengths), (doubts, curve) = figure.subplots(2, 2)
    _plot_classes(classes, checked)
    _plot_lengths(lengths, checked)
    _plot_doubts(doubts, checked)
    _plot_curve(curve, checked)


def _largest(checked: Checked) -> np.ndarray:
    """The most frequent classes."""
    sizes = sizes_of(checked.texts.examples.labels, len(checked.texts.classes))
    return np.argsort(-sizes, kind="stable")[:_CLASSES]


def _plot_classes(axes: "Axes", checked: Checked) -> None:
    texts, numbers = checked.texts, _largest(checked)
    labels = texts.examples.labels
    for in_test, name in ((False, "train"), (True, "test")):
        of_split = texts.in_test == in_test
        sizes = [np.count_nonzero(of_class(labels, each) & of_split) for each in numbers]
        places = np.arange(len(numbers)) + (0.2 if in_test else -0.2)
        axes.barh(places, sizes, height=0.4, label=name)
    names = [short(texts.classes[number]) for number in numbers]
    axes.set_yticks(range(len(numbers)), names, parse_math=False)
    axes.invert_yaxis()
    axes.set(xlabel="rows")
    of_all = len(texts.classes)
    axes.set_title(
        "classes" if len(numbers) == of_all else f"the {len(numbers)} largest of {of_all:,}",
        fontsize="medium",
    )
    axes.legend()


def _plot_lengths(axes: "Axes", checked: Checked) -> None:
    lengths = np.maximum(checked.texts.lengths, 1)
    edges = np.geomspace(lengths.min(), lengths.max() + 1, 40).tolist()
    for number in _largest(checked)[:4].tolist():
        name = short(checked.texts.classes[number])
        its = lengths[of_class(checked.texts.examples.labels, number)]
        weights = np.full(len(its), 1 / max(len(its), 1))
        axes.hist(its, edges, weights=weights, histtype="step", label=name)
    axes.set(xscale="log", xlabel="words", ylabel="share of the class")
    axes.set_title("lengths", fontsize="medium")
    for text in axes.legend().get_texts():
        text.set_parse_math(False)


def _plot_doubts(axes: "Axes", checked: Checked) -> None:
    axes.set_title("doubt in the labels", fontsize="medium")
    if checked.labels.wrong is None:
        axes.text(0.5, 0.5, "not looked at", ha="center")
        return
    doubt, probable = checked.labels.wrong.doubt, checked.labels.wrong.is_probable
    edges = np.linspace(0, 1, 41).tolist()
    axes.hist(
        [doubt[probable & (doubt > 0)], doubt[~probable & (doubt > 0)]],
        edges,
        stacked=True,
        label=["probably wrong", "perhaps wrong"],
    )
    axes.set(xlabel="by how much another label is likelier", ylabel="rows")
    axes.legend()


def _plot_curve(axes: "Axes", checked: Checked) -> None:
    from matplotlib.ticker import PercentFormatter

    axes.set_title("would more rows help?", fontsize="medium")
    if (curve := checked.labels.curve) is None:
        axes.text(0.5, 0.5, "not looked at", ha="center")
        return
    accuracies = np.array(curve.accuracies)
    errors = np.sqrt(accuracies * (1 - accuracies) / curve.tested)
    axes.errorbar(curve.sizes, accuracies, errors, marker="o", capsize=3)
    axes.set(xscale="log", xlabel="rows to train on", ylabel="accuracy of word counts")
    axes.set_xticks(curve.sizes, [f"{size:,}" for size in curve.sizes])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.grid(alpha=0.3)
