"""What a run keeps of its dataset: ``vocabulary.json``."""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from flax_imdb.data.standardizer import Standardizer
from flax_imdb.data.tokenizer import SPECIAL_TOKENS, Vocabulary
from flax_imdb.data.words import TextRules
from flax_imdb.errors import InputError, is_number
from flax_imdb.paths import unreadable

# Of version 0.1.0, which knew film reviews alone.
_BEFORE = {"text": "keras", "classes": ["negative", "positive"]}


@dataclasses.dataclass(frozen=True)
class Task:
    """What a classifier reads, and what it answers.

    Attributes:
      classes: number of classes.
      multi_label: whether an example has any number of labels, instead of one.
      features: number of features of each step of a numeric sequence; None: it reads texts.
    """

    classes: int = 2
    multi_label: bool = False
    features: int | None = None

    @property
    def blank(self) -> np.ndarray:
        """A text or sequence of one step, for shapes: int32 [1] or float32 [1, features]."""
        return np.zeros(1, np.int32) if self.features is None else np.zeros((1, self.features), "f")

    @property
    def num_logits(self) -> int:
        """One for each class; of two that exclude each other there is that of the second alone."""
        return 1 if self.classes == 2 and not self.multi_label else self.classes

    @property
    def kind(self) -> str:
        """What it reads and how it answers, whatever the classes, for messages."""
        what = "texts" if self.features is None else "numeric sequences"
        return f"{what} with {'any number of labels' if self.multi_label else 'one label each'}"


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What turns inputs and labels of a dataset into a model's numbers, and back.

    Attributes:
      name: ``"imdb_reviews"``, ``"synthetic"``, or the name of the user's own file or folder.
      fingerprint: SHA-256 that identifies its inputs and labels.
      classes: the names of labels 0, 1, ...
      inputs: words to ids, of texts; mean and scale of each feature, of numeric sequences.
      multi_label: whether an example has any number of these labels, instead of one.
      thresholds: of several labels, the probability above which a text has each; empty: 0.5.
      conformity: the model's probability of the own class of each row that it was calibrated with,
        ascending, for prediction sets; empty: there was none.
    """

    name: str
    fingerprint: str
    classes: tuple[str, ...]
    inputs: Vocabulary | Standardizer
    multi_label: bool = False
    thresholds: tuple[float, ...] = ()
    conformity: tuple[float, ...] = ()

    @property
    def threshold_of(self) -> dict[str, float]:
        """The probability above which a text has each of several labels; empty of other classes."""
        if not self.multi_label:
            return {}
        return dict(zip(self.classes, self.thresholds or [0.5] * len(self.classes), strict=True))

    @property
    def task(self) -> Task:
        """What a classifier of this dataset reads and answers."""
        features = self.inputs.features if isinstance(self.inputs, Standardizer) else None
        return Task(len(self.classes), self.multi_label, features)

    @property
    def vocabulary(self) -> Vocabulary:
        """Words to ids.

        Raises:
          InputError: it is a dataset of numeric sequences.
        """
        if isinstance(self.inputs, Standardizer):
            raise InputError("this model reads numeric sequences: it has no vocabulary")
        return self.inputs

    @property
    def standardizer(self) -> Standardizer:
        """Mean and scale of each feature.

        Raises:
          InputError: it is a dataset of texts.
        """
        if isinstance(self.inputs, Vocabulary):
            raise InputError("this model reads texts, not numeric sequences")
        return self.inputs

    @property
    def units(self) -> str:
        """What its examples are: ``"texts"`` or ``"sequences"``."""
        return "sequences" if isinstance(self.inputs, Standardizer) else "texts"

    def check_texts(self, what: str) -> None:
        """Raise InputError if this is a dataset of numeric sequences, which `what` is not for."""
        if isinstance(self.inputs, Standardizer):
            raise InputError(f"this model reads numeric sequences, and {what} is for texts")

    @property
    def settled(self) -> tuple[str, ...]:
        """What the training examples settled, for checkpoints: the words, or the statistics."""
        if isinstance(self.inputs, Standardizer):
            return (self.inputs.fingerprint,)
        return self.inputs.words

    def check_same(self, other: "DatasetInfo", where: str) -> None:
        """Raise InputError if `other`, found at `where`, is another dataset."""
        if self.fingerprint != other.fingerprint:
            raise InputError(
                f"{where} holds other {self.units} than the run was trained on: give what it was "
                "trained on"
            )

    def dump(self) -> str:
        """As JSON; the words are in order of id, the statistics in order of the features."""
        content = {
            "dataset": self.name,
            "fingerprint": self.fingerprint,
            "classes": self.classes,
            **({"multi_label": True, "thresholds": self.thresholds} if self.multi_label else {}),
            **({"conformity": self.conformity} if self.conformity else {}),
            **self.inputs.dump(),
        }
        return json.dumps(content, allow_nan=False)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "DatasetInfo":
        """Read a file written with `dump`.

        Raises:
          InputError: the file cannot be read or is not a vocabulary.
        """
        try:
            return cls.parse(Path(path).read_text())
        except OSError as error:
            raise unreadable(path, error) from None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{path} is not a vocabulary: {error}") from error

    @classmethod
    def parse(cls, text: str) -> "DatasetInfo":
        """Parse the output of `dump`.

        Raises:
          Exception: ValueError, KeyError, TypeError or RecursionError if it is something else.
        """
        content = _BEFORE | json.loads(text)
        name, fingerprint, classes = content["dataset"], content["fingerprint"], content["classes"]
        multi_label = content.get("multi_label", False)
        thresholds = content.get("thresholds", [])
        if not isinstance(multi_label, bool):
            raise ValueError(f"its multi_label is {multi_label!r}")
        if not all(is_number(value) and 0 <= value <= 1 for value in thresholds) or (
            len(thresholds) not in ((0, len(classes)) if multi_label else (0,))
        ):
            raise ValueError("its thresholds are not a probability for each label")
        conformity = content.get("conformity", [])
        are_shares = isinstance(conformity, list) and all(
            is_number(value) and 0 <= value <= 1 for value in conformity
        )
        if not are_shares or sorted(conformity) != conformity or (conformity and multi_label):
            raise ValueError("its conformity is not probabilities of single labels, ascending")
        if len(set(classes)) != len(classes) or len(classes) < (1 if multi_label else 2):
            raise ValueError(f"its classes are not {'one' if multi_label else 'two'} or more")
        inputs, words = _standardizer(content) if "mean" in content else _vocabulary(content)
        if not all(isinstance(value, str) for value in (name, fingerprint, *classes, *words)):
            raise ValueError("it has values that are not text")
        return cls(
            *(name, fingerprint, tuple(classes), inputs, multi_label),
            thresholds=tuple(thresholds),
            conformity=tuple(conformity),
        )


def _vocabulary(content: dict[str, Any]) -> tuple[Vocabulary, Sequence[str]]:
    """The vocabulary, and all of its texts."""
    rules, words = content["text"], content["words"]
    if rules not in get_args(TextRules):
        raise ValueError(f"its rules for texts are {rules!r}, which this version does not know")
    if tuple(words[:3]) != SPECIAL_TOKENS or len(set(words)) != len(words):
        raise ValueError("its words are not a vocabulary")
    return Vocabulary(words[3:], rules), words


def _standardizer(content: dict[str, Any]) -> tuple[Standardizer, Sequence[str]]:
    """The standardizer, and all of its texts."""
    names = content["features"]
    return Standardizer(tuple(content["mean"]), tuple(content["scale"]), tuple(names)), names
