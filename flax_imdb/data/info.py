"""What a run keeps of its dataset: ``vocabulary.json``."""

import dataclasses
import json
import os
from pathlib import Path
from typing import get_args

from flax_imdb.data.tokenizer import SPECIAL_TOKENS, Vocabulary
from flax_imdb.data.words import TextRules
from flax_imdb.errors import InputError
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

    @property
    def kind(self) -> str:
        """What it reads and how it answers, whatever the classes, for messages."""
        what = "texts" if self.features is None else f"sequences of {self.features} numbers"
        return f"{what} with {'any number of labels' if self.multi_label else 'one label each'}"


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What turns texts and labels of a dataset into numbers, and back.

    Attributes:
      name: ``"imdb_reviews"``, ``"synthetic"``, or the name of the user's own file or folder.
      fingerprint: SHA-256 that identifies its texts and labels.
      classes: the names of labels 0, 1, ...
      vocabulary: words to ids.
    """

    name: str
    fingerprint: str
    classes: tuple[str, ...]
    vocabulary: Vocabulary

    @property
    def task(self) -> Task:
        """What a classifier of this dataset reads and answers."""
        return Task(len(self.classes))

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
        if rules not in get_args(TextRules):
            raise ValueError(f"its rules for texts are {rules!r}, which this version does not know")
        if tuple(words[:3]) != SPECIAL_TOKENS or len(set(words)) != len(words):
            raise ValueError("its words are not a vocabulary")
        if len(set(classes)) != len(classes) or len(classes) < 2:
            raise ValueError("its classes are not two or more")
        if not all(isinstance(value, str) for value in (name, fingerprint, *classes, *words)):
            raise ValueError("it has values that are not text")
        return cls(name, fingerprint, tuple(classes), Vocabulary(words[3:], rules))
