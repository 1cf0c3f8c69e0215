"""Prediction with the model of a finished run."""

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from types import MappingProxyType
from typing import Any, TypeVar

import jax
import numpy as np
import optax

from flax_imdb.config import ExperimentConfig, dump_config, identity
from flax_imdb.data import (
    MAX_CHARACTERS,
    DatasetInfo,
    Examples,
    Standardizer,
    Vocabulary,
    as_sequences,
    load_dataset,
    split_words,
)
from flax_imdb.data.numeric import check_width
from flax_imdb.data.spans import word_spans
from flax_imdb.data.tokenizer import PAD, START, UNKNOWN
from flax_imdb.data.words import TextRules
from flax_imdb.devices import DeviceName, kind, select_devices
from flax_imdb.environment import fixed_settings
from flax_imdb.errors import InputError, warn
from flax_imdb.explain import (
    MAX_EXPLAINED,
    Attribution,
    Explanation,
    Word,
    attribute,
    exact,
    is_word,
)
from flax_imdb.results import Result
from flax_imdb.scores import Scores, SetScores, score, score_sets
from flax_imdb.stored import Stored, read_config, read_stored, with_variables
from flax_imdb.training import (
    EpochRecord,
    Evaluation,
    History,
    Predictor,
    Trainer,
    TrainState,
    above,
    check_coverage,
    decide,
    least_probability,
    prediction_sets,
)
from flax_imdb.training.checkpoints import Checkpoints, Identity
from flax_imdb.training.metrics import of_each_class
from flax_imdb.workdir import Workdir

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The prediction for a text.

    Attributes:
      label: the likeliest class; where a text may have several labels, the likeliest of all,
        whether it is above its threshold or not. None: there is a prediction set, which has not
        exactly one class.
      probabilities: of each class, in [0, 1].
      labels: where a text may have several labels, those above their thresholds, in the order of
        the classes; None of other models.
      prediction_set: the classes that have the true one with the coverage that was asked for, in
        their order; None: none was asked for.
    """

    label: str | None
    probabilities: dict[str, float]
    labels: tuple[str, ...] | None = None
    prediction_set: tuple[str, ...] | None = None

    @property
    def likeliest(self) -> str:
        """The likeliest class, of equal ones the first."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def probability(self) -> float:
        """The probability of the second of two classes.

        Raises:
          AttributeError: there are more than two, or a text may have several labels.
        """
        if self.labels is not None:
            raise AttributeError("a text may have several labels: see probabilities")
        if len(self.probabilities) > 2:
            raise AttributeError(f"there are {len(self.probabilities)} classes: see probabilities")
        return list(self.probabilities.values())[1]


def unreadable(text: str, rules: TextRules) -> str | None:
    """Why `text` cannot be classified; None if it can.

    Args:
      text: the text.
      rules: which words it has.
    """
    try:
        words_of(text, rules)
    except InputError as reason:
        return str(reason)
    return None


def words_of(text: str, rules: TextRules, wordless: bool = False) -> list[str]:
    """The words of a text; an InputError is the reason why it cannot be classified.

    Args:
      text: the text.
      rules: which words it has.
      wordless: whether it may have none but punctuation.
    """
    _check_text(text)
    words = split_words(text, rules)
    if not words and not wordless:
        raise InputError(f"no words in {text[:20]!r}")
    return words


def _check_text(text: str) -> None:
    """Raise InputError if it is no text, or one that no rules can read."""
    if not isinstance(text, str):
        raise InputError(f"{' '.join(repr(text).split()):.40} is not a text")
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"{len(text):,} characters are too many: {MAX_CHARACTERS:,} at most")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError("not UTF-8") from None
    if not text.strip():
        raise InputError(f"no words in {text[:20]!r}")


@dataclasses.dataclass(frozen=True, repr=False)
class TrainedModel:
    """The model of a run, returned by `load`.

    Attributes:
      config: the configuration of the experiment.
      info: the classes, and how inputs become numbers.
      state: the training state of the reported epoch, with the parameters to evaluate.
      trainer: runs the model on the selected devices.
      result: the result of its run; None if that is not known.
    """

    config: ExperimentConfig
    info: DatasetInfo
    state: TrainState
    trainer: Trainer
    result: Result | None = None
    _predictor: Predictor = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        predictor = self.trainer.predictor(self.state, self.info.multi_label)
        object.__setattr__(self, "_predictor", predictor)

    def __repr__(self) -> str:
        arch, parameters = self.config.model.arch, optax.tree.size(self.state.params)
        classes, features = list(self.info.classes), self.info.task.features
        if features is not None:
            return f"TrainedModel({arch=}, {classes=}, {features=}, {parameters=})"
        words = len(self.vocabulary.words)
        return f"TrainedModel({arch=}, {classes=}, {words=}, {parameters=})"

    def __reduce__(self) -> tuple[Any, ...]:
        """What it is made of again, perhaps on other devices: nothing that was compiled."""
        variables = {"params": self.state.params, "constants": self.state.constants}
        own, preferred = self.trainer.mesh.devices.flat[0], jax.devices()[0]
        device = "auto" if kind(own) == kind(preferred) else kind(own)
        arrays = jax.tree.map(np.array, variables)
        return assemble, (self.config, self.info, arrays, self.result, device)

    @property
    def vocabulary(self) -> Vocabulary:
        """Words to ids.

        Raises:
          InputError: the model reads numeric sequences.
        """
        return self.info.vocabulary

    def predict(self, texts: Iterable[Any], *, abstain: float | None = None) -> list[Prediction]:
        """Classify texts: a list, a tuple, a NumPy array, a pandas Series, or an iterator.

        A text without a single known word is classified, with a warning.

        Args:
          texts: the texts. For a model of numeric sequences arrays [time, features], or whatever
            else `flax_imdb.LSTMClassifier` takes, in the layout of the training.
          abstain: a coverage, such as 0.95. Each text gets a set of classes, which has the true one
            with this probability, and a label only if that is one class alone (see
            `flax_imdb.training.conformal`). None: each text has a label.

        Raises:
          InputError: `texts` is a single text, or one of them cannot be classified (check with
            `unreadable` first); or the model cannot abstain with this coverage.
        """
        least = None if abstain is None else self.least_probability(abstain)
        encoded = self._encode(texts)
        return self.predictions(encoded, [least] * len(encoded))

    def least_probability(self, coverage: float, setting: str = "`abstain`") -> float:
        """The probability that a class needs to be in a prediction set of this coverage.

        Args:
          coverage: between 0 and 1.
          setting: what messages call it.

        Raises:
          InputError: it makes no sense, or there are too few rows that the model was calibrated
            with, or none.
        """
        check_coverage(setting, coverage)
        if self.info.multi_label:
            raise InputError(
                f"{setting} {coverage} is for models of one label: where a text may have several, "
                "each is decided by its threshold"
            )
        if not self.info.conformity:
            raise InputError(
                f"{setting} {coverage} needs rows to calibrate with, and this model was trained "
                "without: `calibration_examples` 1000 in training holds out 1,000"
            )
        return least_probability(self.info.conformity, coverage, setting)

    @fixed_settings()
    def predictions(
        self, encoded: Sequence[np.ndarray], least: Sequence[float | None]
    ) -> list[Prediction]:
        """The predictions for texts or sequences that are encoded. See `predict_encoded`.

        Args:
          encoded: the texts.
          least: of each, from `least_probability`; None: it gets a label in any case.
        """
        if not encoded:
            return []
        examples = self._examples(encoded)
        probabilities = self._predict(examples)
        if all(each is None for each in least):
            return [*map(self.prediction, probabilities)]
        sets = self._sets(examples, probabilities, [each or 0 for each in least])
        return [
            self.prediction(row, None if each is None else members)
            for row, each, members in zip(probabilities, least, sets, strict=True)
        ]

    def prediction(
        self, probabilities: np.ndarray, members: np.ndarray | None = None
    ) -> Prediction:
        """The prediction for a text.

        Args:
          probabilities: of the classes, float32 [classes].
          members: which are in its prediction set, bool [classes]; None: it has none.
        """
        classes, thresholds = self.info.classes, self.info.threshold_of
        label, labels, in_set = classes[int(np.argmax(probabilities))], None, None
        if thresholds:
            is_above = above(probabilities, thresholds.values())
            labels = tuple(itertools.compress(classes, is_above))
        if members is not None:
            in_set = tuple(itertools.compress(classes, members))
        return Prediction(
            # A set of one class has the likeliest: it needs what others need, too.
            label=label if in_set is None or len(in_set) == 1 else None,
            probabilities=dict(zip(classes, probabilities.tolist(), strict=True)),
            labels=labels,
            prediction_set=in_set,
        )

    @fixed_settings()
    def compile(self, rows: int | None = None, *, explanations: bool = False) -> None:
        """Compile now what predictions need, which is otherwise compiled when it is first needed.

        Texts are predicted in batches of few sizes (1, 8 and the batch size of the training) and
        padded lengths, each of which is compiled once and kept. After this call no prediction of up
        to `rows` texts at once compiles anything. Predictions may be asked for from several
        threads, and meanwhile, too.

        Args:
          rows: the largest number of texts in a call of `predict`; None: any number.
          explanations: whether to compile what `explain` needs, too.
        """
        self._predictor.compile(rows, self.info.task.blank)
        if explanations:
            self.info.check_texts("explain")
            for time in self.trainer.batching.padded_lengths:
                tokens = np.full(time, PAD, np.int32)
                tokens[0] = START
                self._attribute(tokens, 1, [0])

    @fixed_settings()
    def predict_probabilities(
        self,
        texts: Iterable[Any],
        *,
        wordless: bool = False,
    ) -> np.ndarray:
        """The classes' probabilities, float32 [texts, classes]. See `predict`.

        With `wordless`, texts of punctuation alone are classified, too, as in training and `score`.
        """
        encoded = self._encode(texts, wordless)
        if not encoded:
            return np.empty((0, len(self.info.classes)), np.float32)
        return self.predict_encoded(encoded)

    @fixed_settings()
    def predict_set(
        self,
        texts: Iterable[Any],
        coverage: float,
        *,
        wordless: bool = False,
        setting: str = "`abstain`",
    ) -> np.ndarray:
        """The classes in the prediction sets, bool [texts, classes]. See `predict`.

        Args:
          texts: the texts.
          coverage: how often the true class is to be in the set.
          wordless: as in `predict_probabilities`.
          setting: what messages call the coverage.
        """
        least = self.least_probability(coverage, setting)
        encoded = self._encode(texts, wordless)
        if not encoded:
            return np.empty((0, len(self.info.classes)), bool)
        examples = self._examples(encoded)
        return self._sets(examples, self._predict(examples), least)

    def _encode(self, texts: Iterable[Any], wordless: bool = False) -> list[np.ndarray]:
        if isinstance(self.info.inputs, Standardizer):
            return self.encode_sequences(as_sequences(texts, self.config.data.layout))
        return self._encode_texts(as_texts(texts), wordless)

    def _encode_texts(self, texts: Sequence[str], wordless: bool) -> list[np.ndarray]:
        words = read_texts(texts, self.vocabulary.rules, wordless)
        encoded = [self.vocabulary.encode(of_text) for of_text in words]
        unknown = [str(number) for number, ids in enumerate(encoded, 1) if is_unknown(ids)]
        warn_of_unknown(unknown, len(encoded))
        return encoded

    def encode_sequences(self, sequences: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Numeric sequences for `predict_encoded`: standardized.

        Args:
          sequences: arrays [time, features] of one width, from `flax_imdb.data.as_sequences`.

        Raises:
          InputError: they have other features than the model, which may read texts.
        """
        check_width(sequences, self.info.standardizer.features)
        return [self.info.standardizer(sequence) for sequence in sequences]

    @fixed_settings()
    def predict_encoded(self, encoded: Sequence[np.ndarray]) -> np.ndarray:
        """The classes' probabilities, float32 [texts, classes], of texts that are encoded.

        Args:
          encoded: the ids of one text or more, from `Vocabulary.encode`; or numeric sequences,
            from `encode_sequences`.

        Raises:
          InputError: a probability is NaN.
        """
        return self._predict(self._examples(encoded))

    def _predict(self, examples: Examples) -> np.ndarray:
        """The classes' probabilities, float32 [examples, classes]."""
        probabilities = self._predictor(examples)
        _check_number(probabilities)
        return of_each_class(probabilities, self.info.multi_label)

    def _sets(
        self, examples: Examples, probabilities: np.ndarray, least: float | Sequence[float]
    ) -> np.ndarray:
        """Which classes are in the prediction sets, bool [examples, classes]."""
        texts = self.info.task.features is None
        unknown = examples.are_unknown() if texts else np.zeros(len(examples), bool)
        return prediction_sets(probabilities, np.asarray(least, float), unknown)

    @fixed_settings()
    def explain(
        self, texts: Iterable[str], *, classes: Sequence[str] | None = None
    ) -> list[Explanation]:
        """Classify texts, and say which of their words made the answers.

        Args:
          texts: as in `predict`.
          classes: those to explain. None: of two the second; of more, and of several labels, those
            that are likeliest for the text, at most `flax_imdb.explain.MAX_EXPLAINED`.

        Raises:
          InputError: as in `predict`, or there is no such class.
        """
        self.info.check_texts("explain")
        texts = as_texts(texts)
        predictions = self.predict(texts)
        explained = [
            self.explain_prediction(text, prediction, classes)
            for text, prediction in zip(texts, predictions, strict=True)
        ]
        for explanation in explained:
            if not explanation.complete:
                warn(
                    f"the weights of the words in {explanation.text[:20]!r} do not add up to the "
                    "difference"
                )
        return explained

    @fixed_settings()
    def explain_prediction(
        self, text: str, prediction: Prediction, classes: Sequence[str] | None = None
    ) -> Explanation:
        """The explanation of what was predicted for a text, without warnings. See `explain`."""
        names = self.info.classes
        two = len(names) == 2 and not self.info.multi_label
        known = names[1:] if two else names
        for name in classes or ():
            if name not in known:
                raise InputError(f"{name!r} cannot be explained: one of {', '.join(known)}")
        if classes is None:
            likeliest = sorted(names, key=lambda name: -prediction.probabilities[name])
            classes = names[1:] if two else likeliest[:MAX_EXPLAINED]
        words = split_words(text, self.vocabulary.rules)
        examples = self._examples([self.vocabulary.encode(words)])
        batching = self.trainer.batching
        batch = batching.make(examples, batching.plan_evaluation(examples)[0])
        tokens = batch["tokens"][0]
        logits = [0] if two else [names.index(name) for name in classes]
        made = self._attribute(tokens, int(batch["lengths"][0]), logits)
        read = np.flatnonzero(is_word(tokens))
        weights = np.zeros((len(classes), len(words)))
        # Of a long text the model may read one end alone.
        first = 0 if self.config.data.end == "first" else len(words) - len(read)
        weights[:, first : first + len(read)] = made.weights[:, read]
        spans = word_spans(text, self.vocabulary.rules)
        return Explanation(
            text=text,
            label=prediction.likeliest,
            labels=prediction.labels,
            probabilities=prediction.probabilities,
            differences=dict(zip(classes, made.differences.tolist(), strict=True)),
            words=tuple(
                Word(word, *span, dict(zip(classes, of_word.tolist(), strict=True)))
                for word, span, of_word in zip(words, spans, weights.T, strict=True)
            ),
        )

    def _examples(self, encoded: Sequence[np.ndarray]) -> Examples:
        """Encoded texts as the model reads them; their labels mean nothing."""
        data = self.config.data
        examples = Examples.build(encoded, np.zeros(len(encoded)))
        if isinstance(self.info.inputs, Standardizer):
            return examples.shortened(data.longest, data.end)
        return examples.limited(data.vocab_size, data.longest, data.end)

    def _attribute(self, tokens: np.ndarray, length: int, logits: Sequence[int]) -> Attribution:
        with jax.enable_x64(True):
            return attribute(self._exact, self.config.model, tokens, length, logits)

    @functools.cached_property
    def _exact(self) -> TrainState:
        """The state for explanations."""
        model = dataclasses.replace(self.config.model, precision="float32")
        config = dataclasses.replace(self.config, model=model)
        return exact(self.state, config.classifier(self.info.task))

    def evaluate(self, data_dir: str | None = None) -> tuple[float, float]:
        """Mean loss in nats and accuracy on the run's test split. See `test_examples`."""
        scores = self.score(self.test_examples(data_dir))
        return scores.test_loss, scores.test_accuracy

    def test_examples(self, data_dir: str | None = None) -> Examples:
        """The run's test split.

        Args:
          data_dir: directory of the reviews, if they have moved since training.

        Raises:
          InputError: the texts are not there, or differ from those of the run.
        """
        data = self.config.data
        if data_dir is not None:
            data = dataclasses.replace(data, data_dir=data_dir)
        # Otherwise the texts themselves make the same vocabulary, which may be in the cache.
        known = None if self.config.init_from is None else self.info
        dataset = load_dataset(data, known=known)
        self.info.check_same(dataset.info, dataset.location)
        return dataset.test

    def score(self, examples: Examples) -> Scores:
        """The scores on the test split, or on what `flax_imdb.data.load_examples` has read."""
        evaluation, info = self.predict_examples(examples), self.info
        return score(evaluation, examples.labels, info.classes, info.threshold_of)

    @fixed_settings()
    def score_sets(self, examples: Examples, coverage: float) -> SetScores:
        """The scores of prediction sets of this coverage. See `score` and `predict`.

        Raises:
          InputError: the model cannot abstain with this coverage, or a probability is NaN.
        """
        least = self.least_probability(coverage)
        probabilities = self._predict(examples)
        return score_sets(self._sets(examples, probabilities, least), examples.labels, coverage)

    @fixed_settings()
    def predict_examples(self, examples: Examples) -> Evaluation:
        """What the model predicts for each example, with loss and accuracy. See `score`.

        Raises:
          InputError: a probability is NaN.
        """
        evaluation = self.trainer.evaluate(self.state, examples)
        _check_number(evaluation.probability)
        if not self.info.multi_label:
            return evaluation
        return decide(evaluation, examples.labels, self.info.threshold_of.values())


def _check_number(probabilities: np.ndarray) -> None:
    """Raise InputError if there is a NaN: it has no label, and is not JSON."""
    if np.isnan(probabilities).any():
        raise InputError(
            "the model's answer is not a number: its parameters are damaged or too large"
        )


def as_texts(texts: Iterable[str]) -> list[str]:
    """The texts as a list; an iterator is consumed.

    Raises:
      InputError: `texts` is a single text, or something else that is no list of texts.
    """
    if isinstance(texts, str | bytes):
        raise InputError("a list of texts is needed, and this is one text: put it in brackets")
    listed = isinstance(texts, Iterable) and not isinstance(texts, Mapping | Set)
    if not listed or getattr(texts, "ndim", 1) != 1:
        raise InputError(f"a list of texts is needed, and this is a {type(texts).__name__}")
    return list(texts)


def read_texts(texts: Sequence[str], rules: TextRules, wordless: bool = False) -> list[list[str]]:
    """The words of each text; with `wordless` there may be none.

    Raises:
      InputError: a text cannot be classified.
    """
    return _of_each(texts, lambda text: words_of(text, rules, wordless))


def check_texts(texts: Sequence[str]) -> None:
    """Raise InputError if a text is blank or cannot be read; it may have no words."""
    _of_each(texts, _check_text)


def _of_each(texts: Sequence[str], function: Callable[[str], T]) -> list[T]:
    """What a function gives for each text; an InputError from it gets the number of the text."""
    results = []
    for number, text in enumerate(texts, start=1):
        try:
            results.append(function(text))
        except InputError as reason:
            raise InputError(f"text {number} cannot be read: {reason}") from None
    return results


def is_unknown(ids: np.ndarray) -> bool:
    """Whether the model knows no word of an encoded text."""
    return bool(np.all(ids[1:] == UNKNOWN))


def warn_of_unknown(unknown: Sequence[str], texts: int, number: int | None = None) -> None:
    """Warn of texts of which the model knows no word, if there are any.

    Args:
      unknown: the first of them, as they are to be named.
      texts: the number of all texts.
      number: the number of unknown ones; None: those listed.
    """
    number = len(unknown) if number is None else number
    if number:
        listed = ", ".join(unknown[:3]) + (", ..." if number > 3 else "")
        warn(
            f"no word is known to the model in {number} of {texts} texts ({listed}): their "
            "predictions mean nothing"
        )


@fixed_settings()
def load(workdir: str | os.PathLike[str], device: DeviceName = "auto") -> TrainedModel:
    """Load the model of a run: the parameters of its reported epoch.

    Args:
      workdir: directory of the run, or that of a model that was exported as safetensors.
      device: kind of device to use.

    Raises:
      InputError: there is no run, it has no finished epoch, or its files do not match.
    """
    files = Workdir(workdir)
    devices = select_devices(device, read_config(files).training.batch_size)  # JAX starts here.
    return _on_devices(read_stored(files), devices)


@fixed_settings()
def assemble(
    config: ExperimentConfig,
    info: DatasetInfo,
    variables: Mapping[str, Any],
    result: Result | None = None,
    device: DeviceName = "auto",
) -> TrainedModel:
    """The model with these parameters, which it evaluates as they are.

    Args:
      config: the configuration of the experiment.
      info: the classes, and how inputs become numbers.
      variables: the parameters and constants, as ``{"params": ..., "constants": ...}``.
      result: the result of the run, if it is known.
      device: kind of device to use.
    """
    devices = select_devices(device, config.training.batch_size)
    return _on_devices(with_variables(config, info, variables, result), devices)


def _on_devices(stored: Stored, devices: list[jax.Device]) -> TrainedModel:
    config, info, state, result = stored
    trainer = config.trainer(devices)
    return TrainedModel(config, info, trainer.place(state), trainer, result)


def save(
    workdir: str | os.PathLike[str],
    config: ExperimentConfig,
    info: DatasetInfo,
    state: TrainState,
    *,
    epochs: Sequence[EpochRecord] = (),
    environment: Mapping[str, str] = MappingProxyType({}),
    files: Mapping[str, str] = MappingProxyType({}),
    overwrite: bool = False,
) -> None:
    """Save a model as the directory of a run, which `load` and the commands know.

    Args:
      workdir: the directory.
      config: the experiment.
      info: the classes, and how inputs become numbers.
      state: the training state after the last of `epochs`.
      epochs: the metrics of each epoch up to the reported one; none of a model that was not trained
        here.
      environment: that of the training (see `flax_imdb.environment.describe`); empty: not known.
      files: the content of more files, by name.
      overwrite: delete the run that is there.

    Raises:
      InputError: there is a run, or the directory cannot be written.
    """
    directory = Workdir(workdir)
    directory.check_own() if overwrite else directory.check_free()
    run = Identity(identity(config), info.fingerprint, info.settled, environment)
    files = {"config.json": dump_config(config), "vocabulary.json": info.dump(), **files}
    with directory.hold():
        directory.clear()
        for name, content in files.items():
            directory.write(name, content)
        with Checkpoints(directory.checkpoints, run) as checkpoints:
            checkpoints.save(state, History(list(epochs)))
        directory.write_records(epochs)
