"""Predictions for the rows of a file, which is written again with the answers in new columns."""

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from flax_imdb.answers import SEPARATOR, Answer, Answers
from flax_imdb.data import DataConfig
from flax_imdb.data.config import column_names
from flax_imdb.data.sources import (
    Added,
    Bad,
    FileTable,
    choose_texts,
    open_unlabelled,
)
from flax_imdb.data.sources.rows import SHOWN_ROWS, note_on_bad_rows, problem_of_text, text_of
from flax_imdb.data.sources.table import Value
from flax_imdb.data.sources.text_files import format_of
from flax_imdb.errors import InputError, warn
from flax_imdb.paths import local_path, writing

# At once, so that many are predicted together, and memory does not grow with the file.
_ROWS, _CHARACTERS = 8_192, 2**22


class Rows(NamedTuple):
    """Some rows of a file.

    Attributes:
      names: what messages call them, such as ``"line 5"``.
      texts: their texts; `Bad` where there is none.
      originals: what the table wants to write them again.
    """

    names: list[str]
    texts: list[str]
    originals: list[Any]


class InputFile:
    """The texts in a file to predict on.

    Args:
      place: its path.
      config: how it is read, but for `text_columns`: those that the model was trained on are taken
        if they are there and no others are `given`.
      given: the settings that were asked for, which must have an effect.

    Attributes:
      table: the file.
      columns: those of the text.

    Raises:
      InputError: there is no such file, or no such columns.
    """

    def __init__(self, place: str, config: DataConfig, given: Collection[str] = ()):
        takes = [name for name in given if name in ("columns", "delimiter", "encoding")]
        self.table: FileTable = open_unlabelled("`input`", place, config, takes)
        if "text_columns" in given and not self.table.has_columns:
            raise InputError(f"`text_columns` {config.text_columns} has no effect on {place}")
        columns = column_names(config.text_columns)
        asked = columns if "text_columns" in given else None
        self.columns = choose_texts(self.table, asked, usual=columns)
        self._warn_of_delimiter()
        self._skip = config.skip_bad_rows
        self._bad: list[str] = []
        self._left_out, self._rows = 0, 0

    def _warn_of_delimiter(self) -> None:
        """Of a single column whose name looks like those of several."""
        if self.table.has_columns and len(self.table.head()) == 1:
            (name,) = self.columns
            for mark in filter(name.__contains__, ";\t|,"):
                warn(
                    f"{self.table.place} has one column, {name!r}, and each whole row is taken for "
                    f"a text: --delimiter {mark!r} would split it"
                )

    @property
    def note(self) -> str:
        """Which rows were left out so far; empty if none were."""
        if not self._left_out:
            return ""
        note = note_on_bad_rows(self._bad, self._left_out, self._rows)
        return f"{self.table.place}: left out {note}"

    def read(self) -> Iterator[Rows]:
        """The rows, some at a time.

        Raises:
          InputError: the file cannot be read any further, or a row is not to be understood.
        """
        rows, characters = Rows([], [], []), 0
        for place, values, original in self.table.rows(self.columns):
            self._rows += 1
            name = f"{self.table.unit} {place}"
            text = values if isinstance(values, Bad) else self._text(values)
            if isinstance(text, Bad) and self._leave_out(name, text, isinstance(values, Bad)):
                continue
            for column, value in zip(rows, (name, text, original), strict=True):
                column.append(value)
            characters += len(text)
            if len(rows.names) == _ROWS or characters >= _CHARACTERS:
                yield rows
                rows, characters = Rows([], [], []), 0
        if rows.names:
            yield rows

    def _text(self, values: Sequence[Value]) -> str:
        text = text_of(values)
        problem = problem_of_text(text, self.table.encoding)
        return Bad(problem) if problem else text

    def _leave_out(self, name: str, problem: Bad, is_broken: bool) -> bool:
        """Whether to leave out a row without a text; InputError if it cannot be written either."""
        if not self._skip:
            if is_broken:
                raise InputError(
                    f"{self.table.place}: {name} {problem}; correct it, or leave such rows out "
                    f"with `skip_bad_rows`{self.table.hint_on_rows}"
                )
            return False
        self._left_out += 1
        if self._left_out <= SHOWN_ROWS:
            self._bad.append(f"{name} {problem}")
        return True


def check_form(place: str, output: str, json: bool = False) -> None:
    """Raise InputError unless the names of both files say the same format, compressed or not.

    Args:
      place: the path of the input.
      output: the path of the output.
      json: whether JSON is asked for.
    """
    ours, theirs = (format_of(local_path("`output`", path, "file")) for path in (place, output))
    if ours[0] != theirs[0] or (theirs[1] and theirs[0] == ".parquet"):
        raise InputError(
            f"`output` {output} does not end in {ours[0]}: it has the form of the input, {place}"
        )
    if json and "json" not in ours[0]:
        raise InputError(f"`json` has no effect on {output}, which has the form of the input")


def predict_file(texts: InputFile, output: str, answers: Answers, overwrite: bool = False) -> None:
    """Write the rows of a file again, as they are, with the answers in new columns.

    Args:
      texts: the file.
      output: the new file, which gets its name once it is complete.
      answers: what answers.
      overwrite: whether to replace a file that is there.

    Raises:
      InputError: a file cannot be read or written.
    """
    layout = Layout.of(texts.table, answers)
    compression = format_of(local_path("`output`", output, "file"))[1]
    with (
        writing("`output`", output, overwrite) as file,
        texts.table.writing(file, compression, layout.added) as write,
    ):
        for rows in texts.read():
            found = answers(rows.texts, rows.names)
            write(rows.originals, [layout.values(answer) for answer in found])


@dataclasses.dataclass(frozen=True)
class Layout:
    """The columns that are added to a file.

    They are ``predicted_label`` and, for each class, ``probability_of_CLASS``. Where the likeliest
    classes alone are shown they are ``predicted_label``, ``probability``, ``predicted_label_2``,
    ``probability_2`` and so on. Where values may be nested they are ``predicted_label`` and
    ``probabilities``. Where a text may have several labels, ``predicted_labels`` is the first: a
    list, or in a table of texts the labels with ``|`` between them; ``likeliest_label`` and so on
    have the likeliest. With prediction sets ``prediction_set`` is the second, written as several
    labels are. If the file has one of them, all end in an underscore, or in several.

    Attributes:
      added: their names and types.
      ranks: how many of the likeliest classes are shown; None: all.
      nested: whether the probabilities are in one column.
    """

    added: dict[str, type]
    ranks: int | None
    nested: bool

    @classmethod
    def of(cls, table: FileTable, answers: Answers) -> "Layout":
        """The layout for a table."""
        several, of_rank = answers.multi_label, "predicted_label"
        added: dict[str, type] = {"predicted_label": str}
        if several:
            of_rank = "likeliest_label"
            added = {"predicted_labels": list if table.lists else str}
        if answers.abstain is not None:
            added["prediction_set"] = list if table.lists else str
        if table.nested:
            added["probabilities"] = dict
        elif answers.ranks is None:
            added |= {f"probability_of_{name}": float for name in answers.classes}
        else:
            added |= {of_rank: str, "probability": float}
            for rank in range(2, answers.ranks + 1):
                added |= {f"{of_rank}_{rank}": str, f"probability_{rank}": float}
        # Of objects in objects the outer name is taken, too.
        taken = {part for name, _ in table.head() for part in (name, name.partition(".")[0])}
        while taken & added.keys():
            added = {f"{name}_": kind for name, kind in added.items()}
        return cls(added, answers.ranks, table.nested)

    def values(self, answer: Answer) -> list[Added]:
        """The values for an answer, in the order of `added`."""
        if answer.problem:
            return [None] * len(self.added)
        first: list[Added] = [answer.label if answer.labels is None else self._of(answer.labels)]
        if answer.prediction_set is not None:
            first.append(self._of(answer.prediction_set))
        if self.nested:
            return [*first, dict(answer.probabilities)]
        if self.ranks is None:
            return [*first, *answer.probabilities.values()]
        ranked = [value for each in answer.probabilities.items() for value in each]
        if answer.labels is None:
            del ranked[0]  # It is the label, or that is not shown.
        return [*first, *ranked]

    def _of(self, labels: Sequence[str]) -> Added:
        return [*labels] if list in self.added.values() else SEPARATOR.join(labels)
