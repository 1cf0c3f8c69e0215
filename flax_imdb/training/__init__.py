"""Training: the state, the step, the loop over epochs, the checkpoints."""

from flax_imdb.training.loop import EpochRecord, Progress, TrainConfig, Trainer, reported_epoch
from flax_imdb.training.metrics import Metrics, compute_metrics, predict_labels
from flax_imdb.training.state import TrainState, create_state
from flax_imdb.training.step import apply_gradients, eval_step, sum_gradients, train_step

__all__ = [
    "EpochRecord",
    "Metrics",
    "Progress",
    "TrainConfig",
    "TrainState",
    "Trainer",
    "apply_gradients",
    "compute_metrics",
    "create_state",
    "eval_step",
    "predict_labels",
    "reported_epoch",
    "sum_gradients",
    "train_step",
]
