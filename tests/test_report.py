"""What a person sees while a run goes."""

import io
import re
import struct
import sys
import types
from typing import Any

import matplotlib
import pytest
from epochs import epochs
from few_reviews import FewReviews
from rich.console import Console

from flax_imdb.data import encode
from flax_imdb.report import ProgramConsole, Report, TrainingReport, console, draw_curves
from flax_imdb.training import Progress, StepRecord

LAST = StepRecord(1, 1, 0.5, 0.75, 1.0, 12.0)


def steps(*done: int) -> list[Progress]:
    """Where an epoch of 7 steps stands after each of these."""
    return [Progress(1, step, 7, loss=0.5, accuracy=0.75, step_ms=12.0, last=LAST) for step in done]


def shown(progress: list[Progress], **console: Any) -> str:
    output = io.StringIO()
    options = {"file": output, "width": 120, "_environ": {"TERM": "xterm"}, **console}
    with TrainingReport(Console(**options), epochs=3) as training_report:
        for each in progress:
            training_report.step(each)
    return output.getvalue()


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm"}, width=120)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


class TestTerminal:
    def test_shows_that_a_run_compiles_before_its_first_step(self) -> None:
        output = shown([], force_terminal=True)
        assert "compiling" in output
        assert "0/" not in output

    def test_shows_where_an_epoch_stands(self) -> None:
        output = shown(steps(1, 2), force_terminal=True)
        assert "epoch 1/3" in output
        assert "2/7  loss 0.5000  accuracy 75.00%  12.0 ms/step" in output
        assert "evaluating" not in output

    def test_shows_that_a_run_evaluates_after_the_last_step(self) -> None:
        assert "epoch 1/3, evaluating" in shown(steps(6, 7), force_terminal=True)

    def test_shows_how_far_an_evaluation_is(self) -> None:
        output = terminal()
        with TrainingReport(output, epochs=3) as report:
            report.step(*steps(7))
            report.evaluated(2, 5)
        assert re.search("epoch 1/3, evaluating .*batch 2/5", printed(output))
        with TrainingReport(output, epochs=3) as report:
            report.step(*steps(7))
            report.epoch(RECORDS[0])
            report.evaluated(4, 5)
        assert re.search("testing .*batch 4/5", printed(output))

    def test_shows_how_far_the_reading_of_texts_is(self) -> None:
        output = terminal()
        with Report(output).reading() as progress:
            encode(FewReviews(), "unicode", progress)
        assert re.search("writing the test split .*0/4", printed(output))

    def test_that_is_gone_stops_nothing(self) -> None:
        class Gone(io.StringIO):
            gone = False

            def write(self, text: str) -> int:
                if self.gone:
                    raise OSError(5, "Input/output error")
                return super().write(text)

        file = Gone()
        console = Console(file=file, force_terminal=True, _environ={"TERM": "xterm"})
        with TrainingReport(console, epochs=3):
            file.gone = True


class TestLog:
    """A file, or whatever is neither a terminal nor a notebook."""

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
        """A clock that stands still until it is set."""
        clock = types.SimpleNamespace(now=1000.0)
        clock.monotonic = lambda: clock.now
        monkeypatch.setattr(console, "time", clock)
        return clock

    def test_of_a_short_run_is_empty(self, clock: types.SimpleNamespace) -> None:
        assert shown(steps(1, 7)) == ""

    def test_has_a_line_a_minute(self, clock: types.SimpleNamespace) -> None:
        output = io.StringIO()
        with TrainingReport(Console(file=output), epochs=3) as report:
            for step in range(1, 7):  # A step takes 25 seconds.
                clock.now += 25
                report.step(*steps(step))
            clock.now += 60
            report.evaluated(2, 5)
            clock.now += 30
            report.evaluated(3, 5)
        assert output.getvalue().splitlines() == [
            "epoch 1/3  step 3/7  loss 0.5000  accuracy 75.00%  12.0 ms/step",
            "epoch 1/3  step 6/7  loss 0.5000  accuracy 75.00%  12.0 ms/step",
            "epoch 1/3, evaluating  batch 2/5",
        ]

    def test_says_what_is_read(self, clock: types.SimpleNamespace) -> None:
        output = io.StringIO()
        with Report(Console(file=output)).reading() as progress:
            progress("reading the train split", 0, None)
            clock.now += 61
            progress("encoding the train split", 256, 25_000)
        assert output.getvalue() == "encoding the train split  256/25,000\n"


class TestNotebook:
    @pytest.fixture
    def displayed(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """What IPython was given to display, rendered, in order."""
        contents: list[Any] = []

        class Handle:
            def update(self, content: Any) -> None:
                html = getattr(content, "_repr_mimebundle_", lambda _, __: {"text/plain": content})
                contents.append(html([], [])["text/plain"])

        def display(content: Any, *, display_id: bool) -> Handle:
            handle = Handle()
            handle.update(content)
            return handle

        module = types.ModuleType("IPython.display")
        vars(module).update(display=display, HTML=lambda text: text)
        monkeypatch.setitem(sys.modules, "IPython.display", module)
        return contents

    def test_shows_what_a_terminal_does_in_one_place_that_is_emptied_at_the_end(
        self, displayed: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(console, "_NOTEBOOK_SECONDS", 0.0)
        shown(steps(1, 7), force_jupyter=True)
        compiling, first, evaluating, end = displayed
        assert "compiling" in compiling
        assert "1/7  loss 0.5000" in first
        assert "epoch 1/3, evaluating" in evaluating
        assert end == ""

    def test_is_not_flooded(self, displayed: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(console, "_NOTEBOOK_SECONDS", 3600.0)
        shown(steps(1, 2, 3, 7), force_jupyter=True)
        assert len(displayed) == 4  # As it begins, trains, evaluates and ends.

    def test_of_a_quiet_console_shows_nothing(self, displayed: list[Any]) -> None:
        shown(steps(1), force_jupyter=True, quiet=True)
        assert displayed == []


RECORDS = epochs(12, 24)


class TestDrawCurves:
    def test_the_users_matplotlibrc_changes_nothing(self) -> None:
        expected = draw_curves(RECORDS, "title")
        assert struct.unpack(">II", expected[16:24]) == (1350, 540)
        theirs = {
            **{"text.usetex": True, "savefig.format": "pdf", "savefig.bbox": "tight"},
            **{"lines.linewidth": 9, "font.family": ["no such font"], "path.sketch": (1, 9, 9)},
        }
        with matplotlib.rc_context(theirs):
            assert draw_curves(RECORDS, "title") == expected
            assert matplotlib.rcParams["text.usetex"]
            assert matplotlib.rcParams["lines.linewidth"] == 9


class TestProgramConsole:
    def test_a_broken_pipe_is_left_to_the_caller(self) -> None:
        class Closed(io.StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError

        with pytest.raises(BrokenPipeError):
            ProgramConsole(file=Closed()).print("line")
