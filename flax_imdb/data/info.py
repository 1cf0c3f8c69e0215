"""What a run keeps of its dataset: ``vocabulary.json``."""

import dataclasses
import json
import os
from pathlib import Path
from typing import get_args

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
    def num_logits(self) -> int:
        """One for each class; of two that exclude each other there is that of the second alone."""
        return 1 if self.classes == 2 and not self.multi_label else self.classes


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What turns texts and labels of a dataset into numbers, and back.

    Attributes:
      name: ``"imdb_reviews"``, ``"synthetic"``, or the name of the user's own file or folder.
      fingerprint: SHA-256 that identifies its texts and labels.
      classes: the names of labels 0, 1, ...
      vocabulary: words to ids.
      multi_label: whether a text has any number of these labels, instead of one.
      thresholds: of several labels, the probability above which a text has each; empty: 0.5.
    """

    name: str
    fingerprint: str
    classes: tuple[str, ...]
    vocabulary: Vocabulary
    multi_label: bool = False
    thresholds: tuple[float, ...] = ()

    @property
    def threshold_of(self) -> dict[str, float]:
        """The probability above which a text has each of several labels; empty of other classes."""
        if not self.multi_label:
            return {}
        return dict(zip(self.classes, self.thresholds or [0.5] * len(self.classes), strict=True))

    @property
    def task(self) -> Task:
        """What a classifier of this dataset reads and answers."""
        return Task(len(self.classes), self.multi_label)

    def check_same(self, other: "DatasetInfo", where: str) -> None:
        """Raise InputError if `other`, found at `where`, is another dataset."""
        if self.fingerprint != other.fingerprint:
            raise InputError(
                f"{where} holds other texts than the run was trained on: give what it was trained "
                "on"
            )

    def dump(self) -> str:
        """As JSON; the words are in order of id."""
        content = {
            "dataset": self.name,
            "fingerprint": self.fingerprint,
            "text": self.vocabulary.rules,
            "classes": self.classes,
            **({"multi_label": True, "thresholds": self.thresholds} if self.multi_label else {}),
            "words": [*SPECIAL_TOKENS, *self.vocabulary.words],
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
        name, fingerprint, rules = content["dataset"], content["fingerprint"], content["text"]
        classes, words = content["classes"], content["words"]
        multi_label = content.get("multi_label", False)
        thresholds = content.get("thresholds", [])
        if rules not in get_args(TextRules):
            raise ValueError(f"its rules for texts are {rules!r}, which this version does not know")
        if tuple(words[:3]) != SPECIAL_TOKENS or len(set(words)) != len(words):
            raise ValueError("its words are not a vocabulary")
        if not isinstance(multi_label, bool):
            raise ValueError(f"its multi_label is {multi_label!r}")
        if not all(is_number(value) and 0 <= value <= 1 for value in thresholds) or (
            len(thresholds) not in ((0, len(classes)) if multi_label else (0,))
        ):
            raise ValueError("its thresholds are not a probability for each label")
        if len(set(classes)) != len(classes) or len(classes) < (1 if multi_label else 2):
            raise ValueError(f"its classes are not {'one' if multi_label else 'two'} or more")
        if not all(isinstance(value, str) for value in (name, fingerprint, *classes, *words)):
            raise ValueError("it has values that are not text")
        vocabulary = Vocabulary(words[3:], rules)
        return cls(name, fingerprint, tuple(classes), vocabulary, multi_label, tuple(thresholds))
