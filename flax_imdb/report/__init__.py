"""What a run shows: the console's output and pictures."""

from flax_imdb.report.console import ProgramConsole, Report, TrainingReport, count_parameters
from flax_imdb.report.pictures import draw_curves, draw_scores

__all__ = [
    "ProgramConsole",
    "Report",
    "TrainingReport",
    "count_parameters",
    "draw_curves",
    "draw_scores",
]
