"""What tells a class from the others without meaning: length, form, the same words each time."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from flax_imdb.check.texts import FORMS, Part, Texts, in_threads, jaccard, of_class
from flax_imdb.data.sources.labels import sizes_of

FEWEST = 20
"""Of a class with fewer texts, and of the others, nothing is said."""

TELLING_LENGTH = 0.75
"""Of a text of the class and one of another, this share is told apart by their lengths."""

TELLING_MARK = 0.2
"""The share of the texts of a class with a mark, minus that of the others with it."""

_TIMES_AS_OFTEN = 3
_ENDS = (1, 2, 3)  # Words at the beginning, and at the end.
_PHRASE = 4  # Words in a row.
_SHOWN = 3  # Of each class.
_SAME = 0.5  # Marks with this Jaccard index of their texts are one.


@dataclasses.dataclass(frozen=True)
class Shortcut:
    """What tells the texts of a class from others.

    Attributes:
      label: the name of the class.
      mark: what it is, such as ``"fewer words"`` or ``"begins with 'posted by'"``.
      in_class: of lengths the median number of words of the class, of marks the share of its texts
        that have it.
      elsewhere: the same of the other texts.
      strength: of lengths the share of pairs that they tell apart (the area under the ROC curve),
        of marks the difference of the shares.
      example: index of the first text of the class that has it.
    """

    label: str
    mark: str
    in_class: float
    elsewhere: float
    strength: float
    example: int


@dataclasses.dataclass(frozen=True)
class _Marks:
    """Marks of texts of one kind: which texts have which.

    Attributes:
      names: of the marks.
      marks: index of a mark, int64 [occurrences].
      rows: index of a text that has it, int64 [occurrences]; no pair comes twice.
    """

    names: list[str]
    marks: np.ndarray
    rows: np.ndarray


def find_shortcuts(texts: Texts) -> list[Shortcut]:
    """Find what tells a class from others though it does not say what a text means.

    It is how long a text is, what it has of `FORMS`, how it begins or ends, and runs of words that
    are the same in many texts. The strongest come first in each class.
    """
    sizes = sizes_of(texts.examples.labels, len(texts.classes))
    enough = np.minimum(sizes, len(texts) - sizes) >= FEWEST
    if not enough.any():
        return []
    least = max(int(TELLING_MARK * sizes[enough].min()), 2)
    found = [*_lengths(texts, sizes, enough)]
    of_marks = list[tuple[float, int, np.ndarray, Shortcut]]()
    for marks in (_forms(texts), *_beginnings_and_ends(texts, least), _phrases(texts, least)):
        of_marks += _telling(texts, marks, sizes, enough)
    of_marks.sort(key=lambda each: -each[0])
    kept: dict[int, list[np.ndarray]] = {}
    for _, number, rows, shortcut in of_marks:
        others = kept.setdefault(number, [])
        if len(others) < _SHOWN and all(jaccard(rows, other) < _SAME for other in others):
            others.append(rows)
            found.append(shortcut)
    return found


def _members(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The texts and the classes of all pairs of a text and a label of it."""
    if labels.ndim == 2:
        rows, classes = np.nonzero(labels)
        return rows, classes
    return np.arange(len(labels)), labels


def _lengths(texts: Texts, sizes: np.ndarray, enough: np.ndarray) -> Iterator[Shortcut]:
    """Classes whose texts are longer or shorter than the others."""
    rows, classes = _members(texts.examples.labels)
    _, numbers, counts = np.unique(texts.lengths, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[numbers]  # Equal lengths share one.
    ranks = np.bincount(classes, rank[rows], minlength=len(sizes))
    others = len(texts) - sizes
    with np.errstate(invalid="ignore", divide="ignore"):
        area = (ranks - sizes * (sizes + 1) / 2) / (sizes * others)
    telling = np.flatnonzero(enough & (np.abs(area - 0.5) >= TELLING_LENGTH - 0.5))
    # Of two classes one is longer where the other is shorter.
    only_two = len(sizes) == 2 and texts.examples.labels.ndim == 1
    for number in telling[-1:].tolist() if only_two else telling.tolist():
        has = of_class(texts.examples.labels, number)
        more = area[number] > 0.5
        yield Shortcut(
            label=texts.classes[number],
            mark="more words" if more else "fewer words",
            in_class=float(np.median(texts.lengths[has])),
            elsewhere=float(np.median(texts.lengths[~has])),
            strength=float(max(area[number], 1 - area[number])),
            example=int(np.flatnonzero(has)[0]),
        )


def _forms(texts: Texts) -> _Marks:
    has = [np.flatnonzero(texts.forms >> bit & 1) for bit in range(len(FORMS))]
    marks = np.repeat(np.arange(len(has)), [len(rows) for rows in has])
    return _Marks([*FORMS], marks, np.concatenate(has))


def _beginnings_and_ends(texts: Texts, least: int) -> Iterator[_Marks]:
    """The first and the last words of texts, where `least` texts share them."""
    starts = texts.examples.starts + 1
    ends = starts + texts.lengths
    for words in _ENDS:
        rows = np.flatnonzero(texts.lengths > words)
        for name, firsts in (("begins with", starts[rows]), ("ends with", ends[rows] - words)):
            runs = texts.examples.inputs[firsts[:, None] + np.arange(words)]
            yield _named(texts, name, runs, rows, least)


def _phrases(texts: Texts, least: int) -> _Marks:
    """Runs of words anywhere, where `least` texts share them."""
    parts = [*texts.parts()]
    # So many that few of them reach `least` by chance.
    bits = int(np.clip(8 * len(texts.examples.inputs) // least, 1, 2**25)).bit_length()
    shift = np.uint32(32 - bits)
    totals = np.zeros(1 << bits, np.int32)
    for part in parts:
        np.add.at(totals, part.runs(_PHRASE).hashes >> shift, 1)

    def frequent(part: Part) -> tuple[np.ndarray, np.ndarray]:
        starts, owners, hashes = part.runs(_PHRASE)
        is_frequent = totals[hashes >> shift] >= least
        runs = part.tokens[starts[is_frequent, None] + np.arange(_PHRASE)]
        return runs, owners[is_frequent] + part.first

    tokens, rows = zip(*in_threads(frequent, parts), strict=True)
    return _named(texts, "has", np.concatenate(tokens), np.concatenate(rows), least)


def _named(texts: Texts, name: str, runs: np.ndarray, rows: np.ndarray, least: int) -> _Marks:
    """Marks of texts that have runs of tokens, [occurrences, n], if `least` texts share them."""
    hashes = np.zeros(len(runs), np.uint64)
    for column in runs.T:
        hashes = (hashes ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    _, firsts, numbers = np.unique(hashes, return_index=True, return_inverse=True)
    pairs = np.unique(numbers.astype(np.int64) * len(texts) + rows)
    marks, rows = np.divmod(pairs, len(texts))
    kept = np.bincount(marks, minlength=len(firsts)) >= least
    index = np.cumsum(kept) - 1
    names = [f"{name} {texts.said(runs[first])!r}" for first in firsts[kept].tolist()]
    return _Marks(names, index[marks[kept[marks]]], rows[kept[marks]])


def _telling(
    texts: Texts, marks: _Marks, sizes: np.ndarray, enough: np.ndarray
) -> Iterator[tuple[float, int, np.ndarray, Shortcut]]:
    """The marks that tell a class: their strength, the class, the texts that have them."""
    from scipy.sparse import csr_matrix

    rows, classes = _members(texts.examples.labels)
    has = csr_matrix(
        (np.ones(len(marks.rows)), (marks.marks, marks.rows)), shape=(len(marks.names), len(texts))
    )
    members = csr_matrix((np.ones(len(rows)), (rows, classes)), shape=(len(texts), len(sizes)))
    both = (has @ members).tocoo()
    totals = np.asarray(has.sum(axis=1)).ravel()
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = both.data / sizes[both.col]
        outside = (totals[both.row] - both.data) / (len(texts) - sizes[both.col])
    telling = enough[both.col] & (inside - outside >= TELLING_MARK)
    telling &= inside >= _TIMES_AS_OFTEN * outside
    for entry in np.flatnonzero(telling).tolist():
        mark, number = int(both.row[entry]), int(both.col[entry])
        having = has.indices[has.indptr[mark] : has.indptr[mark + 1]]
        strength = float(inside[entry] - outside[entry])
        yield (
            strength,
            number,
            having,
            Shortcut(
                label=texts.classes[number],
                mark=marks.names[mark],
                in_class=float(inside[entry]),
                elsewhere=float(outside[entry]),
                strength=strength,
                example=int(having[of_class(texts.examples.labels[having], number)].min()),
            ),
        )
