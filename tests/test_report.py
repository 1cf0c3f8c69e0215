"""What a person sees of a run."""

import io
import struct
from typing import Any

import matplotlib
import pytest

from flax_imdb.report import ProgramConsole, draw_curves

RECORDS: Any = [
    {
        **{"epoch": epoch, "eval_split": "test", "train_loss": 0.5, "train_accuracy": 0.8},
        **{"eval_loss": 0.6, "eval_accuracy": 0.7},
    }
    for epoch in (1, 2)
]


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
    def test_a_reader_that_has_enough_is_the_callers_business(self) -> None:
        class Closed(io.StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError

        with pytest.raises(BrokenPipeError):
            ProgramConsole(file=Closed()).print("line")
