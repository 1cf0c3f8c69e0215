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
from flax_imdb.check.learning_curve import LearningCurve, are_right, learn
from flax_imdb.check.shortcuts import Shortcut, find_shortcuts
from flax_imdb.check.texts import Texts, read_texts
from flax_imdb.check.word_counts import weigh_words
from flax_imdb.check.word_model import WordModel, fold_numbers
from flax_imdb.check.wrong_labels import WrongLabels, find_wrong_labels
from flax_imdb.data import DataConfig
from flax_imdb.data.encoder import OnRead
from flax_imdb.data.sources import SequenceSource, find_source
from flax_imdb.data.sources.labels import FEW_EXAMPLES, sizes_of
from flax_imdb.errors import InputError

__all__ = [
    "KINDS",
    "MISSING",
    "Checked",
    "Finding",
    "Labels",
    "LearningCurve",
    "Shortcut",
    "check_dataset",
]

# Probabilities of all classes for all texts, in memory: 400 MB.
_MOST_PROBABILITIES = 100_000_000


@dataclasses.dataclass(frozen=True)
class Labels:
    """What word counts say of the labels.

    Attributes:
      chosen: indices of the texts that have been looked at.
      few: the classes with too few texts to say anything of their labels.
      wrong: what was found of the chosen texts; None if nothing can be said.
      curve: whether more texts would help; None if nothing can be said.
      problem: why nothing can be said of the labels; empty if something can.
    """

    chosen: np.ndarray
    few: tuple[str, ...]
    wrong: WrongLabels | None = None
    curve: LearningCurve | None = None
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Checked:
    """What was found in a dataset.

    Attributes:
      texts: the texts.
      duplicates: the texts that are alike.
      labels: what was found of the labels.
      shortcuts: what tells a class without its meaning.
      findings: the doubtful texts: probable wrong labels first, the most doubtful first.
      notes: what was not looked at, and why.
    """

    texts: Texts
    duplicates: Duplicates
    labels: Labels
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
        if (wrong := self.labels.wrong) is not None:
            labels = {
                "looked_at": len(self.labels.chosen),
                "estimated_wrong": wrong.estimated,
                "estimated_of": round(float(np.sum(wrong.joint))),
                "probable": int(np.count_nonzero(wrong.is_probable)),
                "without": [*self.labels.few],
            }
        shortcuts = []
        for each in self.shortcuts:
            shown = dataclasses.asdict(each)
            shortcuts.append(shown | {"example": texts.where(each.example)})
        curve = self.labels.curve
        return {
            "dataset": texts.source.name,
            "summary": self.summary(),
            "notes": [
                *filter(None, [texts.source.note]),
                *(*texts.source.remarks, *texts.source.warnings, *self.notes),
            ],
            "findings": self.counts,
            "labels": labels,
            "shortcuts": shortcuts,
            "learning_curve": curve and dataclasses.asdict(curve) | {"verdict": curve.verdict},
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
            "different_words": len(np.unique(texts.examples.inputs)) - 1,  # But for <start>.
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
    on_step("looking at labels", 0, None)
    with ThreadPoolExecutor(1) as beside:
        shortcuts = beside.submit(find_shortcuts, texts)
        labels = _look_at_labels(texts, duplicates)
    wrong = labels.wrong
    findings = [*(of_wrong_labels(texts, labels.chosen, wrong) if wrong else ())]
    findings += of_duplicates(texts, duplicates)
    findings += [*of_spelling(texts), *of_characters(texts)]
    order = [*KINDS]
    findings.sort(key=lambda finding: order.index(finding.kind))
    notes = [*([] if duplicates.near else [MISSING]), *filter(None, [labels.problem])]
    return Checked(
        texts=texts,
        duplicates=duplicates,
        labels=labels,
        shortcuts=shortcuts.result(),
        findings=findings,
        notes=tuple(notes),
    )


def _look_at_labels(texts: Texts, duplicates: Duplicates) -> Labels:
    """What out-of-fold probabilities say of the labels."""
    chosen, classes, few = _with_enough(texts, duplicates)
    labels = Labels(chosen, few)

    def without(why: str) -> Labels:
        return dataclasses.replace(labels, problem=f"labels were not looked at: {why}")

    own = texts.examples.labels[chosen]
    if len(classes) < (1 if own.ndim == 2 else 2):
        return without(
            f"there are fewer than two classes with {FEW_EXAMPLES} different texts or more"
        )
    if len(chosen) * len(classes) > _MOST_PROBABILITIES:
        return without(
            f"{len(chosen):,} texts times {len(classes):,} classes are more than "
            f"{_MOST_PROBABILITIES:,}"
        )
    features = weigh_words(texts)[chosen]
    if not features.shape[1]:
        return without("no word is in two texts")
    known = own[:, classes] if own.ndim == 2 else np.searchsorted(classes, own)
    model = WordModel(features, known, len(classes))
    folds = fold_numbers(texts.examples.labels, duplicates.first)[chosen]
    likely = model.out_of_fold(folds)
    labels = dataclasses.replace(labels, curve=learn(model, folds, likely))
    right, guess = float(np.mean(are_right(known, likely))), _best_guess(known)
    if right <= guess + 2 * np.sqrt(guess * (1 - guess) / len(known)):
        return without(
            f"the words do not tell them, right in {right:.1%}, where the most frequent answer is "
            f"in {guess:.1%}"
        )
    wrong = find_wrong_labels(known, likely)
    if own.ndim == 2:
        proposed = own.copy()
        proposed[:, classes] = wrong.proposed
    else:
        proposed = classes[wrong.proposed]
    return dataclasses.replace(labels, wrong=dataclasses.replace(wrong, proposed=proposed))


def _with_enough(
    texts: Texts, duplicates: Duplicates
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """The texts and the classes that can be looked at, and the names of the other classes.

    Copies, which are in one fold, count once.
    """
    labels = texts.examples.labels
    sizes = sizes_of(labels[~duplicates.is_copy], len(texts.classes))
    enough = sizes >= FEW_EXAMPLES
    if labels.ndim == 2:
        enough &= np.count_nonzero(~duplicates.is_copy) - sizes >= FEW_EXAMPLES
        chosen = np.arange(len(labels))
    else:
        chosen = np.flatnonzero(enough[labels])
    few = tuple(texts.classes[number] for number in np.flatnonzero(~enough).tolist())
    return chosen, np.flatnonzero(enough), few


def _best_guess(labels: np.ndarray) -> float:
    """How often the most frequent label, or set of labels, is right."""
    _, counts = np.unique(labels, axis=0, return_counts=True)
    return float(counts.max() / len(labels))


def _spread(numbers: np.ndarray) -> dict[str, float]:
    """The least, the most, and what lies between."""
    shares = {"least": 0, "median": 0.5, "95 %": 0.95, "most": 1}
    return {name: float(np.quantile(numbers, share)) for name, share in shares.items()}
