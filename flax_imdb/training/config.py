"""How a classifier is trained."""

import dataclasses

import numpy as np

from flax_imdb.errors import InputError, check_between

# With more, the average is the last step's parameters for longer than any run takes.
MAX_AVERAGING = 10**6

# More rows than IMDB has reviews: a mistake, of which the machine would run out of memory.
MAX_BATCH_SIZE = 2**16


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
      epochs: Passes over the training reviews.
      batch_size: Reviews per step, over all devices together.
      microbatches: Compute a step's gradients on so many parts of the batch in turn: less memory,
        the same update.
      learning_rate: Adam's.
      clip_norm: Scale a gradient whose norm is larger down to it; None never does.
      averaging: Evaluate and keep an average of the parameters, in which step t has a weight of
        about t**averaging; None keeps those of the last step.
      skip_nonfinite: Go on after a step whose loss or gradient is not finite, without it.
      seed: Decides the parameters' first values, the order of the data and what dropout drops.
    """

    epochs: int = 3
    batch_size: int = 64
    microbatches: int = 1
    learning_rate: float = 1e-3
    clip_norm: float | None = 1.0
    averaging: float | None = 3.0
    skip_nonfinite: bool = False
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
        check_between("seed", self.seed, 0, 2**32 - 1)
        for setting, value in (
            ("learning_rate", self.learning_rate),
            ("clip_norm", self.clip_norm),
        ):
            # It is going to be a float32, and XLA takes what is nearer to 0 for 0.
            limits = np.finfo(np.float32)
            least, most = float(limits.tiny), float(limits.max)
            if value is not None and not least <= value <= most:
                raise InputError(
                    f"`{setting}` {value} makes no sense: a finite number above 0 is needed"
                )
        if self.averaging is not None and not 0 <= self.averaging <= MAX_AVERAGING:
            raise InputError(
                f"`averaging` {self.averaging} makes no sense: a number from 0 to "
                f"{MAX_AVERAGING} is needed, or None"
            )
