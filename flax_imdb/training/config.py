"""The configuration of training."""

import dataclasses
from typing import Literal, get_args

import numpy as np

from flax_imdb.errors import InputError, check_between, is_number

ClassWeights = Literal["balanced"]

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
      learning_rate: Learning rate of Adam.
      clip_norm: Clip the global norm of the gradients to this value; None: no clipping.
      averaging: Evaluate and keep an average of the parameters, in which step t has a weight of
        about t**averaging; None: use those of the last step.
      skip_nonfinite: Skip steps whose loss or gradient is not finite, instead of stopping.
      class_weights: balanced weighs each example by the inverse of its class's frequency, so that
        all classes count the same in the training loss; None: all examples do.
      seed: Seed of the initial parameters, the order of the data and dropout.
    """

    epochs: int = 3
    batch_size: int = 64
    microbatches: int = 1
    learning_rate: float = 1e-3
    clip_norm: float | None = 1.0
    averaging: float | None = 3.0
    skip_nonfinite: bool = False
    class_weights: ClassWeights | None = None
    seed: int = 7

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
        check_between("seed", self.seed, 0, 2**32 - 1)
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
