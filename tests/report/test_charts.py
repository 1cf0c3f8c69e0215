"""Where lines, marks and ticks of a chart are."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flax_imdb.report.charts import Chart, Line, smoothed, ticks


def chart(*lines: Line, **options: object) -> Chart:
    ranges = {"x_range": (0, 10), "y_range": (0, 1), **options}
    return Chart("title", "x", "y", lines, **ranges)  # type: ignore[arg-type]


def drawn(path: str) -> list[tuple[str, float, float]]:
    found = re.findall(r"([ML])([-\d.]+) ([-\d.]+)", path)
    return [(pen, float(x), float(y)) for pen, x, y in found]


class TestChart:
    def test_a_line_goes_from_corner_to_corner(self) -> None:
        of = chart(line := Line("a", "", (0, 10), (0, 1)))
        assert drawn(of.path(line)) == [("M", of.left, of.bottom), ("L", of.right, of.top)]

    def test_a_value_that_is_not_known_is_a_gap(self) -> None:
        of = chart(line := Line("a", "", (0, 1, 2, 3), (0.1, None, 0.3, 0.4), "circle"))
        assert [pen for pen, _, _ in drawn(of.path(line))] == ["M", "M", "L"]
        assert len(of.points(line)) == 3

    def test_a_long_line_keeps_its_highest_and_its_lowest_point(self) -> None:
        values: list[float | None] = [0.5] * 1_000_000
        values[123_456], values[654_321], values[3] = 1.0, 0.0, None
        of = chart(line := Line("a", "", range(len(values)), values), x_range=(0, 1e6))
        points = drawn(of.path(line))
        assert 1000 < len(points) <= 2000
        assert min(y for _, _, y in points) == of.top
        assert max(y for _, _, y in points) == of.bottom
        assert [x for _, x, _ in points] == sorted(x for _, x, _ in points)

    def test_shares_are_shown_in_percent(self) -> None:
        labels = [label for _, label in chart(percent=True).y_ticks()]
        assert labels == ["0%", "20%", "40%", "60%", "80%", "100%"]


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-4, 1e6))
def test_ticks_are_few_and_in_even_steps(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert 2 <= len(found) <= 7
    slack = 1e-6 * (abs(low) + span)
    assert low - slack <= found[0] < found[-1] <= low + span + slack
    steps = [b - a for a, b in itertools.pairwise(found)]
    assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-3)


class TestSmoothed:
    def test_is_the_mean_of_pieces(self) -> None:
        x, y = smoothed(range(20), [0.0] * 10 + [1.0] * 10)
        assert (x, y) == ([4.5, 14.5], [0.0, 1.0])

    def test_leaves_out_what_is_not_known(self) -> None:
        assert smoothed([1, 2, 3], [None, 4.0, None]) == ([2.0], [4.0])
        assert smoothed([1, 2], [None, None]) == ([], [])
