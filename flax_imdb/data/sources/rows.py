"""The rows of a table that have a text and a label, and what is said about the others."""

import array
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from flax_imdb.data.config import MAX_CHARACTERS
from flax_imdb.data.sources.columns import Columns
from flax_imdb.data.sources.label_sets import LabelSets
from flax_imdb.data.sources.labels import Label, names_in, problem_of_label
from flax_imdb.data.sources.table import Bad, Table, Value
from flax_imdb.data.sources.text_files import decoding_problem, encoding_hint, not_in
from flax_imdb.errors import InputError

SHOWN_ROWS = 3
"""Of so many bad rows it is said what is wrong."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of a table that have a text and a label.

    Attributes:
      different: the different labels as written, without white space around them, in the order in
        which they come; or, where a text may have several, different tuples of labels.
      labels: of each row the index of its label in `different`, int32 [rows].
      label_names: the names of the classes, in their order, where the format has them.
      all_names: whether all of these are classes, and not those alone that a row has.
      remarks: what to tell the user: which columns were chosen, and which rows left out.
    """

    different: tuple[Label, ...]
    labels: np.ndarray
    label_names: tuple[str, ...] | None
    remarks: tuple[str, ...]
    all_names: bool = False

    @property
    def counts(self) -> dict[Label, int]:
        """Number of rows with each label."""
        return dict(zip(self.different, np.bincount(self.labels).tolist(), strict=True))


def read_rows(
    table: Table,
    columns: Columns,
    take: Callable[[str], object],
    skip_bad_rows: bool,
    sets: LabelSets | None = None,
    at: Callable[[int | str], object] = lambda position: None,
) -> Rows:
    """Read the texts and labels of a table.

    Args:
      table: the table.
      columns: the columns to read.
      take: called with each text; those of several columns are joined by a line break.
      skip_bad_rows: leave out rows without a text or a label.
      sets: how labels are written, where a text may have several.
      at: called with the position of each text, after `take`.

    Raises:
      InputError: there are none, or some are bad and are not to be left out.
    """
    labels = array.array("i")
    different: dict[Label, int] = {}
    of_label = len(columns.labels)
    bad: list[str] = []
    bad_rows = 0
    allowing: dict[str, None] = {}
    for position, values in table.records((*columns.labels, *columns.texts)):
        if isinstance(values, Bad):
            problem: str = values
        else:
            label = sets.read(values[:of_label]) if sets else _single(values[0])
            text = text_of(values[of_label:])
            problem = problem_of_text(text, table.encoding)
            if label not in different:
                problem = _problem_of_labels(label, table.encoding) or problem
        if not problem:
            labels.append(different.setdefault(label, len(different)))
            take(text)
            at(position)
            continue
        bad_rows += 1
        if bad_rows <= SHOWN_ROWS:
            bad.append(f"{table.unit} {position} {problem}".strip())
            if isinstance(problem, Bad) and problem.setting:
                allowing[problem.setting] = None
    note = note_on_bad_rows(bad, bad_rows, len(labels) + bad_rows)
    if bad_rows and not skip_bad_rows:
        undecoded = any(problem.endswith(not_in(table.encoding)) for problem in bad)
        may_hint = undecoded and "encoding" in table.takes
        hint = f"; {encoding_hint(table.encoding)}" if may_hint else ""
        allowed = "".join(f", or allow them with `{setting}`" for setting in allowing)
        raise InputError(
            f"{table.place}: {note} cannot be used; correct them, or leave them out with "
            f"`skip_bad_rows`{allowed}{hint}{table.hint_on_rows}"
        )
    if not labels:
        raise InputError(f"{table.place} has no rows" + (f": {note} are bad" if bad_rows else ""))
    remarks = [f"{table.place}: {columns.note}"] if columns.note else []
    if sets and sets.note:
        remarks.append(f"{table.place}: {sets.note}")
    if table.note:
        remarks.append(f"{table.place}: {table.note}")
    if bad_rows:
        remarks.append(f"{table.place}: left out {note}")
    known = sets.known if sets else None
    names = known or table.class_names(columns.labels[0])
    numbers = np.frombuffer(labels, np.int32)
    return Rows(tuple(different), numbers, names, tuple(remarks), known is not None)


def _single(value: Value) -> str:
    """The only label of a text."""
    if isinstance(value, tuple):
        return Bad("has a list of labels", "multi_label")
    return (value or "").strip()


def _problem_of_labels(label: Label, encoding: str) -> str:
    if isinstance(label, Bad):
        return label
    problems = (
        decoding_problem(name, encoding) or problem_of_label(name) for name in names_in(label)
    )
    return next(filter(None, problems), "")


def text_of(parts: Sequence[Value]) -> str:
    """The text in some columns: what is not empty, joined by line breaks; `Bad` if it is a list."""
    for part in parts:
        if isinstance(part, tuple):
            return Bad("has a list where a text should be")
    texts = [part for part in parts if isinstance(part, str)]
    if len(parts) == 1:
        return "".join(texts)
    return "\n".join(part for part in texts if part and not part.isspace())


def problem_of_text(text: str, encoding: str) -> str:
    """Why a text cannot be used, as the end of a sentence; empty if it can."""
    if isinstance(text, Bad):
        return text
    if not text or text.isspace():
        return "has no text"
    if len(text) > MAX_CHARACTERS:
        return f"has a text of {len(text):,} characters, of which {MAX_CHARACTERS:,} are allowed"
    if "\0" in text:
        return "has a null character in its text"
    return decoding_problem(text, encoding)


def note_on_bad_rows(first: Sequence[str], bad: int, rows: int) -> str:
    """How many of the rows are bad, and what is wrong with the first ones."""
    more = f" and {bad - len(first):,} more" if bad > len(first) else ""
    return f"{bad:,} of {rows:,} rows ({'; '.join(first)}{more})"
