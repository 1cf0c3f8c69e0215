"""Charts of `flax_imdb.report.html`: where lines, marks and ticks are. Its template draws them."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

# In the units of the drawing. On a telephone they are a little less than a pixel.
WIDTH, HEIGHT = 360, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 14, 10, 38

# More than a screen has columns for: of longer lines the extremes are drawn.
_MAX_POINTS = 2000

# What is smoothed: so many steps at least, and at most so many pieces.
_STEPS, _MAX_PIECES = 10, 60


class Line(NamedTuple):
    """A line of a chart, or marks without a line.

    Attributes:
      label: for the legend.
      look: classes of the template's style sheet.
      x: positions.
      y: values; None leaves a gap.
      mark: at each point: ``"circle"``, ``"square"`` or none.
      errors: the low and the high end of each value's interval, if it has one.
    """

    label: str
    look: str
    x: Sequence[float]
    y: Sequence[float | None]
    mark: str = ""
    errors: Sequence[tuple[float, float]] = ()


@dataclasses.dataclass(frozen=True)
class Chart:
    """Lines in a coordinate system.

    Attributes:
      title: what it shows.
      x_label: what is along the x axis.
      y_label: what is along the y axis.
      lines: what is drawn.
      x_range: ends of the x axis.
      y_range: ends of the y axis.
      percent: values of the y axis are shares.
      x_names: names of the positions 0, 1, ...; None: they are numbers.
      x_percent: values of the x axis are shares.
      borders: positions of vertical lines, such as the ends of epochs.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    percent: bool = False
    x_names: Sequence[str] | None = None
    x_percent: bool = False
    borders: Sequence[float] = ()

    width = WIDTH
    height = HEIGHT
    left = _LEFT
    top = _TOP
    right = WIDTH - _RIGHT
    bottom = HEIGHT - _BOTTOM

    def at_x(self, value: float) -> float:
        """Where a value is along the x axis."""
        return _scaled(value, self.x_range, self.left, self.right)

    def at_y(self, value: float) -> float:
        """Where a value is along the y axis."""
        return _scaled(value, self.y_range, self.bottom, self.top)

    def x_ticks(self) -> list[tuple[float, str]]:
        """Where the ticks of the x axis are, and their labels."""
        if self.x_names is not None:
            return [(self.at_x(number), name) for number, name in enumerate(self.x_names)]
        return [(self.at_x(tick), _label(tick, self.x_percent)) for tick in ticks(*self.x_range)]

    def y_ticks(self) -> list[tuple[float, str]]:
        """Where the ticks of the y axis are, and their labels."""
        return [(self.at_y(tick), _label(tick, self.percent)) for tick in ticks(*self.y_range)]

    def path(self, line: Line) -> str:
        """The line as the data of an SVG path."""
        drawn, pen = [], "M"
        for x, y in _thinned(line):
            if y is None:
                pen = "M"
            else:
                drawn.append(f"{pen}{self.at_x(x):.1f} {self.at_y(y):.1f}")
                pen = "L"
        return "".join(drawn)

    def points(self, line: Line) -> list[tuple[float, float]]:
        """Where the marks are."""
        known = ((x, y) for x, y in zip(line.x, line.y, strict=True) if y is not None)
        return [(self.at_x(x), self.at_y(y)) for x, y in known]

    def error_bars(self, line: Line) -> list[tuple[float, float, float]]:
        """Where the intervals are: x, and both ends of y."""
        pairs = zip(line.x, line.errors, strict=False)
        return [(self.at_x(x), self.at_y(low), self.at_y(high)) for x, (low, high) in pairs]


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, at most so many."""
    raw = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(step for n in (1, 2, 2.5, 5, 10) if (step := n * power) >= raw)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def smoothed(x: Sequence[float], y: Sequence[float | None]) -> tuple[list[float], list[float]]:
    """A line through the means of its pieces; unknown values are left out."""
    known = [pair for pair in zip(x, y, strict=True) if pair[1] is not None]
    if not known:
        return [], []
    pieces = min(max(len(known) // _STEPS, 1), _MAX_PIECES)
    parts = np.array_split(np.array(known), pieces)
    middles, means = np.array([part.mean(axis=0) for part in parts]).T
    return middles.tolist(), means.tolist()


def _thinned(line: Line) -> Iterator[tuple[float, float | None]]:
    """The points of a line; of a long one the lowest and the highest of each piece."""
    pairs = list(zip(line.x, line.y, strict=True))
    size = math.ceil(2 * len(pairs) / _MAX_POINTS)
    if len(pairs) <= _MAX_POINTS:
        yield from pairs
        return
    for start in range(0, len(pairs), size):
        known = [(y, x) for x, y in pairs[start : start + size] if y is not None]
        if known:
            yield from sorted((x, y) for y, x in {min(known), max(known)})


def _scaled(value: float, ends: tuple[float, float], start: float, end: float) -> float:
    return start + (value - ends[0]) / (ends[1] - ends[0]) * (end - start)


def _label(tick: float, percent: bool) -> str:
    return f"{100 * tick:g}%" if percent else f"{tick:,.10g}"
