"""The doubtful texts, in the order in which they are to be looked at, as a table."""

import csv
import dataclasses
import io
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from flax_imdb.check.duplicates import Duplicates
from flax_imdb.check.texts import Texts, name_of
from flax_imdb.check.wrong_labels import WrongLabels

KINDS = {
    "label": "a label that the words contradict",
    "conflict": "the same text with another label",
    "leak": "the same text in both splits",
    "duplicate": "the same text again",
    "spelling": "a label that differs from another by case or blanks alone",
    "characters": "lost or broken characters",
}
"""The kinds of findings, in their order, and what they say."""

COLUMNS = ("line", "label", "proposed", "why", "finding", "score", "split", "file", "text")
"""Of the file that is written."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # What formulas begin with.


@dataclasses.dataclass(frozen=True)
class Finding:
    """What is doubtful about a text.

    Attributes:
      kind: one of `KINDS`.
      text: its index.
      proposed: another label for it; empty if there is none to propose.
      score: how doubtful it is, or how similar two texts are, in [0, 1].
      why: what is wrong, for a person.
    """

    kind: str
    text: int
    proposed: str
    score: float
    why: str


def of_wrong_labels(texts: Texts, chosen: np.ndarray, wrong: WrongLabels) -> Iterator[Finding]:
    """The doubtful labels: probable wrong ones first, and of these the most doubtful.

    Args:
      texts: all texts.
      chosen: indices of those that have been looked at.
      wrong: what was found, of these, with the classes of `texts`.
    """
    order = np.lexsort([-wrong.doubt, ~wrong.is_probable])
    for number in order[wrong.doubt[order] > 0].tolist():
        text, doubt = int(chosen[number]), float(wrong.doubt[number])
        proposed = name_of(wrong.proposed[number], texts.classes)
        sure = "probably wrong" if wrong.is_probable[number] else "perhaps wrong"
        why = f"{sure}: of the words, {proposed or 'no label'} is likelier by {doubt:.0%}"
        yield Finding("label", text, proposed, doubt, why)


def of_duplicates(texts: Texts, duplicates: Duplicates) -> Iterator[Finding]:
    """Texts that are alike: those of one group with different labels, and all copies."""
    copies = np.flatnonzero(duplicates.is_copy)
    groups: dict[int, list[int]] = {}
    for copy in copies.tolist():
        first = int(duplicates.first[copy])
        groups.setdefault(first, [first]).append(copy)
    for group in groups.values():
        yield from _conflicts(texts, group, duplicates)
    for copy in copies[np.argsort(-duplicates.similarity[copies], kind="stable")].tolist():
        first, similarity = int(duplicates.first[copy]), float(duplicates.similarity[copy])
        leaks = texts.in_test[copy] != texts.in_test[first]
        why = f"{_same(similarity)} {texts.where(first)}"
        if leaks:
            why += f", in the {texts.split(first)} split"
        yield Finding("leak" if leaks else "duplicate", copy, "", similarity, why)


def _conflicts(texts: Texts, group: Sequence[int], duplicates: Duplicates) -> Iterator[Finding]:
    """The texts of a group that do not have its most frequent label; all, if there are two such."""
    names = [name_of(texts.examples.labels[text], texts.classes) for text in group]
    (best, most), *others = Counter(names).most_common(2)
    if not others:
        return
    proposed = "" if others[0][1] == most else best
    # By label, the first text with it: of the group, and of those with the same words.
    of_group: dict[str, int] = {}
    of_words: dict[int, dict[str, int]] = {}
    for text, name in zip(group, names, strict=True):
        of_group.setdefault(name, text)
        of_words.setdefault(int(duplicates.same[text]), {}).setdefault(name, text)
    first = group[0]
    for text, name in zip(group, names, strict=True):
        if name == proposed:
            continue
        # How similar two texts are is known where they have the same words, or one has the first's.
        same, where = int(duplicates.same[text]), ""
        similarity = float(duplicates.similarity[text])
        of = next(
            each
            for each in (of_words[same], of_words[first], of_group)
            if len(each) > 1 or name not in each
        )
        label, other = next(each for each in of.items() if each[0] != name)
        if of is of_words[same]:
            similarity = 1.0
        elif same == first:
            similarity = float(duplicates.similarity[other])
        elif of is of_group:
            where = f"{texts.where(first)}, as is "
        why = f"{_same(similarity)} {where}{texts.where(other)}, which has {label or 'no label'}"
        yield Finding("conflict", text, proposed, similarity, why)


def _same(similarity: float) -> str:
    return "the same words as" if similarity == 1 else f"{similarity:.0%} like"


def of_spelling(texts: Texts) -> Iterator[Finding]:
    """Texts whose label has another name that is more frequent."""
    if len(texts.classes) == len(texts.written):
        return
    for text in range(len(texts)):
        label, usual = texts.label(text), name_of(texts.examples.labels[text], texts.classes)
        if label != usual and set(label.split("|")) != set(usual.split("|")):
            why = "differs from the usual name of the label by case or blanks alone"
            yield Finding("spelling", text, usual, 1.0, why)


def of_characters(texts: Texts) -> Iterator[Finding]:
    """Texts with lost or broken characters, those with most different ones first."""
    for text, broken in sorted(texts.broken.items(), key=lambda each: -len(each[1])):
        yield Finding("characters", text, "", 1.0, f"has {', '.join(map(code_of, broken[:5]))}")


def code_of(character: str) -> str:
    """What a character is called: ``"U+FFFD REPLACEMENT CHARACTER"``."""
    if len(character) > 1:
        return f"{character!r}, which is UTF-8 read as another encoding"
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X} {name}".strip()


def write_csv(file: BinaryIO, texts: Texts, findings: Sequence[Finding]) -> None:
    """Write a row for each finding, with `COLUMNS`, in UTF-8.

    An apostrophe is put before a text that a spreadsheet would take for a formula.
    """
    out = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for finding in findings:
        row = row_of(texts, finding)
        text = texts.excerpts[finding.text]
        text = f"'{text}" if text.startswith(_FORMULA) else text
        writer.writerow([*(row[name] for name in COLUMNS[:-1]), text])
    out.detach()  # It would close the file.


def row_of(texts: Texts, finding: Finding) -> dict[str, str | int | float]:
    """A finding as it is written, but for the text."""
    text = finding.text
    return {
        "line": texts.positions[text],
        "label": texts.label(text),
        "proposed": finding.proposed,
        "why": finding.why,
        "finding": finding.kind,
        "score": round(finding.score, 4),
        "split": texts.split(text),
        "file": texts.origins[texts.origin_of[text]].place,
    }
