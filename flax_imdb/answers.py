"""Answers to texts: what is shown of predictions, and of texts that cannot be classified."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from flax_imdb.data.sources import Bad
from flax_imdb.errors import InputError, warn
from flax_imdb.predict import Prediction, TrainedModel, is_unknown, warn_of_unknown, words_of
from flax_imdb.training import check_coverage

MANY_CLASSES = 20
"""Of more classes than this the likeliest `USUAL_TOP` alone are shown, unless another number is."""

USUAL_TOP = 5

UNDECIDED = "unsure"
"""Shown for a label where no class is likely enough."""

SEPARATOR = "|"
"""Between the labels of a text."""

NO_LABEL = "-"
"""Shown for a text without any of several labels."""

# Of the texts with something wrong the first ones are named.
_NAMED = 4


@dataclasses.dataclass(frozen=True)
class Choice:
    """What is shown of a prediction.

    Attributes:
      top_k: Show the probabilities of so many classes, the likeliest first. None: of all, or of 5
        if there are more than 20, unless a text may have several labels.
      min_probability: A text has no label if no class has this probability.
      abstain: A coverage: a text has a label if its prediction set has exactly one class. None:
        there are no such sets.
    """

    top_k: int | None = None
    min_probability: float = 0.0
    abstain: float | None = None

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"`top_k` {self.top_k} is too small: 1 or more is needed")
        if not 0 <= self.min_probability <= 1:
            raise InputError(
                f"`min_probability` {self.min_probability} makes no sense: a number from 0 to 1 is "
                "needed"
            )
        if self.abstain is not None:
            check_coverage("`abstain`", self.abstain)
            if self.min_probability > 0:
                raise InputError(
                    f"`min_probability` {self.min_probability} and `abstain` {self.abstain} both "
                    "say which texts have no label: give one of them"
                )

    def ranks(self, classes: int, multi_label: bool = False) -> int | None:
        """How many of the likeliest are shown; None: all classes, in their order."""
        if self.top_k is None:
            return USUAL_TOP if classes > MANY_CLASSES and not multi_label else None
        return min(self.top_k, classes)


class Answer(NamedTuple):
    """What is shown for a text.

    Attributes:
      label: the likeliest class; None if it is not likely enough, if the prediction set has not
        exactly one class, or the text is not classified.
      probabilities: those that are shown.
      probability: that of the second of two classes, of more that of the likeliest.
      problem: why the text cannot be classified; empty if it is.
      labels: where a text may have several, those above their thresholds; None of other models.
      prediction_set: the classes of the prediction set; None if none was asked for.
    """

    label: str | None
    probabilities: Mapping[str, float]
    probability: float = math.nan
    problem: str = ""
    labels: tuple[str, ...] | None = None
    prediction_set: tuple[str, ...] | None = None

    def content(self) -> dict[str, Any]:
        """The label or labels and the probabilities, or the problem as an error."""
        if self.problem:
            return {"error": self.problem}
        probabilities = dict(self.probabilities)
        if self.labels is not None:
            return {"labels": list(self.labels), "probabilities": probabilities}
        in_set = self.prediction_set
        of_set = {} if in_set is None else {"prediction_set": list(in_set)}
        return {"label": self.label, **of_set, "probabilities": probabilities}

    def as_json(self) -> str:
        """Its content as one JSON object."""
        return json.dumps(self.content(), allow_nan=False)

    def as_line(self, probabilities: bool) -> str:
        """A probability, a tab and the label; with `probabilities` those of classes follow.

        Of several labels it is the labels alone, or `NO_LABEL`. A prediction set follows the label,
        with `NO_LABEL` for none.
        """
        if self.problem:
            return f"{self.probability:.4f}\tunreadable"
        fields = [f"{self.probability:.4f}", UNDECIDED if self.label is None else self.label]
        if self.labels is not None:
            fields = [SEPARATOR.join(self.labels) or NO_LABEL]
        if self.prediction_set is not None:
            fields.append(SEPARATOR.join(self.prediction_set) or NO_LABEL)
        if probabilities:
            fields += [f"{name}={value:.4f}" for name, value in self.probabilities.items()]
        return "\t".join(fields)


class Counted:
    """How many texts have something, and the names of the first ones."""

    def __init__(self) -> None:
        self.number = 0
        self.first: list[str] = []

    def add(self, name: str) -> None:
        """Count a text."""
        self.number += 1
        if len(self.first) < _NAMED:
            self.first.append(name)


class Answers:
    """Answers texts, some at a time, and counts what is to be said of all of them.

    Args:
      model: the model.
      choice: what is shown.

    Attributes:
      classes: of the model.
      ranks: how many of the likeliest classes are shown; None: all classes, in their order.
      multi_label: whether a text may have several labels.
      abstain: the coverage of the prediction sets; None: there are none.
      texts: how many there were.
      problems: those that could not be classified, each named with the reason.
    """

    def __init__(self, model: TrainedModel, choice: Choice):
        self._model = model
        self.classes = model.info.classes
        self.multi_label = model.info.multi_label
        self.ranks = choice.ranks(len(self.classes), self.multi_label)
        self._least, self.abstain = choice.min_probability, choice.abstain
        self._least_in_set: float | None = None
        if self.abstain is not None:
            self._least_in_set = model.least_probability(self.abstain)
        if self._least > 0 and self.multi_label:
            raise InputError(
                f"`min_probability` {self._least} has no effect on a model of several labels: each "
                "has its threshold"
            )
        if (self._least > 0 or self.abstain is not None) and UNDECIDED in self.classes:
            given = f"`min_probability` {self._least}"
            if self.abstain is not None:
                given = f"`abstain` {self.abstain}"
            raise InputError(
                f"{given} shows {UNDECIDED} where there is no label, and a class of this model has "
                "that name"
            )
        self.texts = 0
        self.problems, self._unknown = Counted(), Counted()
        self._undecided = 0

    def __call__(
        self,
        texts: Sequence[str],
        names: Sequence[str],
        least: Sequence[float | None] | None = None,
    ) -> list[Answer]:
        """The answers to some texts.

        Args:
          texts: the texts; a `Bad` is the reason why there is none.
          names: what messages call them.
          least: of each text, from `TrainedModel.least_probability`; None: what `choice` says.
        """
        problems: dict[int, str] = {}
        encoded, of_encoded = [], []
        least = [self._least_in_set] * len(texts) if least is None else least
        for index, (text, name) in enumerate(zip(texts, names, strict=True)):
            try:
                if isinstance(text, Bad):
                    raise InputError(text)
                words = words_of(text, self._model.vocabulary.rules)
            except InputError as reason:
                problems[index] = str(reason)
                self.problems.add(f"{name}: {reason}")
                continue
            ids = self._model.vocabulary.encode(words)
            encoded.append(ids)
            of_encoded.append(least[index])
            if is_unknown(ids):
                self._unknown.add(name.rpartition(" ")[2])
        rows = iter(self._of_encoded(encoded, of_encoded))
        self.texts += len(problems)
        return [
            Answer(None, {}, problem=problems[index]) if index in problems else next(rows)
            for index in range(len(texts))
        ]

    def of_encoded(self, encoded: Sequence[np.ndarray]) -> list[Answer]:
        """The answers to texts or numeric sequences that are encoded.

        See `TrainedModel.predict_encoded`.
        """
        return self._of_encoded(encoded, [self._least_in_set] * len(encoded))

    def _of_encoded(
        self, encoded: Sequence[np.ndarray], least: Sequence[float | None]
    ) -> list[Answer]:
        answers = [*map(self._shown, self._model.predictions(encoded, least))]
        self._undecided += sum(answer.label is None for answer in answers)
        self.texts += len(encoded)
        return answers

    def _shown(self, prediction: Prediction) -> Answer:
        likeliest, probabilities = prediction.likeliest, prediction.probabilities
        highest = probabilities[likeliest]
        two = len(self.classes) == 2 and not self.multi_label
        probability = probabilities[self.classes[1]] if two else highest
        if self.ranks is not None:
            # Equal ones stay in the order of the classes.
            likeliest_first = sorted(probabilities.items(), key=lambda each: -each[1])
            probabilities = dict(likeliest_first[: self.ranks])
        label = prediction.label if highest >= self._least else None
        return Answer(
            *(label, probabilities, probability),
            labels=prediction.labels,
            prediction_set=prediction.prediction_set,
        )

    def warn(self) -> None:
        """Warn of texts whose predictions mean little."""
        classified = self.texts - self.problems.number
        warn_of_unknown(self._unknown.first, classified, self._unknown.number)
        if self._undecided and self.abstain is not None:
            warn(
                f"{self._undecided} of {classified} texts have no label: at a coverage of "
                f"{self.abstain:g} their prediction sets have several classes, or none"
            )
        elif self._undecided:
            warn(
                f"no class has a probability of {self._least:g} in {self._undecided} of "
                f"{classified} texts: they have no label"
            )
