"""Which words of a text made the answer: integrated gradients."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from flax_imdb.data.tokenizer import PAD, START
from flax_imdb.models import Classifier, ModelConfig
from flax_imdb.models.wide import ngram_terms
from flax_imdb.training import TrainState

# So many parts of the path are measured at once, each at so many points: one compiled function.
_PARTS, _POINTS = 8, 4

# A narrower part is not halved: float64 hardly tells its ends from each other.
_NARROWEST = 2.0**-46

# Some reviews of IMDB need a hundred. Then the sum is not exact, and `explain` warns of it.
_MOST_PARTS = 1500

MAX_EXPLAINED = 5
"""Of more classes the likeliest are explained."""

TOLERANCE = 0.01
"""How far the sum of the weights may be from the difference of logits, relative to that."""

# A difference of logits of so little, in absolute terms, changes no probability that is shown.
_LEAST_ERROR = 1e-3


@dataclasses.dataclass(frozen=True)
class Word:
    """An occurrence of a word in a text.

    Attributes:
      word: as the model reads it.
      start: where it begins in the text.
      end: where it has ended in the text: ``text[start:end]``.
      weights: of each explained class, how much the word has added to its logit. 0 if the model
        does not read so much of the text.
    """

    word: str
    start: int
    end: int
    weights: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The words of a text that made the model's answer.

    The weights of all words add up to the difference of logits, within `TOLERANCE`.

    Attributes:
      text: the text.
      label: the likeliest class; see `flax_imdb.predict.Prediction`, as for `labels`.
      probabilities: of each class, in [0, 1].
      differences: of each explained class, its logit, minus that of the text with every word blank.
        Of two classes the second alone is explained, whose logit is the log-odds.
      words: in reading order.
      labels: where a text may have several, those above their thresholds; None of other models.
    """

    text: str
    label: str
    probabilities: dict[str, float]
    differences: dict[str, float]
    words: tuple[Word, ...]
    labels: tuple[str, ...] | None = None

    @property
    def complete(self) -> bool:
        """Whether the weights add up to the differences."""
        errors = [
            abs(sum(word.weights[name] for word in self.words) - difference)
            for name, difference in self.differences.items()
        ]
        return bool(np.all(errors <= _allowed([*self.differences.values()])))

    def segments(self, name: str) -> list["Segment"]:
        """The text in pieces, words and what is between them, with the weights for a class.

        Of two classes the first has the weights of the second with the other sign.
        """
        segments, done = [], 0
        for (start, end), words in itertools.groupby(self.words, lambda w: (w.start, w.end)):
            if done < start:
                segments.append(Segment(self.text[done:start], None))
            weights = [word.weights for word in words]
            if name in self.differences:
                weight = sum(of_word[name] for of_word in weights)
            else:
                weight = -sum(sum(of_word.values()) for of_word in weights)
            segments.append(Segment(self.text[start:end], weight))
            done = end
        if done < len(self.text):
            segments.append(Segment(self.text[done:], None))
        return segments

    def content(self) -> dict[str, Any]:
        """All but the text, for JSON."""
        content = dataclasses.asdict(self)
        del content["text"]
        if self.labels is None:
            del content["labels"]
        return content


class Segment(NamedTuple):
    """A piece of a text.

    Attributes:
      text: the piece.
      weight: of the word that it is, or of the words if it stands for several; None if it is none.
    """

    text: str
    weight: float | None


class Attribution(NamedTuple):
    """What each token of a text has added to logits.

    Attributes:
      weights: float64 [logits, time]; 0 at tokens that are no words.
      differences: of the logits to those of the blank text, float64 [logits].
    """

    weights: np.ndarray
    differences: np.ndarray


def _allowed(differences: Any) -> Any:
    return np.maximum(TOLERANCE * np.abs(differences), _LEAST_ERROR)


def is_word(tokens: Int[np.ndarray, " time"]) -> Bool[np.ndarray, " time"]:
    """Which tokens stand for words, known or unknown."""
    return (tokens != PAD) & (tokens != START)


def exact(state: TrainState, model: Classifier) -> TrainState:
    """The state, without what training needs, in float64: float32 is too coarse for a path.

    `model` is the classifier without a precision of its own. Call it with ``jax.enable_x64(True)``.
    """

    def cast(leaf: Array) -> Array:
        return leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return state.replace(
        apply_fn=model.apply,
        params=jax.tree.map(cast, state.params),
        constants=jax.tree.map(cast, state.constants),
        opt_state=(),
    )


def attribute(
    state: TrainState,
    config: ModelConfig,
    tokens: Int[np.ndarray, " time"],
    length: int,
    logits: Sequence[int],
) -> Attribution:
    """Attribute logits of a text to its tokens.

    Of the encoder's head these are integrated gradients with respect to the embedded tokens, from
    embeddings of 0 to those of the text (Sundararajan et al. 2017, equation 1). The head of n-grams
    is a sum over them, and each has an equal share for all its words (their Shapley value). Call it
    with ``jax.enable_x64(True)``.

    Args:
      state: what `exact` returns.
      config: the classifier's.
      tokens: one row of a batch.
      length: its number of valid tokens.
      logits: which logits to attribute.
    """
    words = is_word(tokens)
    along_path = functools.partial(_along_path, state, tokens[None], np.array([length]), words)
    of_ngrams, share = np.zeros((len(logits), len(tokens))), 1.0
    if config.wide_ngrams:
        of_ngrams = config.wide_weight * _of_ngrams(state, config, tokens, words)[list(logits)]
        share -= config.wide_weight
    weights, differences = zip(
        *(
            _integrate(functools.partial(_measure, along_path, logit, share), row)
            for logit, row in zip(logits, of_ngrams, strict=True)
        ),
        strict=True,
    )
    return Attribution(np.array(weights), np.array(differences))


class _Part(NamedTuple):
    """A part of the path from the blank text, 0, to the text, 1."""

    start: float
    end: float
    weights: np.ndarray
    difference: float

    @property
    def error(self) -> float:
        """By how much the weights do not add up to the difference."""
        return self.difference - float(self.weights.sum())

    def halves(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The ends of its halves."""
        middle = (self.start + self.end) / 2
        return (self.start, middle), (middle, self.end)


Measure = Callable[[Sequence[tuple[float, float]]], list[_Part]]


def _integrate(measure: Measure, known: np.ndarray) -> tuple[np.ndarray, float]:
    """The weights along the whole path and the difference of its ends, with what is `known`.

    A recurrence may jump from one state to another in a millionth of the path. The parts
    whose weights do not add up show where: they are halved until what is left does not matter.
    """
    cuts = np.linspace(0, 1, _PARTS + 1).tolist()
    parts = measure([*itertools.pairwise(cuts)])
    difference = float(known.sum()) + sum(part.difference for part in parts)
    while len(parts) < _MOST_PARTS:
        errors = np.array([part.error for part in parts])
        wide = np.array([part.end - part.start > _NARROWEST for part in parts])
        # The sum may be small by chance: of errors of both signs the norm must be, too.
        left = max(abs(errors.sum()), np.linalg.norm(errors))
        if left <= _allowed(difference) or np.linalg.norm(errors[wide]) <= _allowed(difference) / 2:
            break
        worst = np.argsort(-np.abs(errors) * wide)[: _PARTS // 2].tolist()
        halves = [half for number in worst for half in parts[number].halves()]
        parts = [part for number, part in enumerate(parts) if number not in worst]
        parts += measure(halves)
    return known + sum(part.weights for part in parts), difference


def _measure(
    along_path: Callable[..., tuple[Any, Any]],
    logit: int,
    share: float,
    ends: Sequence[tuple[float, float]],
) -> list[_Part]:
    """Integrate `_PARTS` parts of a path, of which these are the ends, by Gauss's quadrature."""
    nodes, shares = np.polynomial.legendre.leggauss(_POINTS)
    start, end = np.array(ends).T[..., None]
    points = np.concatenate([start, (start + end) / 2 + (end - start) / 2 * nodes, end], axis=1)
    logits, products = along_path(points.ravel(), logit)
    of_logit = np.asarray(logits, float)[:, logit].reshape(points.shape)
    inside = np.asarray(products, float).reshape(*points.shape, -1)[:, 1:-1]
    weights = share * np.einsum("p,spt->st", shares / 2, inside) * (end - start)
    differences = share * (of_logit[:, -1] - of_logit[:, 0])
    return [
        _Part(*of_ends, *of_part)
        for of_ends, *of_part in zip(ends, weights, differences.tolist(), strict=True)
    ]


def _of_ngrams(
    state: TrainState, config: ModelConfig, tokens: np.ndarray, words: np.ndarray
) -> np.ndarray:
    """What each token adds to the logits of the n-grams, float64 [logits, time]."""
    variables = {"params": state.params["wide"], "constants": state.constants["wide"]}
    of_words = np.zeros((variables["params"]["weights"].shape[1], len(tokens)))
    for n, terms in enumerate(ngram_terms(variables, tokens, config.wide_ngrams), start=1):
        for last in np.flatnonzero(terms.any(axis=1)).tolist():
            tokens_of = np.arange(max(last + 1 - n, 0), last + 1)
            members = tokens_of[words[tokens_of]]
            if len(members):  # Otherwise the blank text has it, too.
                of_words[:, members] += terms[last][:, None] / len(members)
    return of_words


@jax.jit
def _along_path(
    state: TrainState,
    tokens: Int[Array, "1 time"],
    lengths: Int[Array, " 1"],
    words: Bool[Array, " time"],
    points: Float[Array, " rows"],
    logit: Int[Array, ""],
) -> tuple[Float[Array, "rows classes"], Float[Array, "rows time"]]:
    """The encoder's logits, and their slopes, at points of the path from a blank text to a text.

    Args:
      state: the model.
      tokens: of the text.
      lengths: of the text.
      words: which tokens are words: all others stay as they are.
      points: in [0, 1]: 0 is the blank text.
      logit: the one to differentiate.

    Returns:
      All logits, and each token's embedding times the slope with respect to it.
    """
    variables = {"params": state.params}
    _, made = state.apply(variables, tokens, lengths, mutable=["intermediates", "perturbations"])
    embedded = jnp.where(words[:, None], made["intermediates"]["embedded"][0], 0)
    rows = len(points)
    tokens, lengths = (jnp.repeat(each, rows, axis=0) for each in (tokens, lengths))

    def of_encoder(added: Float[Array, "rows time features"]) -> Float[Array, "rows classes"]:
        perturbed = variables | {"perturbations": {"embedded": added}}
        first, *_ = state.apply(perturbed, tokens, lengths, method="heads").each
        return first

    at_points, pull_back = jax.vjp(of_encoder, (points[:, None, None] - 1) * embedded)
    chosen = jax.nn.one_hot(logit, at_points.shape[1], dtype=at_points.dtype)
    (slopes,) = pull_back(jnp.broadcast_to(chosen, at_points.shape))
    return at_points, jnp.sum(slopes * embedded, axis=-1)
