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

SEVERAL_LABELS_NAMES = frozenset(
    (
        *("tags", "tag", "genres", "genre", "categories", "topics", "emotions", "keywords"),
        *("classes", "targets", "intents"),
    )
)
"""More names of columns, where a text may have several labels."""


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns that are read.

    Attributes:
      texts: those of the text, in the order in which they are joined.
      labels: that of the label; or several, whose names are labels.
      note: how they were found; empty if they were asked for.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    note: str = ""


def choose_texts(
    table: Table, texts: Sequence[str] | None, usual: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Choose the columns of the text, of a table that need not have labels.

    Args:
      table: the table.
      texts: the columns that are asked for.
      usual: columns to take if none are asked for and these are all there; otherwise the one with a
        usual name is taken.

    Raises:
      InputError: there are no such columns, or it is not clear which they are.
    """
    head = table.head()
    names = _names(table, head)
    if texts is None and usual and set(usual) <= set(names):
        return tuple(usual)
    texts = texts and [name if name in names else name.strip() for name in texts]
    _check_asked(table, head, texts, None)
    found = _named(names, TEXT_NAMES, [], table.likely_texts()) if texts is None else texts
    found = names if len(names) == 1 else found
    if len(found) != 1 and texts is None:
        raise InputError(
            f"{table.place} does not make clear which column is the text: give `text_columns`; "
            f"{_those_of(head)}{table.hint}"
        )
    return tuple(found)


def is_text_name(name: str) -> bool:
    """Whether a column of this name is usually one of texts."""
    return _plain(name) in TEXT_NAMES


def choose_columns(
    table: Table,
    texts: Sequence[str] | None,
    labels: Sequence[str] | None,
    multi_label: bool = False,
) -> Columns:
    """Choose columns of a table.

    Args:
      table: the table.
      texts: the columns of the text; None: found by their names.
      labels: the column of the label, or several; None: one that is found by its name.
      multi_label: whether a text may have several labels.

    Raises:
      InputError: there are no such columns, or it is not clear which they are.
    """
    head = table.head()
    names = _names(table, head)
    # Blanks may be around a name in a setting, and rarely in the file, too.
    texts, labels = (
        asked and [name if name in names else name.strip() for name in asked]
        for asked in (texts, labels)
    )
    _check_asked(table, head, texts, labels)
    asked, doubts = [*(texts or ()), *(labels or ())], {}
    if labels is None:
        known = LABEL_NAMES | SEVERAL_LABELS_NAMES if multi_label else LABEL_NAMES
        labels = _named(names, known, asked, table.likely_labels())
        if len(labels) != 1:
            doubts["label"] = "label_column"
    if texts is None:
        texts = _named(names, TEXT_NAMES, [*asked, *labels], table.likely_texts())
        if len(texts) != 1:
            doubts = {"text": "text_columns"} | doubts
    if doubts:
        settings = " and ".join(f"`{setting}`" for setting in doubts.values())
        raise InputError(
            f"{table.place} does not make clear which column is the "
            f"{' and which the '.join(doubts)}: give {settings}; {_those_of(head)}{table.hint}"
        )
    guessed = len(asked) < len(texts) + len(labels)
    note = _note(names, texts, labels) if guessed and table.has_columns else ""
    return Columns(tuple(texts), tuple(labels), note)


def _names(table: Table, head: Sequence[tuple[str, str]]) -> list[str]:
    """The names of the columns; InputError if two are alike."""
    names = [name for name, _ in head]
    # Spreadsheets write commas after the last column, which name several columns "".
    twice = [name for name, count in Counter(filter(None, names)).items() if count > 1]
    if twice:
        raise InputError(f"{table.place} has several columns {shown(twice[0])}{table.hint}")
    return names


def _check_asked(
    table: Table,
    head: Sequence[tuple[str, str]],
    texts: Sequence[str] | None,
    labels: Sequence[str] | None,
) -> None:
    """Raise InputError if the columns that are asked for are not there."""
    for setting, what, columns in (
        ("text_columns", "text", texts),
        ("label_column", "label", labels),
    ):
        if columns is not None and not columns:
            raise InputError(f"`{setting}` is empty: name the columns of the {what}")
    asked = [("text_columns", name) for name in texts or ()]
    asked += [("label_column", name) for name in labels or ()]
    names = [name for name, _ in head]
    for setting, name in asked:
        if name not in names:
            raise InputError(
                f"`{setting}` {name} is not a column of {table.place}; {_those_of(head)}"
                f"{table.hint}"
            )
    if len({name for _, name in asked}) < len(asked):
        raise InputError(
            "`text_columns` and `label_column` name a column twice: "
            f"{', '.join(name for _, name in asked)}"
        )


def _named(
    names: Sequence[str], known: frozenset[str], taken: Sequence[str], likely: Sequence[str]
) -> list[str]:
    """The columns with one of the `known` names, or else the `likely` one."""
    found = [name for name in names if _plain(name) in known and name not in taken]
    return found or [name for name in likely if name not in taken]


def _plain(name: str) -> str:
    return name.casefold().translate({ord(character): None for character in " -_"})


def _those_of(head: Sequence[tuple[str, str]]) -> str:
    columns = [f"{shown(name)[1:-1]} ({shown(value, 25)})" for name, value in head]
    return f"its columns, with a value of each, are {listed(columns, 20)}"


def _note(names: Sequence[str], texts: Sequence[str], labels: Sequence[str]) -> str:
    unused = [shown(name)[1:-1] for name in names if name and name not in (*texts, *labels)]
    rest = f"; not used: {listed(unused, 10)}" if unused else ""
    columns = " and ".join(shown(name)[1:-1] for name in texts)
    of_label = listed([shown(name)[1:-1] for name in labels], 10)
    return f"the text is column {columns}, the label column {of_label}{rest}"
