"""Training: the state, the step, the loop over epochs, the checkpoints."""

from flax_imdb.training.interruption import Interruption, catch_signals
from flax_imdb.training.loop import (
    EpochRecord,
    History,
    Progress,
    TrainConfig,
    Trainer,
    UnfinishedEpoch,
    reported_epoch,
)
from flax_imdb.training.metrics import Metrics, StepMetrics, compute_metrics, predict_labels
from flax_imdb.training.state import TrainState, average_params, averaged, create_state
from flax_imdb.training.step import apply_gradients, eval_step, sum_gradients, train_step

__all__ = [
    "EpochRecord",
    "History",
    "Interruption",
    "Metrics",
    "Progress",
    "StepMetrics",
    "TrainConfig",
    "TrainState",
    "Trainer",
    "UnfinishedEpoch",
    "apply_gradients",
    "average_params",
    "averaged",
    "catch_signals",
    "compute_metrics",
    "create_state",
    "eval_step",
    "predict_labels",
    "reported_epoch",
    "sum_gradients",
    "train_step",
]
