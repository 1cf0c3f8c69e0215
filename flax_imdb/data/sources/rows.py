"""The rows of a table that have a text and a label, and what is said about the others."""

import dataclasses
from collections.abc import Sequence

from flax_imdb.data.config import MAX_CHARACTERS
from flax_imdb.data.sources.columns import Columns
from flax_imdb.data.sources.labels import problem_of_label
from flax_imdb.data.sources.table import Bad, Table
from flax_imdb.data.sources.text_files import decoding_problem, encoding_hint, not_in
from flax_imdb.errors import InputError

SHOWN_ROWS = 3
"""Of so many bad rows it is said what is wrong."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of a table that have a text and a label.

    Attributes:
      texts: the texts, those of several columns joined by a line break.
      labels: their labels as written, without white space around them.
      label_names: the names of the classes, in their order, where the format has them.
      remarks: what to tell the user: which columns were chosen, and which rows left out.
    """

    texts: list[str]
    labels: list[str]
    label_names: tuple[str, ...] | None
    remarks: tuple[str, ...]


def read_rows(table: Table, columns: Columns, skip_bad_rows: bool) -> Rows:
    """Read the texts and labels of a table.

    Args:
      table: the table.
      columns: the columns to read.
      skip_bad_rows: leave out rows without a text or a label.

    Raises:
      InputError: there are none, or some are bad and are not to be left out.
    """
    texts: list[str] = []
    labels: list[str] = []
    seen: dict[str, str] = {}  # Of equal labels one is kept in memory.
    bad: list[str] = []
    bad_rows = 0
    for position, values in table.records((columns.label, *columns.texts)):
        if isinstance(values, Bad):
            problem: str = values
        else:
            label = (values[0] or "").strip()
            text = text_of(values[1:])
            problem = problem_of_text(text, table.encoding)
            if label not in seen:
                problem = (
                    decoding_problem(label, table.encoding) or problem_of_label(label) or problem
                )
        if not problem:
            texts.append(text)
            labels.append(seen.setdefault(label, label))
            continue
        bad_rows += 1
        if bad_rows <= SHOWN_ROWS:
            bad.append(f"{table.unit} {position} {problem}".strip())
    note = note_on_bad_rows(bad, bad_rows, len(texts) + bad_rows)
    if bad_rows and not skip_bad_rows:
        undecoded = any(problem.endswith(not_in(table.encoding)) for problem in bad)
        may_hint = undecoded and "encoding" in table.takes
        hint = f"; {encoding_hint(table.encoding)}" if may_hint else ""
        raise InputError(
            f"{table.place}: {note} cannot be used; correct them, or leave them out with "
            f"`skip_bad_rows`{hint}{table.hint_on_rows}"
        )
    if not texts:
        raise InputError(f"{table.place} has no rows" + (f": {note} are bad" if bad_rows else ""))
    remarks = [f"{table.place}: {columns.note}"] if columns.note else []
    if table.note:
        remarks.append(f"{table.place}: {table.note}")
    if bad_rows:
        remarks.append(f"{table.place}: left out {note}")
    return Rows(texts, labels, table.class_names(columns.label), tuple(remarks))


def text_of(parts: Sequence[str | None]) -> str:
    """The text in some columns: what is not empty, joined by line breaks."""
    if len(parts) == 1:
        return parts[0] or ""
    return "\n".join(part for part in parts if part and not part.isspace())


def problem_of_text(text: str, encoding: str) -> str:
    """Why a text cannot be used, as the end of a sentence; empty if it can."""
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
