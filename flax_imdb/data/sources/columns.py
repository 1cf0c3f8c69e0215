"""Which columns are the text and the label."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

from flax_imdb.data.sources.table import Table, listed, shown
from flax_imdb.errors import InputError

# In small letters, without blanks, hyphens and underscores.
TEXT_NAMES = frozenset(
    (
        *("text", "texts", "sentence", "content", "body", "document", "utterance"),
        *("review", "reviews", "reviewtext", "reviewbody", "reviewcontent", "feedback"),
        *("comment", "comments", "commenttext", "message", "messages", "sms"),
        *("tweet", "tweets", "tweettext", "post", "posttext"),
    )
)
"""Names of columns of texts."""

LABEL_NAMES = frozenset(
    (
        *("label", "labels", "class", "target", "category", "topic", "intent", "emotion"),
        *("sentiment", "polarity", "stars", "star", "starrating", "rating", "overall", "score"),
    )
)
"""Names of columns of labels."""


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns that are read.

    Attributes:
      texts: those of the text, in the order in which they are joined.
      label: that of the label.
      note: how they were found; empty if they were asked for.
    """

    texts: tuple[str, ...]
    label: str
    note: str = ""


def choose_columns(table: Table, texts: Sequence[str] | None, label: str | None) -> Columns:
    """Choose columns of a table.

    Args:
      table: the table.
      texts: the columns of the text; None: found by their names.
      label: the column of the label; None: found by its name.

    Raises:
      InputError: there are no such columns, or it is not clear which they are.
    """
    head = table.head()
    names = [name for name, _ in head]
    # Spreadsheets write commas after the last column, which name several columns "".
    twice = [name for name, count in Counter(filter(None, names)).items() if count > 1]
    if twice:
        raise InputError(f"{table.place} has several columns {shown(twice[0])}{table.hint}")
    if texts is not None and not texts:
        raise InputError("`text_columns` is empty: name the columns of the text")
    # Blanks may be around a name in a setting, and rarely in the file, too.
    texts = texts and [name if name in names else name.strip() for name in texts]
    label = label if label is None or label in names else label.strip()
    asked = [("text_columns", name) for name in texts or ()]
    if label is not None:
        asked.append(("label_column", label))
    for setting, name in asked:
        if name not in names:
            raise InputError(
                f"`{setting}` {name} is not a column of {table.place}; {_those_of(head)}"
                f"{table.hint}"
            )
    if len({name for _, name in asked}) < len(asked):
        raise InputError(
            f"`text_columns` and `label_column` name a column twice: "
            f"{', '.join(name for _, name in asked)}"
        )
    given = [name for _, name in asked]
    found_label = (
        [label] if label is not None else _named(names, LABEL_NAMES, given, table.likely_labels())
    )
    given += found_label
    found_texts = list(texts or _named(names, TEXT_NAMES, given, table.likely_texts()))
    _check_no_doubt(table, head, texts is None, found_texts, found_label)
    chosen = Columns(tuple(found_texts), found_label[0])
    if not table.has_columns or len(asked) > len(texts or ()) > 0:
        return chosen
    return dataclasses.replace(chosen, note=_note(chosen, names))


def _named(
    names: Sequence[str], known: frozenset[str], taken: Sequence[str], likely: Sequence[str]
) -> list[str]:
    """The columns with one of the `known` names, or else the `likely` one."""
    found = [name for name in names if _plain(name) in known and name not in taken]
    return found or [name for name in likely if name not in taken]


def _plain(name: str) -> str:
    return name.casefold().translate({ord(character): None for character in " -_"})


def _check_no_doubt(
    table: Table,
    head: Sequence[tuple[str, str]],
    guessed: bool,
    texts: Sequence[str],
    labels: Sequence[str],
) -> None:
    doubts = []
    if guessed and len(texts) != 1:
        doubts.append(("text", "text_columns", texts))
    if len(labels) != 1:
        doubts.append(("label", "label_column", labels))
    if not doubts:
        return
    kinds = " and which the ".join(kind for kind, _, _ in doubts)
    settings = " and ".join(f"`{setting}`" for _, setting, _ in doubts)
    raise InputError(
        f"{table.place} does not make clear which column is the {kinds}: give {settings}; "
        f"{_those_of(head)}{table.hint}"
    )


def _those_of(head: Sequence[tuple[str, str]]) -> str:
    columns = [f"{shown(name)[1:-1]} ({shown(value, 25)})" for name, value in head]
    return f"its columns, with a value of each, are {listed(columns, 20)}"


def _note(chosen: Columns, names: Sequence[str]) -> str:
    texts = " and ".join(shown(name)[1:-1] for name in chosen.texts)
    unused = [
        shown(name)[1:-1] for name in names if name and name not in (*chosen.texts, chosen.label)
    ]
    rest = f"; not used: {listed(unused, 10)}" if unused else ""
    return f"the text is column {texts}, the label column {shown(chosen.label)[1:-1]}{rest}"
