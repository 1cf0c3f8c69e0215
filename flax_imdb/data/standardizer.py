"""The standardizer: numeric features to numbers of mean 0 and standard deviation 1."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence

import numpy as np

from flax_imdb.errors import InputError

# A smaller one is 0 to XLA, which flushes such numbers.
_LEAST_SCALE = float(np.finfo(np.float32).tiny)


@dataclasses.dataclass(frozen=True)
class Standardizer:
    """Mean and scale of each feature of numeric sequences.

    Attributes:
      mean: over all steps of the sequences that are trained on.
      scale: the standard deviation there; 1 of a feature that is constant, or that changes by less
        than float32 can divide by.
      names: of the features; empty if they have none.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        numbers = (*self.mean, *self.scale)
        if not self.mean or len(self.mean) != len(self.scale):
            raise ValueError("its features do not have a mean and a scale each")
        if len(self.names) not in (0, len(self.mean)):
            raise ValueError("it does not have a name for each feature")
        if not all(isinstance(number, float) and math.isfinite(number) for number in numbers):
            raise ValueError("its means and scales are not finite numbers")
        if min(self.scale) <= 0:
            raise ValueError("its scales are not above 0")

    @classmethod
    def fit(cls, steps: np.ndarray, names: Sequence[str] = ()) -> "Standardizer":
        """That of these steps, [steps, features]; sums are in float64."""
        mean = np.mean(steps, axis=0, dtype=np.float64)
        scale = np.std(steps, axis=0, dtype=np.float64)
        # Rounding of the mean would show as a tiny scale.
        constant = (np.min(steps, axis=0) == np.max(steps, axis=0)) | (scale < _LEAST_SCALE)
        return cls(
            tuple(np.where(constant, steps[0], mean).astype(np.float64).tolist()),
            tuple(np.where(constant, 1, scale).tolist()),
            tuple(names),
        )

    @property
    def features(self) -> int:
        """Number of features."""
        return len(self.mean)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all attributes."""
        return hashlib.sha256(json.dumps(self.dump(), allow_nan=False).encode()).hexdigest()

    def dump(self) -> dict[str, list[float] | list[str]]:
        """The attributes, for JSON."""
        return {"mean": [*self.mean], "scale": [*self.scale], "features": [*self.names]}

    def __call__(self, steps: np.ndarray) -> np.ndarray:
        """Steps [..., features] of any real type, standardized: float32, computed in float64.

        Raises:
          InputError: a number is too far from the mean for float32.
        """
        with np.errstate(over="ignore"):
            made = ((steps - np.array(self.mean)) / np.array(self.scale)).astype(np.float32)
        if not np.all(np.isfinite(made)):
            *step, feature = np.argwhere(~np.isfinite(made))[0]
            raise InputError(
                f"feature {feature + 1} of a sequence is {steps[(*step, feature)]}: float32 cannot "
                f"hold its distance from the mean in training, {self.mean[feature]:g}, divided by "
                f"the deviation there, {self.scale[feature]:g}"
            )
        return made
