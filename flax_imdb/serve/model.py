"""What is served."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from flax_imdb.answers import Answers, Choice
from flax_imdb.errors import InputError
from flax_imdb.predict import TrainedModel, words_of
from flax_imdb.training import usual_coverages


@dataclasses.dataclass(frozen=True)
class About:
    """What a page says of the model.

    Attributes:
      name: what it is.
      note: what must be known of it; may be empty.
      reads: how many words it reads.
      end: which of a longer text, ``"last"`` or ``"first"``.
      multi_label: whether a text has any number of its labels.
      coverages: those with which the page offers to abstain; empty: it cannot.
    """

    name: str
    note: str
    reads: int
    end: str = "last"
    multi_label: bool = False
    coverages: Sequence[float] = ()


class Model(Protocol):
    """What is served. Its methods may be called from several threads.

    Attributes:
      about: what a page says of it.
      sizes: of the batches in which it predicts, the smallest first.
    """

    about: About
    sizes: Sequence[int]

    def prepare(self) -> Iterator[None]:
        """Do ahead what would make the first requests wait, in parts."""

    def least_probability(self, coverage: float) -> float:
        """What `predict` needs to abstain with this coverage; InputError if it cannot."""

    def predict(self, texts: Sequence[Any], least: Sequence[float | None]) -> list[dict[str, Any]]:
        """For each text an object of JSON: label and probabilities, or an error.

        Args:
          texts: the texts.
          least: of each, from `least_probability`; None: it gets a label in any case.
        """

    def explain(self, text: Any) -> dict[str, Any]:
        """An object of JSON: as in `predict`, and the words; or an error."""


class Served:
    """The model of a run as a `Model`.

    Args:
      model: the model.

    Attributes:
      about: what a page says of it.
      sizes: of the batches in which it predicts.
    """

    def __init__(self, model: TrainedModel):
        model.info.check_texts("serve")
        self._model = model
        self._answers = Answers(model, Choice())
        config = model.config
        synthetic = config.data.dataset == "synthetic"
        dataset = config.data.dataset
        if os.path.isabs(dataset):  # Where it is on this machine is nobody's business.
            dataset = Path(dataset).name
        self.about = About(
            name=f"{config.model.arch} on {dataset}",
            note="this model was trained on synthetic reviews: it knows nothing."
            if synthetic
            else "",
            reads=config.data.longest,
            end=config.data.end,
            multi_label=model.info.multi_label,
            coverages=usual_coverages(model.info.conformity),
        )
        sizes = model.trainer.batching.sizes()
        self.sizes: Sequence[int] = [batching.batch_size for batching in sizes]

    def prepare(self) -> Iterator[None]:
        """Compile all that predictions and explanations need."""
        for rows in self.sizes:
            self._model.compile(rows)
            yield
        self._model.compile(1, explanations=True)
        yield

    def least_probability(self, coverage: float) -> float:
        """The probability that a class needs to be in a prediction set of this coverage."""
        return self._model.least_probability(coverage)

    def predict(
        self, texts: Sequence[Any], least: Sequence[float | None] | None = None
    ) -> list[dict[str, Any]]:
        """For each text what ``flax-imdb predict --json`` prints."""
        names = [f"text {number}" for number in range(1, len(texts) + 1)]
        return [answer.content() for answer in self._answers(texts, names, least)]

    def explain(self, text: Any) -> dict[str, Any]:
        """The explanation of a text, or an error."""
        model = self._model
        try:
            words = words_of(text, model.vocabulary.rules)
        except InputError as reason:
            return {"error": str(reason)}
        (probabilities,) = model.predict_encoded([model.vocabulary.encode(words)])
        return model.explain_prediction(text, model.prediction(probabilities)).content()
