"""Split conformal prediction: sets of labels that have the true one as often as was asked for.

The score is that of Sadinle, Lei and Wasserman 2019, "Least Ambiguous Set-Valued Classifiers With
Bounded Error Levels": the probability of the true class. If the probabilities are right, no other
score gives smaller sets. The quantile is that of Angelopoulos and Bates 2023, "Conformal
Prediction: A Gentle Introduction", section 1: with n rows that are exchangeable with a new text,
its true class is in its set with a probability of at least the coverage, and of at most 1 / (n + 1)
more if no two scores are equal.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float, Int

from flax_imdb.errors import InputError, is_number

_USUAL = (0.8, 0.9, 0.95, 0.99)


def usual_coverages(conformity: Sequence[float]) -> tuple[float, ...]:
    """Coverages that pages offer, of those that so many rows to calibrate with allow."""
    return tuple(each for each in _USUAL if len(conformity) >= _rows_for(each))


def conformity(
    probabilities: Float[np.ndarray, "rows classes"], labels: Int[np.ndarray, " rows"]
) -> tuple[float, ...]:
    """The probability of each row's own class, ascending.

    Raises:
      InputError: one is NaN.
    """
    of_labels = np.sort(probabilities[np.arange(len(labels)), labels])
    if np.isnan(of_labels).any():
        raise InputError("a probability of the rows to calibrate with is not a number")
    return tuple(of_labels.astype(float).tolist())


def check_coverage(setting: str, coverage: float) -> None:
    """Raise InputError unless a coverage is a number between 0 and 1."""
    if not is_number(coverage) or not 0 < coverage < 1:
        given = f"{coverage!r:.80}" if isinstance(coverage, str) else f"{coverage!s:.80}"
        raise InputError(
            f"{setting} {given} makes no sense: a number between 0 and 1 is needed, such as 0.95"
        )


def least_probability(
    conformity: Sequence[float], coverage: float, setting: str = "`abstain`"
) -> float:
    """The probability that a class needs at least to be in a prediction set.

    That of rank ``floor((n + 1) * (1 - coverage))`` of n, from below. In terms of the score
    ``1 - probability`` it is the quantile ``ceil((n + 1) * coverage) / n``.

    Args:
      conformity: of the rows to calibrate with, ascending.
      coverage: how often the true class is to be in the set, between 0 and 1.
      setting: what messages call the coverage.

    Raises:
      InputError: the coverage makes no sense, or needs more rows.
    """
    check_coverage(setting, coverage)
    rows = len(conformity)
    if (needed := _rows_for(coverage)) > rows:
        raise InputError(
            f"{setting} {coverage} needs {needed:,} rows to calibrate with, and there are "
            f"{rows:,}: with these it is {rows / (rows + 1):.6g} at most"
        )
    return conformity[math.floor((rows + 1) * _error(coverage)) - 1]


def _error(coverage: float) -> Fraction:
    """How often the true class may be missing, as a fraction."""
    # Of what is written, 0.95, and not of the number of double precision next to it.
    return 1 - Fraction(str(float(coverage)))


def _rows_for(coverage: float) -> int:
    """The least number of rows to calibrate with."""
    return math.ceil(1 / _error(coverage)) - 1


def prediction_sets(
    probabilities: Float[np.ndarray, "texts classes"],
    least: float | Float[np.ndarray, " texts"],
    unknown: Bool[np.ndarray, " texts"],
) -> Bool[np.ndarray, "texts classes"]:
    """Which classes are in the prediction set of each text.

    Args:
      probabilities: of the classes.
      least: from `least_probability`; one for all texts, or of each.
      unknown: the texts that the model knows no word of: their sets have all classes.
    """
    likely = probabilities >= np.reshape(np.asarray(least, float), (-1, 1))
    sets: np.ndarray = likely | unknown[:, None]
    return sets
