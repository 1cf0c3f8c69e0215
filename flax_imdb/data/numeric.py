"""Numeric sequences, as they are given: arrays of steps and features."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np

from flax_imdb.data.config import Layout
from flax_imdb.errors import InputError

_LARGEST = np.float64(np.finfo(np.float32).max)


def are_sequences(values: Any) -> bool:
    """Whether values are meant as numeric sequences, rather than as texts; they may be bad ones."""
    if _is_one_array(values):
        return np.asarray(values).dtype.kind not in "OSU"
    if not isinstance(values, np.ndarray | Sequence) or isinstance(values, str | bytes):
        return False
    if len(values) == 0 or isinstance(values[0], str | bytes | Mapping | Set):
        return False
    try:
        first = np.asarray(values[0])
    except ValueError:  # Lists of different lengths.
        return True
    return first.ndim > 0 and first.dtype.kind not in "SU"


def as_sequences(
    values: Iterable[Any],
    layout: Layout = "channels-last",
    *,
    names: Sequence[str] = (),
    place: str = "",
) -> list[np.ndarray]:
    """Check numeric sequences.

    Args:
      values: of each sequence an array [time, features], or [time] of one feature; an array
        [cases, time, features] is a list of such.
      layout: with ``"channels-first"`` each is [features, time].
      names: of the features, for messages.
      place: where the sequences are, for messages: their beginning.

    Returns:
      Arrays [time, features] of one width, each of the real type that it was given in.

    Raises:
      InputError: `values` is no list of arrays, or one of them cannot be read.
    """
    listed = isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping | Set)
    if not listed or getattr(values, "ndim", 2) not in (1, 2, 3):
        raise InputError(
            f"{place}a list of arrays [time, features] is needed, or one array [cases, time, "
            f"features], and this is {_described(values)}"
        )
    values = np.asarray(values) if _is_one_array(values) else values
    sequences = []
    for number, value in enumerate(values, start=1):
        sequence = _as_sequence(value, f"{place}sequence {number}", layout)
        _check_finite(sequence, f"{place}sequence {number}", names)
        sequences.append(sequence)
    widths = [sequence.shape[1] for sequence in sequences]
    for number, width in enumerate(widths, start=1):
        if width != widths[0]:
            raise InputError(
                f"{place}sequence {number} has {width} features, and sequence 1 has {widths[0]}: "
                f"all need the same{_hint(sequences, layout)}"
            )
    return sequences


def check_width(sequences: Sequence[np.ndarray], features: int, place: str = "") -> None:
    """Raise InputError unless sequences, which are of one width, have this many features."""
    if sequences and sequences[0].shape[1] != features:
        raise InputError(
            f"{place}the sequences have {sequences[0].shape[1]} features, and {features} are needed"
        )


def check_features(
    sequences: Sequence[np.ndarray],
    names: Sequence[str],
    features: int,
    known: Sequence[str],
    place: str = "",
) -> None:
    """Raise InputError unless sequences have the features that a model reads.

    Args:
      sequences: of one width.
      names: of their features; empty if they have none.
      features: number of features that are needed.
      known: their names; empty if they have none. They matter if both have some.
      place: where the sequences are, for the message.
    """
    check_width(sequences, features, place)
    if names and known and tuple(names) != tuple(known):
        raise InputError(
            f"{place}the features are {', '.join(names)}, and {', '.join(known)} are needed, in "
            "this order"
        )


def doubts_of_axes(sequences: Sequence[np.ndarray], layout: Layout) -> Iterator[str]:
    """A warning if the axes of sequences [time, features] may be swapped.

    Sequences are rarely half as long as they are wide. Those of different lengths have one width
    all the same, so that their axes are right.
    """
    (time, features), *others = {sequence.shape for sequence in sequences}
    if not others and features >= 2 * time and features > 2:
        yield (
            f"each sequence has {time} steps of {features} features: if it has {features} steps of "
            f"{time} features, layout {_other(layout)} is right"
        )


def _is_one_array(values: Any) -> bool:
    """Whether all sequences are one array, of NumPy or JAX; a table of pandas is none."""
    return hasattr(values, "__array__") and hasattr(values, "dtype") and values.ndim > 1


def _as_sequence(value: Any, name: str, layout: Layout) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:
        raise InputError(f"{name} is ragged: each step needs the same features") from None
    if isinstance(value, str):
        raise InputError(f"{name} is a text: real numbers are needed")
    if array.ndim not in (1, 2):
        raise InputError(
            f"{name} has {array.ndim} axes: {_axes(layout)} are needed, or time alone for one "
            "feature"
        )
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} is of type {array.dtype}: real numbers are needed")
    if array.ndim == 1:
        array = array[:, None]
    elif layout == "channels-first":
        array = array.T
    if array.size == 0:
        raise InputError(
            f"{name} has {len(array)} steps of {array.shape[1]} features: one of each is needed"
        )
    return array


def _check_finite(sequence: np.ndarray, name: str, names: Sequence[str]) -> None:
    fits = np.abs(sequence) <= _LARGEST if sequence.dtype.kind == "f" else np.True_
    if not np.all(fits):
        step, feature = np.argwhere(~fits)[0]
        known = f" ({names[feature]})" if names else ""
        raise InputError(
            f"{name}, step {step + 1}, feature {feature + 1}{known} is {sequence[step, feature]}: "
            f"a finite number is needed, of at most {_LARGEST:.1e}"
        )


def _hint(sequences: Sequence[np.ndarray], layout: Layout) -> str:
    """What may be right where widths differ: lengths may, and widths not."""
    if len({len(sequence) for sequence in sequences}) > 1:
        return ""
    return f"; `layout` {_other(layout)} may be right, {_axes(_other(layout))}"


def _other(layout: Layout) -> Layout:
    return "channels-last" if layout == "channels-first" else "channels-first"


def _axes(layout: Layout) -> str:
    return "[features, time]" if layout == "channels-first" else "[time, features]"


def _described(values: Any) -> str:
    if isinstance(values, np.ndarray):
        return f"an array of {values.ndim} axes"
    return f"a {type(values).__name__}"
