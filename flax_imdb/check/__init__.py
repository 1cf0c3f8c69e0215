"""Looking at a dataset before anything is trained on it: ``flax-imdb check``."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from flax_imdb.check.duplicates import MISSING, Duplicates, find_duplicates
from flax_imdb.check.findings import (
    KINDS,
    Finding,
    code_of,
    of_characters,
    of_duplicates,
    of_spelling,
    of_wrong_labels,
    row_of,
    write_csv,
)
from flax_imdb.check.learning_curve import LearningCurve, learn
from flax_imdb.check.shortcuts import Shortcut, find_shortcuts
from flax_imdb.check.texts import Texts, read_texts, sizes_of
from flax_imdb.check.word_counts import weigh_words
from flax_imdb.check.word_model import WordModel, fold_numbers
from flax_imdb.check.wrong_labels import WrongLabels, find_wrong_labels
from flax_imdb.data import DataConfig
from flax_imdb.data.encoder import OnRead
from flax_imdb.data.sources import SequenceSource, find_source
from flax_imdb.data.sources.labels import FEW_EXAMPLES
from flax_imdb.errors import InputError

__all__ = ["KINDS", "MISSING", "Checked", "Finding", "LearningCurve", "Shortcut", "check_dataset"]

# Probabilities of all classes for all texts, in memory: 400 MB.
_MOST_PROBABILITIES = 100_000_000


@dataclasses.dataclass(frozen=True)
class Checked:
    """What was found in a dataset.

    Attributes:
      texts: the texts.
      duplicates: the texts that are alike.
      chosen: indices of the texts whose labels have been looked at.
      few: the classes with too few texts to say anything of their labels.
      wrong: what was found of the labels of the chosen texts; None if nothing can be said.
      curve: whether more texts would help; None likewise.
      shortcuts: what tells a class without its meaning.
      findings: the doubtful texts: probable wrong labels first, the most doubtful first.
      notes: what was not looked at, and why.
    """

    texts: Texts
    duplicates: Duplicates
    chosen: np.ndarray
    few: tuple[str, ...]
    wrong: WrongLabels | None
    curve: LearningCurve | None
    shortcuts: Sequence[Shortcut]
    findings: Sequence[Finding]
    notes: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings of each kind."""
        counts = Counter(finding.kind for finding in self.findings)
        return {kind: counts[kind] for kind in KINDS}

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        texts = self.texts
        labels = None
        if self.wrong is not None:
            labels = {
                "looked_at": len(self.chosen),
                "estimated_wrong": self.wrong.estimated,
                "probable": int(np.count_nonzero(self.wrong.is_probable)),
            }
        shortcuts = []
        for each in self.shortcuts:
            shown = dataclasses.asdict(each)
            shortcuts.append(shown | {"example": texts.where(each.example)})
        curve = self.curve and dataclasses.asdict(self.curve) | {"verdict": self.curve.verdict}
        return {
            "dataset": texts.source.name,
            "summary": self.summary(),
            "notes": [*texts.source.remarks, *texts.source.warnings, *self.notes],
            "findings": self.counts,
            "labels": labels,
            "shortcuts": shortcuts,
            "learning_curve": curve,
            "rows": [row_of(texts, finding) for finding in self.findings],
        }

    def summary(self) -> dict[str, Any]:
        """Numbers of rows, classes, lengths, duplicates and broken characters."""
        texts, labels = self.texts, self.texts.examples.labels
        sizes = sizes_of(labels, len(texts.classes)).tolist()
        copies = self.duplicates.is_copy
        exact = copies & (self.duplicates.similarity == 1)
        broken = Counter(code_of(each) for found in texts.broken.values() for each in found)
        return {
            "rows": len(texts),
            "train": int(np.count_nonzero(~texts.in_test)),
            "test": int(np.count_nonzero(texts.in_test)),
            "classes": dict(zip(texts.classes, sizes, strict=True)),
            "without_label": int(np.count_nonzero(labels.sum(axis=1) == 0))
            if labels.ndim == 2
            else 0,
            "words": _spread(texts.lengths),
            "characters": _spread(texts.characters),
            "without_words": int(np.count_nonzero(texts.lengths == 0)),
            "different_words": len(texts.words),
            "broken_characters": {"rows": len(texts.broken), "rows_by_character": dict(broken)},
            "duplicates": int(np.count_nonzero(exact)),
            "near_duplicates": int(np.count_nonzero(copies & ~exact))
            if self.duplicates.near
            else None,
        }

    def write(self, file: Any) -> None:
        """Write the doubtful texts as CSV, in UTF-8, to a binary file."""
        write_csv(file, self.texts, self.findings)


def check_dataset(config: DataConfig, on_step: OnRead = lambda what, done, total: None) -> Checked:
    """Read a dataset as training does, and look for what may be wrong with it.

    Args:
      config: which texts, and how they are read.
      on_step: called while this goes on: with what is done, and how much of it.

    Raises:
      InputError: there are no such texts, they cannot be read, or are numeric sequences.
    """
    source = find_source(config)
    if isinstance(source, SequenceSource):
        raise InputError(f"`dataset` {config.dataset} holds numeric sequences: check is for texts")
    texts = read_texts(source, on_step)
    on_step("looking for duplicates", 0, None)
    duplicates = find_duplicates(texts)
    notes = [] if duplicates.near else [MISSING]
    on_step("looking at labels", 0, None)
    chosen, classes, few = _with_enough(texts)
    wrong = curve = None
    with ThreadPoolExecutor(1) as beside:
        shortcuts = beside.submit(find_shortcuts, texts)
        if problem := _problem(len(chosen), len(classes), texts.examples.labels.ndim):
            notes.append(problem)
        else:
            wrong, curve = _look_at_labels(texts, duplicates, chosen, classes)
    findings = [*(of_wrong_labels(texts, chosen, wrong) if wrong else ())]
    findings += of_duplicates(texts, duplicates)
    findings += [*of_spelling(texts), *of_characters(texts)]
    order = [*KINDS]
    findings.sort(key=lambda finding: order.index(finding.kind))
    return Checked(
        texts, duplicates, chosen, few, wrong, curve, shortcuts.result(), findings, tuple(notes)
    )


def _with_enough(texts: Texts) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """The texts and the classes that can be looked at, and the names of the other classes."""
    labels = texts.examples.labels
    sizes = sizes_of(labels, len(texts.classes))
    enough = sizes >= FEW_EXAMPLES
    if labels.ndim == 2:
        enough &= len(labels) - sizes >= FEW_EXAMPLES
        chosen = np.arange(len(labels))
    else:
        chosen = np.flatnonzero(enough[labels])
    few = tuple(texts.classes[number] for number in np.flatnonzero(~enough).tolist())
    return chosen, np.flatnonzero(enough), few


def _problem(texts: int, classes: int, axes: int) -> str:
    """Why the labels cannot be looked at; empty if they can."""
    if classes < (1 if axes == 2 else 2):
        return (
            f"labels were not looked at, nor what more texts would do: of fewer than two classes "
            f"there are {FEW_EXAMPLES} texts or more"
        )
    if texts * classes > _MOST_PROBABILITIES:
        return (
            f"labels were not looked at, nor what more texts would do: {texts:,} texts times "
            f"{classes:,} classes are more than {_MOST_PROBABILITIES:,}"
        )
    return ""


def _look_at_labels(
    texts: Texts, duplicates: Duplicates, chosen: np.ndarray, classes: np.ndarray
) -> tuple[WrongLabels, LearningCurve]:
    """What out-of-fold probabilities say of the chosen texts."""
    labels = texts.examples.labels[chosen]
    known = labels[:, classes] if labels.ndim == 2 else np.searchsorted(classes, labels)
    model = WordModel(weigh_words(texts)[chosen], known, len(classes))
    folds = fold_numbers(texts.examples.labels, duplicates.first)[chosen]
    likely = model.out_of_fold(folds)
    wrong = find_wrong_labels(known, likely)
    curve = learn(model, folds, likely)
    if labels.ndim == 2:
        proposed = labels.copy()
        proposed[:, classes] = wrong.proposed
    else:
        proposed = classes[wrong.proposed]
    return dataclasses.replace(wrong, proposed=proposed), curve


def _spread(numbers: np.ndarray) -> dict[str, float]:
    """The least, the most, and what lies between."""
    shares = {"least": 0, "median": 0.5, "95 %": 0.95, "most": 1}
    return {name: float(np.quantile(numbers, share)) for name, share in shares.items()}
