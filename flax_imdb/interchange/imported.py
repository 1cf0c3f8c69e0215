"""A classifier from elsewhere, and which of this package's architectures it is."""

import dataclasses
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from flax_imdb.config import ExperimentConfig
from flax_imdb.data import DataConfig, DatasetInfo, Padding, Task, Vocabulary
from flax_imdb.data.sources import IMPORTED, problem_of_label
from flax_imdb.data.tokenizer import SPECIAL_TOKENS
from flax_imdb.data.words import TextRules, split_words
from flax_imdb.environment import fixed_settings
from flax_imdb.errors import InputError, warn
from flax_imdb.export.network import ConvLayer, Layer, LSTMLayer, MaxPoolLayer, Weights
from flax_imdb.models import Classifier, ModelConfig, build
from flax_imdb.predict import save
from flax_imdb.training import TrainConfig

# The architectures that have the layers of each; they differ in dropout.
_SAME_LAYERS = {
    "lstm": ("lstm", "lstm_dropout", "lstm_recurrent_dropout"),
    "reversed_lstm": ("reversed_lstm",),
    "bilstm": ("bilstm",),
    "conv_lstm": ("conv_lstm", "conv_lstm_dropout"),
}


@dataclasses.dataclass(frozen=True)
class Imported:
    """A classifier from elsewhere.

    Attributes:
      config: the classifier, as in `flax_imdb.models.build`.
      classes: their number.
      params: its parameters, float32.
      padding: ``"masked"`` if it ignores padding, ``"keras"`` if it computes it like tokens.
      max_length: the number of ids that it reads; None: any.
    """

    config: ModelConfig
    classes: int
    params: dict[str, Any] = dataclasses.field(repr=False)
    padding: Padding = "masked"
    max_length: int | None = None

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return len(self.params["embedding"]["embedding"])

    def module(self) -> Classifier:
        """The classifier, whose ``apply({"params": params}, tokens, lengths)`` gives logits."""
        return build(self.config, self.vocab_size, Task(self.classes).num_logits)

    @fixed_settings()
    def save(
        self,
        workdir: str | os.PathLike[str],
        *,
        words: Sequence[str],
        classes: Sequence[str],
        text: TextRules = "keras",
        max_length: int | None = None,
        padding: Padding | None = None,
        overwrite: bool = False,
    ) -> None:
        """Save as the directory of a run, for `flax_imdb.load` and the commands.

        Args:
          workdir: the directory.
          words: the words with the ids 3, 4, ...; the ids before them are those of padding, of the
            start of a text and of unknown words.
          classes: the names of the classes, in order; of two the model gives the probability of the
            second.
          text: the rules by which a text is split into such words.
          max_length: longer texts keep their last ids. None: as many as the model reads, or 500 if
            that is any number; a model that computes padding and reads any number needs it.
          padding: ``"masked"`` or ``"keras"``. None: as the model has it.
          overwrite: delete the run that is there.

        Raises:
          InputError: words or classes do not fit the model; there is a run, or the directory
            cannot be written.
        """
        names = _checked_classes(classes, self.classes)
        vocabulary = Vocabulary(_checked_words(words, self.vocab_size), text)
        padding = padding or self.padding
        given = max_length if max_length is not None else self.max_length
        length = DataConfig.max_length if given is None else given
        if padding == "keras" and given is None:
            raise InputError(
                "`max_length` is needed: the model computes padding, so that its answers depend on "
                "the length that texts are padded to"
            )
        if padding == "keras" and self.max_length not in (None, length):
            raise InputError(f"`max_length` {length}: the model reads {self.max_length} ids")
        config = ExperimentConfig(
            model=self.config,
            data=DataConfig(
                dataset=IMPORTED,
                text=text,
                padding=padding,
                vocab_size=self.vocab_size,
                max_length=length,
            ),
            training=TrainConfig(averaging=None),
        )
        _warn_of_never_found(vocabulary)
        info = DatasetInfo(IMPORTED, "not known", names, vocabulary)
        state = config.create_state(info.task).replace(params=self.params)
        save(workdir, config, info, state, overwrite=overwrite)


def _checked_classes(classes: Sequence[str], number: int) -> tuple[str, ...]:
    names = _strings(classes)
    if len(names) != number or len(set(names)) != number:
        raise InputError(f"classes {classes!r}: the names of {number} classes are needed")
    for name in names:
        if problem := problem_of_label(name):
            raise InputError(f"class {name!r} {problem}")
    return names


def _checked_words(words: Sequence[str], vocab_size: int) -> tuple[str, ...]:
    listed = _strings(words)
    if not listed:
        raise InputError("words: a list of strings is needed, the first the word with id 3")
    if len(listed) > vocab_size - len(SPECIAL_TOKENS):
        raise InputError(
            f"words: {len(listed)} are too many for an embedding of {vocab_size} ids, of which the "
            f"first {len(SPECIAL_TOKENS)} are no words"
        )
    seen = set(SPECIAL_TOKENS)
    for word in listed:
        if word in seen:
            raise InputError(f"words: {word!r} has two ids")
        seen.add(word)
    return listed


def _strings(given: Any) -> tuple[str, ...]:
    """The strings of a list; none if it is no list, or has something else in it."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        return ()
    listed = tuple(given)
    return listed if all(isinstance(each, str) for each in listed) else ()


def _warn_of_never_found(vocabulary: Vocabulary) -> None:
    """Warn if the rules make many words impossible: those of another tokenizer, probably."""
    never = [word for word in vocabulary.words if split_words(word, vocabulary.rules) != [word]]
    if len(never) > 0.01 * len(vocabulary):
        warn(
            f"{len(never)} of {len(vocabulary.words)} words, such as {never[0]!r:.40}, are in no "
            f"text by the rules {vocabulary.rules!r}: perhaps `text` should be another"
        )


class Named(NamedTuple):
    """A layer of a classifier from elsewhere.

    Attributes:
      name: what it is called there.
      layer: the layer.
    """

    name: str
    layer: Layer


class Found(NamedTuple):
    """What was found in a classifier from elsewhere.

    Attributes:
      embedding: of each token.
      layers: between embedding and head.
      kernel: of the head.
      bias: of the head.
    """

    embedding: Float[np.ndarray, "tokens embedding_features"]
    layers: list[Named]
    kernel: Float[np.ndarray, "features logits"]
    bias: Float[np.ndarray, " logits"]

    @property
    def lstms(self) -> list[Named]:
        """The LSTM layers."""
        return [each for each in self.layers if isinstance(each.layer, LSTMLayer)]


def imported(found: Found, *, arch: str | None = None, pooling: Any = "last") -> Imported:
    """What was found as one of the architectures, if it is one.

    Args:
      found: the layers.
      arch: the architecture, if it is known which of those with such layers it is.
      pooling: as in `ModelConfig`.

    Raises:
      InputError: no architecture has such layers.
    """
    base = _architecture(found.layers)
    arch = arch or base
    if arch not in itertools.chain(*_SAME_LAYERS.values()):
        known = ", ".join(itertools.chain(*_SAME_LAYERS.values()))
        raise InputError(f"`arch` {arch} is unknown: one of {known}")
    if arch not in _SAME_LAYERS[base]:
        raise InputError(f"`arch` {arch} does not fit: the layers are those of {base}")
    logits = len(found.bias)
    kernel, bias = found.kernel, found.bias
    if logits == 2:  # Of two classes there is one logit here.
        kernel, bias = np.diff(kernel), np.diff(bias)
    config = ModelConfig(
        arch,
        embedding_features=found.embedding.shape[1],
        features=_features(found.lstms[0]),
        layers=len(found.lstms),
        pooling=pooling,
    )
    params: dict[str, Any] = {
        "embedding": {"embedding": found.embedding},
        "head": {"kernel": kernel, "bias": bias},
    }
    for number, (_, layer) in enumerate(found.layers):
        if not isinstance(layer, MaxPoolLayer):
            params[f"encoder_{number}"] = _params(layer)
    params = jax.tree.map(lambda array: np.ascontiguousarray(array, np.float32), params)
    return Imported(config, max(2, logits), params)


def _params(layer: LSTMLayer | ConvLayer) -> dict[str, Any]:
    if isinstance(layer, ConvLayer):
        return {"conv": {"kernel": layer.kernel, "bias": layer.bias}}
    directions = {"forward": layer.forward, "backward": layer.backward}
    cells = {name: {"cell": each._asdict()} for name, each in directions.items() if each}
    return cells if len(cells) == 2 else next(iter(cells.values()))


def _features(lstm: Named) -> int:
    assert isinstance(lstm.layer, LSTMLayer)
    weights = lstm.layer.forward or lstm.layer.backward
    assert weights is not None
    return weights.features


def _directions(lstm: Named) -> str:
    """The architecture of an LSTM that reads as this one."""
    assert isinstance(lstm.layer, LSTMLayer)
    if lstm.layer.forward is None:
        return "reversed_lstm"
    return "lstm" if lstm.layer.backward is None else "bilstm"


def lstm(weights: Sequence[Weights], *, reverse: bool, return_sequences: bool) -> LSTMLayer:
    """An LSTM of one direction or of both, the forward one first; with `reverse` one is backward.

    Args:
      weights: of each direction.
      reverse: whether a single one reads backwards.
      return_sequences: whether it returns all its outputs.
    """
    forward, backward = weights if len(weights) == 2 else (*weights, None)
    if backward is None and reverse:
        forward, backward = backward, forward
    return LSTMLayer(forward, backward, return_sequences)


def _architecture(layers: Sequence[Named]) -> str:
    """The first architecture that has these layers.

    Raises:
      InputError: there is none.
    """
    lstms = [each for each in layers if isinstance(each.layer, LSTMLayer)]
    if not lstms:
        raise InputError("there is no LSTM")
    arch = _directions(lstms[0])
    for each in lstms:
        if _directions(each) != arch or _features(each) != _features(lstms[0]):
            raise InputError(
                f"layer {each.name} differs from {lstms[0].name}: all LSTMs need the same number "
                "of units and the same directions"
            )
    if len(lstms) == len(layers):
        return arch
    kinds = [type(each.layer) for each in layers[:2]]
    if kinds != [ConvLayer, MaxPoolLayer] or len(layers) != len(lstms) + 2 or arch != "lstm":
        listed = ", ".join(each.name for each in layers)
        raise InputError(
            f"the layers {listed} do not fit: convolution and max pooling, one of each, can only "
            "come before LSTMs that read forwards"
        )
    (name, conv), (pool_name, pool) = layers[:2]
    assert isinstance(conv, ConvLayer)
    size, _, features = conv.kernel.shape
    if (size, features) != (3, 32):
        raise InputError(
            f"layer {name} has {features} filters of width {size}: 32 of width 3 are needed"
        )
    if pool != MaxPoolLayer(2):
        raise InputError(f"layer {pool_name} does not pool 2 steps, as is needed")
    return "conv_lstm"


class Arrays:
    """Named arrays, taken one by one, in float32.

    Args:
      arrays: by name.
    """

    def __init__(self, arrays: Mapping[str, Any]):
        self._left = dict(arrays)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str, *shape: int | None) -> Float[np.ndarray, "..."]:
        """An array of this shape, None for any size.

        Raises:
          InputError: there is none, or it has another shape.
        """
        if name not in self._left:
            left = ", ".join(sorted(self._left)[:4])
            raise InputError(f"{name} is missing" + (f"; there is {left}" if left else ""))
        array = _float32(name, self._left.pop(name))
        sizes = ["any" if size is None else str(size) for size in shape]
        if array.ndim != len(shape) or any(
            wanted not in (None, size) for wanted, size in zip(shape, array.shape, strict=True)
        ):
            raise InputError(f"{name} has the shape {array.shape}: ({', '.join(sizes)}) is needed")
        if 0 in array.shape:
            raise InputError(f"{name} has the shape {array.shape}, and no numbers")
        return array

    def check_all_taken(self) -> None:
        """Raise InputError if there are more arrays."""
        if self._left:
            raise InputError(f"{min(self._left)} is not of a layer that is known here")


def _float32(name: str, array: Any) -> Float[np.ndarray, "..."]:
    try:
        if hasattr(array, "detach"):  # A tensor of PyTorch, perhaps on a GPU.
            if array.is_complex():
                raise TypeError
            array = array.detach().cpu().float().numpy()
        # NumPy would drop the imaginary part.
        if np.iscomplexobj(array):
            raise TypeError
        numbers = np.asarray(array, np.float32)
    except (TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError):
        raise InputError(f"{name} is not an array of real numbers") from None
    if not np.all(np.isfinite(numbers)):
        raise InputError(f"{name} has a number that is not finite")
    return numbers
