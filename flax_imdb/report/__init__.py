"""What a run shows: the console's output, pictures and a page."""

from flax_imdb.report.console import ProgramConsole, Report, TrainingReport
from flax_imdb.report.pictures import draw_curves, draw_scores
from flax_imdb.report.run_page import Predicted, Run, names_of, read_run, render

__all__ = [
    "Predicted",
    "ProgramConsole",
    "Report",
    "Run",
    "TrainingReport",
    "draw_curves",
    "draw_scores",
    "names_of",
    "read_run",
    "render",
]
