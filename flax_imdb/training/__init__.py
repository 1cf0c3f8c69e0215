"""Training: state, step, epochs, training history and checkpoints."""

from flax_imdb.training.config import TrainConfig
from flax_imdb.training.conformal import (
    check_coverage,
    conformity,
    least_probability,
    prediction_sets,
    usual_coverages,
)
from flax_imdb.training.history import (
    EpochRecord,
    History,
    Segment,
    StepRecord,
    UnfinishedEpoch,
)
from flax_imdb.training.metrics import (
    EvalMetrics,
    Evaluation,
    Metrics,
    Monitor,
    StepMetrics,
    check_monitor,
    compute_metrics,
    cross_entropy,
    predict_labels,
)
from flax_imdb.training.ngram_counts import count_ngrams
from flax_imdb.training.objectives import Objective
from flax_imdb.training.predictor import Predictor, one_late
from flax_imdb.training.preemption import Preemption, catch_signals
from flax_imdb.training.state import (
    TrainState,
    average_params,
    averaged,
    create_state,
    empty_state,
    restarted,
    saved_arrays,
    state_creator,
    to_evaluate,
)
from flax_imdb.training.step import apply_gradients, eval_step, sum_gradients, train_step
from flax_imdb.training.thresholds import above, choose_thresholds, decide
from flax_imdb.training.trainer import Hook, Progress, Trainer, check_finite

__all__ = [
    "EpochRecord",
    "EvalMetrics",
    "Evaluation",
    "History",
    "Hook",
    "Metrics",
    "Monitor",
    "Objective",
    "Predictor",
    "Preemption",
    "Progress",
    "Segment",
    "StepMetrics",
    "StepRecord",
    "TrainConfig",
    "TrainState",
    "Trainer",
    "UnfinishedEpoch",
    "above",
    "apply_gradients",
    "average_params",
    "averaged",
    "catch_signals",
    "check_coverage",
    "check_finite",
    "check_monitor",
    "choose_thresholds",
    "compute_metrics",
    "conformity",
    "count_ngrams",
    "create_state",
    "cross_entropy",
    "decide",
    "empty_state",
    "eval_step",
    "least_probability",
    "one_late",
    "predict_labels",
    "prediction_sets",
    "restarted",
    "saved_arrays",
    "state_creator",
    "sum_gradients",
    "to_evaluate",
    "train_step",
    "usual_coverages",
]
