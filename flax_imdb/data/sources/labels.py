"""Labels as written: their order, what is strange about them, and splits that have all of them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from decimal import Decimal

import numpy as np

from flax_imdb.data.sources.table import listed, shown
from flax_imdb.errors import InputError

MAX_CLASSES = 10_000
FEW_EXAMPLES = 10
"""Of a class with fewer texts a model learns little."""

MAX_LABEL_CHARACTERS = 1_000
"""A longer label is a text."""

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_MIXING = (30, 0xBF58476D1CE4E5B9, 27, 0x94D049BB133111EB, 31)
_SPLIT_SEED = 2011


def order_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """The different labels, in natural order.

    Numbers are in the order of their values. Other labels are in that of their letters, where
    numbers in them count as numbers: ``"level 2"`` comes before ``"level 10"``.
    """
    different = set(labels)
    if all(map(_NUMBER.fullmatch, different)):
        return tuple(sorted(different, key=lambda label: (Decimal(label), label)))
    return tuple(sorted(different, key=natural_key))


def natural_key(label: str) -> tuple[object, ...]:
    """A key that sorts numbers in labels by their values, and letters regardless of their case."""
    parts: list[object] = re.split("([0-9]+)", label.casefold())
    for i in range(1, len(parts), 2):
        digits = str(parts[i]).lstrip("0")
        parts[i] = (len(digits), digits)  # Unlike int(digits), of any length.
    return parts, label


def problem_of_label(label: str) -> str:
    """Why a string cannot be a label, as the end of a sentence; empty if it can."""
    if not label:
        return "has no label"
    if len(label) > MAX_LABEL_CHARACTERS:
        return (
            f"has a label of {len(label):,} characters, of which {MAX_LABEL_CHARACTERS:,} are "
            "allowed"
        )
    if not label.isprintable():
        kinds = set(map(unicodedata.category, label))
        for kind, what in (("Cc", "a control character"), ("Cs", "half a character")):
            if kind in kinds:
                return f"has {what} in its label, {shown(label)}"
    return ""


def check_labels(labels: Sequence[str], place: str, column: str) -> None:
    """Raise InputError if `labels` cannot be those of a classification.

    Args:
      labels: that of each row.
      place: the file that they are from.
      column: the name of their column; empty if they are not from a column.
    """
    counts = Counter(labels)
    what = f"{place}: column {column}" if column else place
    other = "; another `label_column` may be right" if column else ""
    if len(counts) == 1:
        raise InputError(
            f"{what} has one label alone, {shown(labels[0])}: two classes or more are needed{other}"
        )
    if 2 * len(counts) > len(labels):
        raise InputError(
            f"{what} has {len(counts):,} different labels in {len(labels):,} rows, so it is hardly "
            f"the label: {listed([shown(label) for label in counts], 3)}{other}"
        )
    if len(counts) > MAX_CLASSES:
        raise InputError(
            f"{what} has {len(counts):,} different labels, of which {MAX_CLASSES:,} are "
            f"allowed{other}"
        )


def indices_of(labels: Sequence[str], classes: Sequence[str], place: str) -> np.ndarray:
    """The index of each label, of rows at `place`, in the classes of the training split.

    Raises:
      InputError: there is a label that is no class.
    """
    index = {label: i for i, label in enumerate(classes)}
    unknown = [shown(label) for label in order_labels(set(labels) - set(classes))]
    if unknown:
        known = [shown(label) for label in classes]
        raise InputError(
            f"{place} has labels that no training text has: {listed(unknown, 3)}; those of the "
            f"training texts are {listed(known, 5)}"
        )
    return np.fromiter(map(index.__getitem__, labels), np.int32, len(labels))


def warnings_on(
    place: str,
    classes: Sequence[str],
    splits: Mapping[str, tuple[Sequence[Hashable], np.ndarray]],
    unit: str = "text",
) -> tuple[str, ...]:
    """Warnings of what may be wrong with the texts or labels, but can be trained on.

    Args:
      place: the file that they are from.
      classes: the names of the labels.
      splits: the texts and labels of ``"train"`` and ``"test"``.
      unit: what a text is called.
    """
    warnings = []
    alike: dict[str, list[str]] = {}
    for label in classes:
        alike.setdefault("".join(label.split()).casefold(), []).append(label)
    if groups := [" and ".join(map(shown, group)) for group in alike.values() if len(group) > 1]:
        warnings.append(
            "labels that differ by case or blanks alone are classes of their own: "
            + listed(groups, 3)
        )
    (train_texts, train_labels), (test_texts, test_labels) = splits["train"], splits["test"]
    trained, tested = (
        np.bincount(labels, minlength=len(classes)) for labels in (train_labels, test_labels)
    )

    def names(which: np.ndarray) -> str:
        return listed([shown(classes[i]) for i in np.flatnonzero(which).tolist()], 3)

    if np.any(untested := tested == 0):
        warnings.append(f"{place}: classes without a {unit} in the test split: {names(untested)}")
    if np.any(rare := trained < FEW_EXAMPLES):
        warnings.append(
            f"{place}: classes with fewer than {FEW_EXAMPLES} {unit}s to train on: {names(rare)}"
        )
    if both := len(set(train_texts).intersection(test_texts)):
        warnings.append(
            f"{place}: {unit}s that are in both splits, which makes the test too easy: {both:,}"
        )
    return tuple(warnings)


def split_rows(labels: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Split rows into those to train and to test on, so that both have rows of every class.

    Each class is split by itself. The split is always the same: it depends on nothing but the
    arguments.

    Args:
      labels: the class of each row, int [rows].
      fraction: the part of each class to test on.

    Returns:
      The indices of the rows to train on and of those to test on, both ascending. The row of a
      class with one row is trained on.
    """
    sizes = np.bincount(labels)
    tested = np.clip(np.rint(sizes * fraction).astype(np.int64), 1, np.maximum(sizes - 1, 0))
    # In random order within each class.
    order = np.lexsort((_random_keys(len(labels)), labels))
    rank = np.arange(len(labels)) - (np.cumsum(sizes) - sizes)[labels[order]]
    in_test = np.empty(len(labels), bool)
    in_test[order] = rank < tested[labels[order]]
    return np.flatnonzero(~in_test), np.flatnonzero(in_test)


def _random_keys(number: int) -> np.ndarray:
    """Different random numbers, uint64 [number]: SplitMix64, which no version of NumPy changes."""
    with np.errstate(over="ignore"):
        keys = np.arange(1, number + 1, dtype=np.uint64) + np.uint64(_SPLIT_SEED << 32)
        keys *= np.uint64(0x9E3779B97F4A7C15)
        first, multiplier, second, last, third = map(np.uint64, _MIXING)
        keys = (keys ^ (keys >> first)) * multiplier
        keys = (keys ^ (keys >> second)) * last
        return keys ^ (keys >> third)
