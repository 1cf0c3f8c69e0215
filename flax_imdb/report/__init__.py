"""What a run shows: the console's output, pictures and a page."""

from flax_imdb.report.console import ProgramConsole, Report, TrainingReport, count_parameters
from flax_imdb.report.html import Predicted, Run, names_of, read_run, render
from flax_imdb.report.pictures import draw_curves, draw_scores

__all__ = [
    "Predicted",
    "ProgramConsole",
    "Report",
    "Run",
    "TrainingReport",
    "count_parameters",
    "draw_curves",
    "draw_scores",
    "names_of",
    "read_run",
    "render",
]
