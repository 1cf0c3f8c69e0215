"""The configuration of training."""

import dataclasses
import math
import os
import re
from typing import Literal, get_args

import numpy as np
import optax

from flax_imdb.errors import InputError, check_between, is_number
from flax_imdb.training.metrics import Monitor
from flax_imdb.training.objectives import Objective

ClassWeights = Literal["balanced"]
Schedule = Literal["constant", "linear", "cosine"]

# With more, the average equals the last step's parameters throughout any run.
MAX_AVERAGING = 10**6

# More rows than IMDB has reviews: a mistake that would exhaust the memory.
MAX_BATCH_SIZE = 2**16


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
      epochs: Passes over the training texts.
      batch_size: Texts per step, over all devices together.
      microbatches: Compute a batch's gradients in this many parts, one after another: less memory,
        the same update.
      learning_rate: Learning rate of Adam, or the highest one of the schedule.
      schedule: How the learning rate changes: constant, or to 0 at the end of the last epoch, in a
        line or along half a cosine.
      warmup_steps: Raise the learning rate in a line over this many steps first.
      weight_decay: Subtract this part of the weights and embeddings, times the learning rate, at
        each step.
      clip_norm: Clip the global norm of the gradients to this value; None: no clipping.
      averaging: Evaluate and keep an average of the parameters, in which step t has a weight of
        about t**averaging; None: use those of the last step.
      skip_nonfinite: Skip steps whose loss or gradient is not finite, instead of stopping.
      class_weights: balanced weighs each example by the inverse of its class's frequency, so that
        all classes count the same in the training loss; None: all examples do.
      label_smoothing: Train towards targets with this much of a uniform distribution in them.
      adversarial_norm: Also train on the worst perturbation of the embedded texts, of this norm, to
        first order; twice the time. 0: off.
      patience: Stop when the monitored value on the validation texts has not improved for this many
        epochs. None: train all epochs.
      monitor: What decides on the best epoch by the validation texts: accuracy, loss, macro_f1 or,
        for two classes, roc_auc. None: accuracy; where a text may have several labels, loss.
      seed: Seed of the initial parameters, the order of the data and dropout.
      embeddings: A file of word vectors to begin the embedding with, in the text form of GloVe,
        word2vec or fastText; its width sets embedding-features.
      embeddings_digest: SHA-256 of what is in that file, unpacked. None: not checked. A run keeps
        that of the file which it read.
      freeze_embeddings: Keep the embedding as it begins, instead of training it.
    """

    epochs: int = 3
    batch_size: int = 64
    microbatches: int = 1
    learning_rate: float = 1e-3
    schedule: Schedule = "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    clip_norm: float | None = 1.0
    averaging: float | None = 3.0
    skip_nonfinite: bool = False
    class_weights: ClassWeights | None = None
    label_smoothing: float = 0.0
    adversarial_norm: float = 0.0
    patience: int | None = None
    monitor: Monitor | None = None
    seed: int = 7
    embeddings: str | None = None
    embeddings_digest: str | None = None
    freeze_embeddings: bool = False

    def __post_init__(self) -> None:
        check_between("epochs", self.epochs, 1)
        check_between("batch_size", self.batch_size, 1, MAX_BATCH_SIZE)
        check_between("microbatches", self.microbatches, 1)
        if self.microbatches > self.batch_size:
            raise InputError(
                f"`microbatches` {self.microbatches} is too large: a batch has "
                f"`batch_size` {self.batch_size} rows"
            )
        if self.class_weights not in (None, *get_args(ClassWeights)):
            raise InputError(f"`class_weights` {self.class_weights} is unknown: balanced or None")
        if self.schedule not in get_args(Schedule):
            raise InputError(
                f"`schedule` {self.schedule} is unknown: one of {', '.join(get_args(Schedule))}"
            )
        check_between("warmup_steps", self.warmup_steps, 0)
        if self.patience is not None:
            check_between("patience", self.patience, 1)
        if self.monitor not in (None, *get_args(Monitor)):
            raise InputError(
                f"`monitor` {self.monitor} is unknown: one of {', '.join(get_args(Monitor))}"
            )
        check_between("seed", self.seed, 0, 2**32 - 1)
        for setting, amount, below in (
            ("weight_decay", self.weight_decay, math.inf),
            ("label_smoothing", self.label_smoothing, 1),
            ("adversarial_norm", self.adversarial_norm, math.inf),
        ):
            if not (is_number(amount) and 0 <= amount < below):
                limit = "" if below == math.inf else f" to below {below}"
                raise InputError(
                    f"`{setting}` {amount} makes no sense: a finite number from 0{limit} is needed"
                )
        for setting, value in (
            ("learning_rate", self.learning_rate),
            ("clip_norm", self.clip_norm),
        ):
            # Both become float32, and XLA flushes smaller values to 0.
            limits = np.finfo(np.float32)
            least, most = float(limits.tiny), float(limits.max)
            if value is not None and not (is_number(value) and least <= value <= most):
                raise InputError(
                    f"`{setting}` {value} makes no sense: a finite number above 0 is needed"
                )
        if self.averaging is not None and not (
            is_number(self.averaging) and 0 <= self.averaging <= MAX_AVERAGING
        ):
            raise InputError(
                f"`averaging` {self.averaging} makes no sense: a number from 0 to "
                f"{MAX_AVERAGING} is needed, or None"
            )
        self._check_embeddings()

    def _check_embeddings(self) -> None:
        if isinstance(self.embeddings, os.PathLike):
            object.__setattr__(self, "embeddings", os.fspath(self.embeddings))
        if self.embeddings is None:
            if self.embeddings_digest:
                raise InputError(
                    "`embeddings_digest` has no effect: `embeddings` must name a file of word "
                    "vectors"
                )
        elif not isinstance(self.embeddings, str):
            raise InputError(f"`embeddings` {self.embeddings!r} is not a path")
        digest = self.embeddings_digest
        if digest is not None and not re.fullmatch("[0-9a-f]{64}", str(digest)):
            raise InputError(
                f"`embeddings_digest` {digest} makes no sense: 64 hexadecimal digits are needed, "
                "in lower case"
            )

    def monitor_of(self, multi_label: bool) -> Monitor:
        """What decides on the best epoch; no text may have all of several labels right for long."""
        return self.monitor or ("loss" if multi_label else "accuracy")

    @property
    def objective(self) -> Objective:
        """What training minimizes."""
        return Objective(self.label_smoothing, self.adversarial_norm)

    def rate(self, steps: int) -> optax.ScalarOrSchedule:
        """The learning rate, or the schedule of it for a training of this many steps in all."""
        left = max(steps - self.warmup_steps, 1)
        after = {
            "constant": self.learning_rate,
            "linear": optax.linear_schedule(self.learning_rate, 0, left),
            "cosine": optax.cosine_decay_schedule(self.learning_rate, left),
        }[self.schedule]
        if self.warmup_steps == 0:
            return after
        if not callable(after):
            after = optax.constant_schedule(after)
        warmup = optax.linear_schedule(0, self.learning_rate, self.warmup_steps)
        return optax.join_schedules([warmup, after], [self.warmup_steps])

    def steps(self, examples: int) -> int:
        """The number of steps of training on this many texts."""
        return self.epochs * -(-examples // self.batch_size)
