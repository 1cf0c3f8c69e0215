"""Labels as written: their order, what is strange about them, and splits that have all of them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import numpy as np

from flax_imdb.data.sources.table import listed, shown
from flax_imdb.errors import InputError

MAX_CLASSES = 10_000
FEW_EXAMPLES = 10
"""Of a class with fewer texts a model learns little."""

MAX_LABEL_CHARACTERS = 1_000
"""A longer label is a text."""

Label = str | tuple[str, ...]
"""The label of a text; or all of them, where it may have several."""

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


def plain_label(label: str) -> str:
    """The label without blanks and case, in which labels should differ."""
    return "".join(label.split()).casefold()


def with_known(classes: tuple[str, ...], known: Sequence[str]) -> tuple[str, ...]:
    """The classes of the training texts, and then those that a model knows besides."""
    return tuple(dict.fromkeys((*classes, *known)))


def names_in(label: Label) -> tuple[str, ...]:
    """The labels of a text, of which it may have one or several."""
    return (label,) if isinstance(label, str) else label


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


def check_labels(
    labels: Iterable[Label], place: str, column: str, *, are_columns: bool = False
) -> None:
    """Raise InputError if `labels` cannot be those of a classification.

    Args:
      labels: those of each row; or the number of rows with each, as a mapping.
      place: the file that they are from.
      column: the name of their column; empty if they are not from a single column.
      are_columns: whether they are the names of columns.
    """
    rows = Counter(labels)
    counts = Counter[str]()
    for label, number in rows.items():
        for name in names_in(label):
            counts[name] += number
    what = f"{place}: column {column}" if column else place
    other = "; another `label_column` may be right" if column else ""
    if len(set(map(frozenset, map(names_in, rows)))) == 1:
        (first, *_) = rows
        names = listed([*map(shown, names_in(first))], 3)
        has = f"one label alone, {names}: two classes or more are needed"
        if not isinstance(first, str):
            has = f"the same labels in all rows: {names or 'none'}"
        raise InputError(f"{what} has {has}{other}")
    if not are_columns and 2 * len(counts) > counts.total():
        raise InputError(
            f"{what} has {len(counts):,} different labels in {rows.total():,} rows, so it is "
            f"hardly the label: {listed([shown(label) for label in counts], 3)}{other}"
        )
    if len(counts) > MAX_CLASSES:
        raise InputError(
            f"{what} has {len(counts):,} different labels, of which {MAX_CLASSES:,} are "
            f"allowed{other}"
        )


def index_of_classes(labels: Iterable[str], classes: Sequence[str], place: str) -> dict[str, int]:
    """The index of each class, for labels of rows at `place`.

    Raises:
      InputError: there is a label that is no class.
    """
    index = {label: i for i, label in enumerate(classes)}
    unknown = [shown(label) for label in order_labels(set(labels) - index.keys())]
    if unknown:
        known = [shown(label) for label in classes]
        raise InputError(
            f"{place} has labels that no training text has: {listed(unknown, 3)}; known are "
            f"{listed(known, 5)}"
        )
    return index


def indices_of(labels: Sequence[str], classes: Sequence[str], place: str) -> np.ndarray:
    """The index of each label in the classes, int32 [rows]. See `index_of_classes`."""
    index = index_of_classes(labels, classes, place)
    return np.fromiter(map(index.__getitem__, labels), np.int32, len(labels))


def warnings_on(
    place: str,
    classes: Sequence[str],
    splits: Mapping[str, tuple[np.ndarray, np.ndarray]],
    unit: str = "text",
) -> tuple[str, ...]:
    """Warnings of what may be wrong with the texts or labels, but can be trained on.

    Args:
      place: the file that they are from.
      classes: the names of the labels.
      splits: of ``"train"`` and ``"test"`` a hash of each text, and the labels.
      unit: what a text is called.
    """
    warnings = []
    alike: dict[str, list[str]] = {}
    for label in classes:
        alike.setdefault(plain_label(label), []).append(label)
    if groups := [" and ".join(map(shown, group)) for group in alike.values() if len(group) > 1]:
        warnings.append(
            "labels that differ by case or blanks alone are classes of their own: "
            + listed(groups, 3)
        )
    (train_texts, train_labels), (test_texts, test_labels) = splits["train"], splits["test"]
    trained, tested = (sizes_of(labels, len(classes)) for labels in (train_labels, test_labels))

    def names(which: np.ndarray) -> str:
        return listed([shown(classes[i]) for i in np.flatnonzero(which).tolist()], 3)

    if np.any(untested := tested == 0):
        warnings.append(f"{place}: classes without a {unit} in the test split: {names(untested)}")
    if np.any(rare := trained < FEW_EXAMPLES):
        warnings.append(
            f"{place}: classes with fewer than {FEW_EXAMPLES} {unit}s to train on: {names(rare)}"
        )
    several = train_labels.ndim == 2
    if several and np.any(always := trained == len(train_labels)):
        warnings.append(f"{place}: labels that all texts to train on have: {names(always)}")
    if both := _in_both(train_texts, test_texts):
        warnings.append(
            f"{place}: {unit}s that are in both splits, which makes the test too easy: {both:,}"
        )
    return tuple(warnings)


def _in_both(train: np.ndarray, test: np.ndarray) -> int:
    """The number of different values that are in both arrays."""
    train, test = np.sort(train), np.unique(test)
    places = np.minimum(np.searchsorted(train, test), len(train) - 1)
    return int(np.count_nonzero(train[places] == test))


def split_rows(labels: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Split rows into those to train and to test on, so that both have rows of every class.

    Each class is split by itself. The split is always the same: it depends on nothing but the
    arguments. Where a row may have several classes see `_split_sets`.

    Args:
      labels: the class of each row, int [rows]; or 1 for each of its classes and 0 for others,
        [rows, classes].
      fraction: the part of each class to test on.

    Returns:
      The indices of the rows to train on and of those to test on, both ascending. The row of a
      class with one row is trained on.
    """
    if labels.ndim == 2:
        in_test = _split_sets(labels > 0, fraction)
        return np.flatnonzero(~in_test), np.flatnonzero(in_test)
    sizes = np.bincount(labels)
    tested = np.clip(np.rint(sizes * fraction).astype(np.int64), 1, np.maximum(sizes - 1, 0))
    keys = _random_keys(len(labels))
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])
    in_test = np.zeros(len(labels), bool)
    for rows, number in zip(by_class, tested.tolist(), strict=True):
        if number:  # Those with the smallest keys.
            in_test[rows[np.argpartition(keys[rows], number - 1)[:number]]] = True
    return np.flatnonzero(~in_test), np.flatnonzero(in_test)


def sizes_of(labels: np.ndarray, classes: int) -> np.ndarray:
    """The number of rows of each class, int64 [classes].

    Args:
      labels: the class of each row, int [rows]; or 1 for each of its classes and 0 for others,
        [rows, classes].
      classes: number of classes.
    """
    if labels.ndim == 2:
        return np.count_nonzero(labels, axis=0)
    return np.bincount(labels, minlength=classes)


def _split_sets(labels: np.ndarray, fraction: float) -> np.ndarray:
    """Which rows to test on, of rows that may have several labels, bool [rows].

    The labels are split one after another, the rarest first, since the frequent ones are easily
    made up for: of the rows that are not in a split yet as many are tested on as the label lacks
    there. (Sechidis et al. 2011 take the rarest label again after each row.) A label with two rows
    or more has some in both splits, unless all of its rows have rarer labels. To know whether that
    can be avoided is a hard problem: `_exchange` tries.

    Args:
      labels: whether a row has a label, bool [rows, labels].
      fraction: the part of each label to test on.
    """
    order = np.argsort(_random_keys(len(labels)), kind="stable")
    labels = np.column_stack([labels, ~labels.any(axis=1)])[order]  # None is a label, too.
    in_test, is_split = np.zeros((2, len(labels)), bool)
    sizes = np.count_nonzero(labels, axis=0)
    wanted = np.clip(np.rint(sizes * fraction).astype(int), 1, np.maximum(sizes - 1, 0))
    for label in np.argsort(sizes, kind="stable"):
        of_label = labels[:, label]
        rows = np.flatnonzero(of_label & ~is_split)
        lacking = max(wanted[label] - np.count_nonzero(in_test & of_label), 0)
        in_test[rows[:lacking]] = True
        is_split[rows] = True
    _exchange(labels, in_test)
    split = np.empty_like(in_test)
    split[order] = in_test
    return split


def _exchange(labels: np.ndarray, in_test: np.ndarray) -> None:
    """Move rows of labels that are in one split alone to the other, if no other label leaves one.

    Args:
      labels: whether a row has a label, bool [rows, labels].
      in_test: whether a row is tested on, bool [rows], which is changed.
    """
    sizes = np.count_nonzero(labels, axis=0)
    tested = np.count_nonzero(labels[in_test], axis=0)
    for label in np.flatnonzero((sizes > 1) & ((tested == 0) | (tested == sizes))):
        for row in np.flatnonzero(labels[:, label]):
            left = tested if in_test[row] else sizes - tested
            others = labels[row] & (np.arange(len(sizes)) != label)
            if np.all(left[others] > 1):
                tested = tested + np.where(in_test[row], -1, 1) * labels[row]
                in_test[row] = not in_test[row]
                break


def _random_keys(number: int) -> np.ndarray:
    """Different random numbers, uint64 [number]: SplitMix64, which no version of NumPy changes."""
    with np.errstate(over="ignore"):
        keys = np.arange(1, number + 1, dtype=np.uint64)
        keys += np.uint64(_SPLIT_SEED << 32)
        keys *= np.uint64(0x9E3779B97F4A7C15)
        first, multiplier, second, last, third = map(np.uint64, _MIXING)
        # In place: there may be many.
        keys ^= keys >> first
        keys *= multiplier
        keys ^= keys >> second
        keys *= last
        keys ^= keys >> third
        return keys
