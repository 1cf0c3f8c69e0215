"""Several labels of a text: how they are written, and reading them."""

import dataclasses
import itertools
from collections.abc import Collection, Iterator, Sequence

from flax_imdb.data.config import DataConfig
from flax_imdb.data.sources.columns import Columns
from flax_imdb.data.sources.table import Bad, Table, Value, shown
from flax_imdb.errors import InputError

SEPARATORS = ("|", ";", ",")
"""What is looked for between labels: the first of these that a label column has is taken."""

_ROWS_LOOKED_AT = 10_000
_YES, _NO = ("1", "1.0", "true", "True"), ("0", "0.0", "false", "False")


def joined_labels(classes: Sequence[str]) -> list[str]:
    """The classes that look like several labels, such as ``a|b`` beside ``a`` and ``b``."""
    known = {*classes}
    return [
        name
        for name in classes
        for mark in SEPARATORS
        if mark in name and known.issuperset(part.strip() for part in name.split(mark))
    ]


@dataclasses.dataclass(frozen=True)
class LabelSets:
    """How a text's labels are written, of which it may have any number.

    Attributes:
      columns: one, with the labels in a list or in a text; or several, whose names are the labels
        and which say 1 or 0.
      separator: what is between labels in a text; None: they are in lists.
      allow_none: whether a text without labels may have an empty field.
      note: how the separator was found; empty if it was not looked for.
    """

    columns: tuple[str, ...]
    separator: str | None = None
    allow_none: bool = False
    note: str = ""

    @classmethod
    def of(
        cls,
        table: Table,
        columns: Columns,
        config: DataConfig,
        given: Collection[str] | None = None,
    ) -> "LabelSets | None":
        """How the labels of a table are written; None if each text has one label.

        Args:
          table: the table.
          columns: the columns to read.
          config: the settings.
          given: those that must have an effect; others may be of another table. None: all.

        Raises:
          InputError: a setting has no effect, or it is not clear what separates the labels.
        """
        if not config.multi_label:
            return None
        if "multi_label" not in table.takes:
            raise InputError(
                f"`multi_label`: each text in {table.place} has the label of its folder alone; a "
                "file is needed"
            )
        separator, of_columns = config.label_separator, len(columns.labels) > 1
        for setting, value, useless in (
            ("label_separator", separator, of_columns or not table.has_columns),
            ("allow_no_labels", config.allow_no_labels, of_columns),
        ):
            if value and useless and (given is None or setting in given):
                where = "columns of 0 and 1" if of_columns else table.place
                raise InputError(f"`{setting}` {value} has no effect on {where}")
        sets = cls(columns.labels, separator, config.allow_no_labels)
        if separator is None and len(columns.labels) == 1:
            return sets._with_separator(table)
        return sets

    @property
    def known(self) -> tuple[str, ...] | None:
        """The names of all labels, if the columns say them."""
        return self.columns if len(self.columns) > 1 else None

    def read(self, values: Sequence[Value]) -> tuple[str, ...] | Bad:
        """The labels of a text, from its values of the columns."""
        if len(self.columns) > 1:
            return self._of_columns(values)
        (value,) = values
        if isinstance(value, tuple):
            labels = [label.strip() for label in value]
            return tuple(dict.fromkeys(labels)) if all(labels) else Bad("has an empty label")
        text = (value or "").strip()
        if text.startswith("[") and text.endswith("]"):
            return Bad(f"has a list that is written as a text, {shown(text)}, for its labels")
        labels = [part.strip() for part in text.split(self.separator)] if self.separator else [text]
        found = tuple(dict.fromkeys(filter(None, labels)))
        if not found and not self.allow_none:
            return Bad("has no label", "allow_no_labels")
        return found

    def _of_columns(self, values: Sequence[Value]) -> tuple[str, ...] | Bad:
        found = []
        for name, value in zip(self.columns, values, strict=True):
            value = value.strip() if isinstance(value, str) else value
            if value in _YES:
                found.append(name)
            elif value not in _NO:
                has = shown(value) if isinstance(value, str) and value else "no value"
                return Bad(f"has {has} in column {shown(name)[1:-1]}, where 0 or 1 is needed")
        return tuple(found)

    def _with_separator(self, table: Table) -> "LabelSets":
        """With the separator that the first rows have, if their labels are not in lists."""
        values = [*itertools.islice(self._values(table), _ROWS_LOOKED_AT)]
        if any(isinstance(value, tuple) for value in values):
            return self
        for mark in SEPARATORS:
            if any(mark in value for value in values if isinstance(value, str)):
                note = f"{shown(mark)} separates the labels of a text"
                return dataclasses.replace(self, separator=mark, note=note)
        raise InputError(
            f"{table.place}: column {self.columns[0]} has none of {' '.join(SEPARATORS)} between "
            "labels: give `label_separator`; or as `label_column` several columns of 0 and 1, such "
            "as a,b,c"
        )

    def _values(self, table: Table) -> Iterator[Value]:
        for _, values in table.records(self.columns):
            if not isinstance(values, Bad):
                yield values[0]
