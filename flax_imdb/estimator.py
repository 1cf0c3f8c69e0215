"""The classifier as a scikit-learn estimator."""

import dataclasses
import functools
import json
import operator
import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, Self

import numpy as np
from rich.console import Console
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from flax_imdb.config import ExperimentConfig, settings
from flax_imdb.data import (
    DataConfig,
    Dataset,
    DatasetInfo,
    Standardizer,
    Task,
    Vocabulary,
    are_sequences,
    as_sequences,
    encode,
    make_dataset,
    make_sequences,
)
from flax_imdb.data.examples import relabelled
from flax_imdb.data.sources import (
    ArraySequences,
    ArraySource,
    listed,
    order_labels,
    problem_of_label,
)
from flax_imdb.devices import DeviceName, select_devices
from flax_imdb.environment import describe, fixed_settings
from flax_imdb.errors import InputError, check_between, is_number, one_line, warn
from flax_imdb.experiment import calibrated, show_word_vectors, with_saved_vectors
from flax_imdb.models import ModelConfig
from flax_imdb.predict import TrainedModel, as_texts, check_texts, load, save
from flax_imdb.report import Report
from flax_imdb.start import check_settings, started
from flax_imdb.training import (
    EpochRecord,
    History,
    Predictor,
    TrainConfig,
    Trainer,
    TrainState,
    above,
    check_monitor,
    choose_thresholds,
    restarted,
    saved_arrays,
    to_evaluate,
)
from flax_imdb.workdir import Workdir

Compiled = tuple[Trainer, Callable[[int], TrainState]]


@dataclasses.dataclass
class _Fitted:
    """What `fit` leaves, without anything that cannot be pickled.

    Attributes:
      config: the experiment.
      info: the classes, and how inputs become numbers.
      epochs: the metrics of each.
      arrays: those of the state that is evaluated, the reported epoch's, in NumPy.
    """

    config: ExperimentConfig
    info: DatasetInfo
    epochs: list[EpochRecord]
    arrays: dict[str, Any]

    def state(self) -> TrainState:
        """The state to save, with the optimizer as it was before the first step."""
        state = self.config.create_state(self.info.task)
        return restarted(state, state.replace(**self.arrays))

    @property
    def variables(self) -> dict[str, Any]:
        """Parameters and constants."""
        return {"params": self.arrays["params"], "constants": self.arrays.get("constants", {})}

    def until_reported(self) -> list[EpochRecord]:
        """The epochs up to the reported one."""
        return [epoch for epoch in self.epochs if epoch.step <= int(self.arrays["step"])]


class LSTMClassifier(ClassifierMixin, BaseEstimator):
    """An LSTM classifier of texts or of numeric sequences, with scikit-learn's manners.

    It trains as the command does, and gives the same numbers on the same data. `X` is a list of
    texts: a list, a tuple, a NumPy array or a pandas Series of strings. Or it is a list of numeric
    sequences: arrays [time, features] of any lengths, arrays [time] of one feature, or one array
    [cases, time, features]. All arguments must be given by name.

    Example:
      >>> from flax_imdb import LSTMClassifier
      >>> texts = ["a good film", "a bad film"] * 20
      >>> classifier = LSTMClassifier(features=8, epochs=4, batch_size=8, learning_rate=0.05)
      >>> classifier = classifier.fit(texts, ["yes", "no"] * 20)
      >>> classifier.predict(["good", "a bad one"]).tolist()
      ['yes', 'no']

    Where a text may have several labels, `y` is a matrix of 0 and 1 with a column for each label,
    and so is what `predict` gives; `predict_proba` has the probability of each. The threshold of
    each label is chosen on the validation part, or is 0.5 without one. A single column is, as
    everywhere in scikit-learn, one label of each text.

    Args:
      arch: the architecture, as in `flax_imdb.ModelConfig`, like the next twelve.
      embedding_features: width of the embedding.
      features: width of the LSTM's state, per direction.
      layers: LSTM layers, one on the outputs of another.
      pooling: what the head sees of the LSTM's outputs: last, max, mean or max_mean.
      ngrams: length of the longest n-gram that has an embedding.
      ngram_buckets: number of embeddings for the n-grams of each length.
      wide_ngrams: beside the encoder train logistic regression on the n-grams of 1 to `wide_ngrams`
        tokens, and predict the mean of both; 0: do not.
      wide_buckets: number of weights of these n-grams.
      wide_weight: their weight in that mean, from 0 to 1; the encoder has the rest.
      dropout: rate of the architecture's dropout; None: its own.
      recurrent_dropout: rate of dropout of the LSTM's state; None: the architecture's own.
      word_dropout: rate at which whole tokens are dropped.
      head_dropout: rate of dropout of the head's inputs; None: as `dropout` says.
      precision: float32 or bfloat16.
      implementation: how the LSTM is computed.
      text: which words a text has: unicode or keras, as in `flax_imdb.DataConfig`, like the next
        four.
      layout: the axes of numeric sequences: channels-last, or channels-first for [features, time],
        as in aeon and sktime.
      vocab_size: number of token ids.
      max_length: longer texts and sequences are read as `long` says.
      long: of a longer one, read its tail, its head, or windows and average their logits.
      padding: masked or keras.
      epochs: passes over the training texts, as in `flax_imdb.TrainConfig`, like the next eleven.
      batch_size: texts per step.
      learning_rate: that of Adam, or the highest one of the schedule.
      schedule: of the learning rate: constant, linear or cosine.
      warmup_steps: steps over which the learning rate is raised first.
      weight_decay: part of the weights, times the learning rate, that each step subtracts.
      clip_norm: the highest global norm of a gradient; None: no clipping.
      averaging: exponent of the weights in the average of the parameters; None: no average.
      label_smoothing: part of a uniform distribution in the targets.
      adversarial_norm: norm of the adversarial perturbation of the embedded texts, or of the
        standardized sequences; 0: none.
      embeddings: a file of word vectors to begin the embedding with, whose width it then has.
      freeze_embeddings: keep the embedding as it begins.
      class_weight: None, ``"balanced"``, or the weight of each class; None where a text may have
        several.
      validation_fraction: the part of the texts to hold out, to keep the epoch that is best on
        them. 0: none, and the last epoch is kept.
      calibration_fraction: the part of the texts to hold out for `predict_set`, which select
        nothing.
      monitor: what decides which epoch that is: accuracy, loss, macro_f1 or, for two classes,
        roc_auc. None: accuracy; where a text may have several labels, loss.
      early_stopping: whether to stop when no epoch has been better for `n_iter_no_change` epochs;
        it needs `validation_fraction`.
      n_iter_no_change: that number of epochs; without `early_stopping` it does not matter.
      warm_start: whether another `fit` starts from the parameters, the vocabulary and the classes
        of the one before, with a new optimizer.
      random_state: the seed, or where it comes from. None: another one for each fit.
      device: train and predict on all devices of this kind.
      verbose: above 0: show the progress.

    Attributes:
      classes_: the labels, sorted; of a matrix of several, the names or the numbers of its columns.
      n_iter_: number of epochs.
      history_: the metrics of each epoch, as in ``metrics.jsonl``.
    """

    classes_: np.ndarray

    def __init__(
        self,
        *,
        arch: str = "lstm",
        embedding_features: int = 32,
        features: int = 100,
        layers: int = 1,
        pooling: str = "last",
        ngrams: int = 1,
        ngram_buckets: int = 2**18,
        wide_ngrams: int = 0,
        wide_buckets: int = 2**20,
        wide_weight: float = 0.5,
        dropout: float | None = None,
        recurrent_dropout: float | None = None,
        word_dropout: float = 0.0,
        head_dropout: float | None = None,
        precision: str = "float32",
        implementation: str = "auto",
        text: str = "unicode",
        layout: str = "channels-last",
        vocab_size: int = 5000,
        max_length: int = 500,
        long: str = "tail",
        padding: str = "masked",
        epochs: int = 3,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        schedule: str = "constant",
        warmup_steps: int = 0,
        weight_decay: float = 0.0,
        clip_norm: float | None = 1.0,
        averaging: float | None = 3.0,
        label_smoothing: float = 0.0,
        adversarial_norm: float = 0.0,
        embeddings: str | os.PathLike[str] | None = None,
        freeze_embeddings: bool = False,
        class_weight: str | Mapping[Any, float] | None = None,
        validation_fraction: float = 0.0,
        calibration_fraction: float = 0.0,
        monitor: str | None = None,
        early_stopping: bool = False,
        n_iter_no_change: int = 10,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = 7,
        device: DeviceName = "auto",
        verbose: int = 0,
    ):
        self.arch = arch
        self.embedding_features = embedding_features
        self.features = features
        self.layers = layers
        self.pooling = pooling
        self.ngrams = ngrams
        self.ngram_buckets = ngram_buckets
        self.wide_ngrams = wide_ngrams
        self.wide_buckets = wide_buckets
        self.wide_weight = wide_weight
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.word_dropout = word_dropout
        self.head_dropout = head_dropout
        self.precision = precision
        self.implementation = implementation
        self.text = text
        self.layout = layout
        self.vocab_size = vocab_size
        self.max_length = max_length
        self.long = long
        self.padding = padding
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup_steps = warmup_steps
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.averaging = averaging
        self.label_smoothing = label_smoothing
        self.adversarial_norm = adversarial_norm
        self.embeddings = embeddings
        self.freeze_embeddings = freeze_embeddings
        self.class_weight = class_weight
        self.validation_fraction = validation_fraction
        self.calibration_fraction = calibration_fraction
        self.monitor = monitor
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.three_d_array = True
        tags.input_tags.two_d_array = False
        assert tags.classifier_tags is not None
        tags.classifier_tags.multi_label = True
        return tags

    @fixed_settings()
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Train on texts or numeric sequences and their labels.

        Args:
          X: the texts or sequences.
          y: a label for each: strings, integers or booleans; or, where a text may have several, 1
            for each that it has and 0 for others, [texts, labels].
          sample_weight: the weight of each in the training loss (default: 1).

        Raises:
          InputError: texts, sequences, labels or parameters make no sense.
        """
        inputs = X if are_sequences(X) else _listed(X)
        if (several := _several(y)) is not None:
            classes, labels = several
            of_examples = np.zeros(len(labels), int)
            self._check_several([*map(str, classes)])
        else:
            classes, labels = _labels(y)
            of_examples = classes[labels]
        check_consistent_length(inputs, labels)
        config = self._config(len(inputs), several is not None)
        before = self._fitted if self.warm_start and hasattr(self, "_fitted") else None
        names, known = tuple(map(str, classes)), None
        if before is not None:
            read = Task(multi_label=several is not None, features=1 if are_sequences(X) else None)
            config = self._continued(config, before, read, classes)
            names, known = before.info.classes, before.info.inputs
        elif several is None:
            names = order_labels(names)  # As the command orders them.
        numbers = np.array([names.index(str(label)) for label in classes], np.int32)
        codes = relabelled(labels, numbers, len(names))
        dataset = _dataset(inputs, codes, names, config.data, known)
        for warning in dataset.warnings:
            warn(warning)
        monitor = config.training.monitor_of(dataset.info.multi_label)
        check_monitor(monitor, dataset.validation.labels, len(names))
        rows = dataset.train.ids
        weights = _weights(self.class_weight, sample_weight, of_examples, rows)
        dataset = dataclasses.replace(dataset, train=dataset.train.weighted(weights))
        self._train(config, dataset, before)
        if before is None:
            self.classes_ = classes
        self._loaded()
        return self

    def _continued(
        self, config: ExperimentConfig, before: _Fitted, read: Task, classes: np.ndarray
    ) -> ExperimentConfig:
        """The experiment that goes on from what an earlier fit left.

        Raises:
          InputError: this experiment, this task or one of these classes does not go with it.
        """
        where = "the classifier that `warm_start` starts from"
        if read.kind != before.info.task.kind:
            raise InputError(f"{where} is for {before.info.task.kind}, and these are {read.kind}")
        if config.training.embeddings is not None:
            config = with_saved_vectors(config, before.config, f"{where} has")
        check_settings(config, before.config, where)
        known = self.classes_.tolist()
        if unknown := [repr(label) for label in classes.tolist() if label not in known]:
            raise InputError(
                f"{where} does not know the labels {listed(unknown, 3)}: it knows "
                f"{listed([*map(repr, known)], 5)}"
            )
        return config

    def _check_several(self, names: Sequence[str]) -> None:
        """Raise InputError if several labels cannot be trained on as the parameters say."""
        if self.class_weight is not None:
            raise InputError(
                f"class_weight {self.class_weight!r} makes no sense where a text may have several "
                "labels: it is not of one class; validation_fraction chooses each label's threshold"
            )
        if self.calibration_fraction:
            raise InputError(
                f"`calibration_fraction` {self.calibration_fraction} has no effect where a text "
                "may have several labels: each has its threshold, by `validation_fraction`"
            )
        if len(set(names)) < len(names):
            raise InputError(f"the columns of y have names that are alike: {', '.join(names)}")
        for number, name in enumerate(names, start=1):
            if problem := problem_of_label(name):
                raise InputError(f"column {number} of y {problem}")

    def _train(self, config: ExperimentConfig, dataset: Dataset, before: _Fitted | None) -> None:
        report = Report(Console(quiet=not self.verbose))
        vectors = None
        if config.training.embeddings is not None and before is None:
            vectors = show_word_vectors(config, dataset, report)
            config = config.with_vectors(vectors)
        trainer, create = self._compiled(config, dataset.info, len(dataset.train))
        history = History()
        state = create(config.training.seed)
        if before is None:
            state = config.begin(state, dataset.train, vectors)
        else:
            state = started(state, before.variables)
        with report.epochs(config.training.epochs):
            epochs = trainer.train_epochs(
                trainer.place(state),
                dataset,
                history,
                config.training,
                on_step=report.step,
                on_evaluated=lambda state, history, *done: report.evaluated(*done),
            )
            for state, evaluation in epochs:
                report.epoch(history.epochs[-1])
                if history.best() is history.epochs[-1]:
                    arrays, best = saved_arrays(to_evaluate(state)), evaluation
        info = dataset.info
        if info.multi_label and best is not None:
            thresholds = choose_thresholds(best.probability, dataset.validation.labels)
            info = dataclasses.replace(info, thresholds=thresholds)

        def predictor() -> Predictor:
            return trainer.predictor(trainer.place(state.replace(**arrays)))

        info = calibrated(info, dataset.calibration, predictor)
        self._keep(_Fitted(config, info, history.epochs, arrays))

    def _keep(self, fitted: _Fitted) -> None:
        self._fitted = fitted
        self._model: TrainedModel | None = None
        self.n_iter_ = len(fitted.epochs)
        self.history_ = [dataclasses.asdict(epoch) for epoch in fitted.epochs]

    def _loaded(self) -> TrainedModel:
        """The model, which is not pickled with the rest."""
        if self._model is None:
            fitted = self._fitted
            trainer, create = self._compiled(fitted.config, fitted.info)
            state = create(0).replace(**fitted.arrays)
            self._model = TrainedModel(fitted.config, fitted.info, trainer.place(state), trainer)
        return self._model

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return state | ({"_model": None} if "_model" in state else {})

    def _compiled(self, config: ExperimentConfig, info: DatasetInfo, examples: int = 1) -> Compiled:
        """The trainer, and what creates its states; those of an earlier `fit` if they fit."""
        # The number of steps matters to a schedule alone.
        steps = 1 if config.training.schedule == "constant" else config.training.steps(examples)
        training = dataclasses.replace(
            config.training, seed=0, epochs=1, patience=None, monitor=TrainConfig.monitor
        )
        data = dataclasses.replace(config.data, validation_examples=0, calibration_examples=0)
        config = dataclasses.replace(config, training=training, data=data)
        return _compiled(config, info.task, steps, self.device)

    def _config(self, texts: int, multi_label: bool) -> ExperimentConfig:
        validation = self._held_out("validation_fraction", texts)
        calibration = self._held_out("calibration_fraction", texts)
        if validation == 0 and (self.early_stopping or self.monitor != TrainConfig.monitor):
            setting = "early_stopping" if self.early_stopping else "monitor"
            raise InputError(
                f"`{setting}` {getattr(self, setting)} needs `validation_fraction`: the part of "
                "the texts to hold out, such as 0.1"
            )
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31)
        check_between("random_state", int(seed), 0, 2**32 - 1)
        # A grid is often an array, whose numbers are NumPy's.
        own = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self.get_params().items()
        }
        parts = {
            part: {
                field.name: own[field.name]
                for field in dataclasses.fields(part)
                if field.name in own
            }
            for part in (ModelConfig, DataConfig, TrainConfig)
        }
        patience = own["n_iter_no_change"] if self.early_stopping else None
        return ExperimentConfig(
            model=ModelConfig(**parts[ModelConfig]),
            data=DataConfig(
                **parts[DataConfig],
                dataset="python",
                multi_label=multi_label,
                validation_examples=validation,
                calibration_examples=calibration,
            ),
            training=TrainConfig(**parts[TrainConfig], seed=int(seed), patience=patience),
        )

    def _held_out(self, setting: str, texts: int) -> int:
        """The number of texts to hold out of so many, as this parameter says."""
        fraction = getattr(self, setting)
        if not is_number(fraction) or not 0 <= fraction < 1:
            raise InputError(
                f"`{setting}` {fraction} makes no sense: a number from 0 to below 1 is needed"
            )
        held_out = round(fraction * texts)
        if fraction > 0 and not 0 < held_out < texts:
            raise InputError(
                f"`{setting}` {fraction} makes no sense: of {texts} texts it holds out {held_out}"
            )
        return held_out

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The likeliest label of each; of several labels, 1 for those above their thresholds.

        Raises:
          InputError: `X` is no list of texts or sequences.
        """
        probabilities = self.predict_proba(X)
        if thresholds := self._fitted.info.threshold_of:
            of_classes = [thresholds[str(label)] for label in self.classes_]
            return above(probabilities, of_classes).astype(int)
        return self.classes_[np.argmax(probabilities, axis=1)]

    @fixed_settings()
    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """The probability of each class, in the order of `classes_`: float32 [texts, classes].

        They add up to 1, but not where a text may have several labels.

        Raises:
          InputError: `X` is no list of texts or sequences.
        """
        check_is_fitted(self)
        model = self._loaded()
        inputs = X if are_sequences(X) else _listed(X)
        return model.predict_probabilities(inputs, wordless=True)[:, self._columns(model)]

    @fixed_settings()
    def predict_set(self, X: Any, coverage: float = 0.95) -> np.ndarray:  # noqa: N803
        """The prediction sets: which classes are in them, bool [texts, classes].

        They are in the order of `classes_`. A set has the true class with a probability of
        `coverage` or more, over texts like those of the training. See
        `flax_imdb.TrainedModel.predict`.

        Raises:
          InputError: `X` is no list of texts or sequences; there was no `calibration_fraction`, or
            so small a one that this coverage is impossible; or a text may have several labels.
        """
        check_is_fitted(self)
        model = self._loaded()
        if not model.info.conformity and not model.info.multi_label:
            raise InputError(
                "predict_set needs `calibration_fraction`: the part of the texts to hold out of "
                "training, such as 0.1"
            )
        inputs = X if are_sequences(X) else _listed(X)
        sets = model.predict_set(inputs, coverage, wordless=True, setting="`coverage`")
        return sets[:, self._columns(model)]

    def _columns(self, model: TrainedModel) -> list[int]:
        """The numbers of the model's classes, in the order of `classes_`."""
        return [model.info.classes.index(str(label)) for label in self.classes_]

    @fixed_settings()
    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Save as the directory of a run, which the commands know, too. Nothing is pickled.

        Args:
          path: the directory.
          overwrite: delete the run that is there.

        Raises:
          InputError: there is a run, or the directory cannot be written.
        """
        check_is_fitted(self)
        fitted = self._fitted
        devices = self._loaded().trainer.mesh.devices.ravel().tolist()
        save(
            path,
            fitted.config,
            fitted.info,
            fitted.state(),
            epochs=fitted.until_reported(),
            environment=describe(devices),
            files={"estimator.json": self._dump()},
            overwrite=overwrite,
        )

    def _dump(self) -> str:
        """What `load` needs beside the files of a run, as JSON."""
        weights: Any = self.class_weight
        if isinstance(weights, Mapping):
            weights = list(weights.items())  # JSON's names are strings.
        content = {
            "classes": self.classes_.tolist(),
            "class_weight": weights,
            "validation_fraction": self.validation_fraction,
            "calibration_fraction": self.calibration_fraction,
            "n_iter_no_change": self.n_iter_no_change,
            "warm_start": self.warm_start,
            "verbose": self.verbose,
        }
        as_number = operator.methodcaller("item")  # Of NumPy's.
        return json.dumps(content, indent=2, default=as_number, allow_nan=False) + "\n"

    @classmethod
    @fixed_settings()
    def load(cls, path: str | os.PathLike[str], device: DeviceName = "auto") -> Self:
        """Load what `save` has saved, or a run of the command, whose labels are strings.

        Args:
          path: the directory.
          device: predict on all devices of this kind.

        Raises:
          InputError: there is no such directory, or it is damaged.
        """
        workdir, model = Workdir(path), load(path, device)
        config = model.config
        saved = {"classes": model.info.classes, "class_weight": config.training.class_weights}
        if (text := workdir.read("estimator.json")) is not None:
            saved = _parse(text, workdir)
        classes = np.array(saved.pop("classes"))
        if isinstance(saved["class_weight"], list):
            saved["class_weight"] = dict(saved["class_weight"])
        by_name = settings(config) | {"random_state": config.training.seed, "device": device}
        if (patience := config.training.patience) is not None:
            by_name |= {"early_stopping": True, "n_iter_no_change": patience}
        own = {name: by_name[name] for name in cls().get_params() if name in by_name}
        estimator = cls(**own | saved)
        estimator.classes_ = classes
        arrays = saved_arrays(to_evaluate(model.state))
        estimator._keep(_Fitted(config, model.info, workdir.records(), arrays))
        return estimator


def _dataset(
    inputs: Any,
    codes: np.ndarray,
    names: tuple[str, ...],
    config: DataConfig,
    known: Vocabulary | Standardizer | None,
) -> Dataset:
    """The dataset of texts, or of numeric sequences; for what is `known` of an earlier fit's."""
    if are_sequences(inputs):
        assert not isinstance(known, Vocabulary)
        sequences = as_sequences(inputs, config.layout)
        return make_sequences(ArraySequences(sequences, codes, names, config.layout), config, known)
    assert not isinstance(known, Standardizer)
    config.check_effect(sequences=False)
    check_texts(inputs)
    source = ArraySource(inputs, codes, names)
    return make_dataset(source, encode(source, config.text, vocabulary=known), config)


# Compilation takes longer than training on a few thousand texts, and a grid search fits often.
@functools.lru_cache(maxsize=8)
def _compiled(config: ExperimentConfig, task: Task, steps: int, device: DeviceName) -> Compiled:
    devices = select_devices(device, config.training.batch_size)
    return config.trainer(devices), config.state_creator(task, steps)


def _parse(text: str, workdir: Workdir) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(text)
        names = {"classes", "class_weight", "validation_fraction", "verbose"}
        newer = {"n_iter_no_change", "warm_start", "calibration_fraction"}
        if not names <= content.keys() <= names | newer or not isinstance(content["classes"], list):
            raise ValueError("it has other names")
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{workdir.path / 'estimator.json'} is damaged: {error}") from error
    return content


def _listed(texts: Any) -> list[str]:
    if isinstance(texts, Iterator):
        raise InputError(
            "a list of texts is needed, and this can be read only once: list(...) makes one of it"
        )
    return as_texts(texts)


_NO_MATRIX = (
    "several labels of a text are given as a matrix of 0 and 1, with a column for each label: "
    "scikit-learn's MultiLabelBinarizer makes one of lists of labels"
)


def _several(y: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """The labels of a matrix of 0 and 1, and the matrix, float32; None if `y` is no matrix."""
    names = getattr(y, "columns", None)  # Of pandas.
    if issparse(y):
        y = y.toarray()
    rows: list[Any] = []
    if isinstance(y, list | tuple):
        rows = [row for row in y if isinstance(row, list | tuple | Set | np.ndarray)]
    if rows and (len({len(row) for row in rows}) > 1 or isinstance(rows[0], Set)):
        raise InputError(_NO_MATRIX)
    matrix: np.ndarray = np.asarray(y) if rows or hasattr(y, "__array__") else np.empty(0)
    if matrix.ndim != 2 or matrix.shape[1] < 2:
        return None
    # What is missing may not even be compared.
    missing = matrix.dtype.kind == "O" and any(map(_is_missing, matrix.flat))
    if missing or matrix.dtype.kind not in "biufO" or not np.all((matrix == 0) | (matrix == 1)):
        raise InputError(_NO_MATRIX)
    if len(np.unique(matrix.astype(np.float32), axis=0)) < 2:
        raise InputError("all texts have the same labels: there is nothing to tell apart")
    classes = np.arange(matrix.shape[1]) if names is None else np.array([*names])
    return classes, matrix.astype(np.float32)


def _labels(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """The classes, sorted, and the index of each label in them."""
    if y is None:
        raise ValueError("LSTMClassifier requires y to be passed, but the target y is None")
    if isinstance(y, str | bytes | Mapping | Set | Iterator) or (
        not isinstance(y, list | tuple) and np.asarray(y).ndim == 0
    ):
        raise InputError(f"a list of labels is needed, and this is a {type(y).__name__}")
    # Before NumPy makes strings of all of them.
    y = y if isinstance(y, list | tuple) else column_or_1d(np.asarray(y))
    for number, label in enumerate(y, start=1):
        if _is_missing(label):
            raise InputError(f"label {number} is {label}: each text needs a label")
        if isinstance(label, str) and (problem := problem_of_label(label)):
            raise InputError(f"label {number} {problem}")
    if len({isinstance(label, str) for label in y}) == 2:
        raise InputError("some labels are strings and others are not: make them all alike")
    y = column_or_1d(y)
    check_classification_targets(y)
    if y.dtype.kind not in "biufUO":
        raise InputError(
            f"the labels are of type {y.dtype}: strings, integers or booleans are needed"
        )
    classes, labels = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise InputError(
            f"there is one class alone, {classes.tolist()}: two or more are needed to tell apart"
        )
    return classes, labels


def _is_missing(label: Any) -> bool:
    try:
        return label is None or bool(label != label)
    except TypeError:  # Of pandas' NA nobody knows whether it equals itself.
        return True
    except ValueError:  # An array, which is no label.
        return False


def _weights(
    class_weight: Any, sample_weight: Any, labels: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """The weights of the texts that are trained on, whose indices are `rows`."""
    try:
        weights = compute_sample_weight(class_weight, labels[rows])
    except ValueError as error:
        raise InputError(
            f"class_weight {class_weight!r} makes no sense: None, 'balanced' or the weight of each "
            f"class is needed ({one_line(error)})"
        ) from None
    if sample_weight is not None:
        of_samples = np.asarray(sample_weight, np.float64)
        if of_samples.shape != labels.shape:
            raise InputError(
                f"sample_weight has the shape {of_samples.shape}: a number for each of the "
                f"{len(labels)} texts is needed"
            )
        weights = weights * of_samples[rows]
    # Of all classes, also of those that no text has: all are kept.
    by_class = class_weight.values() if isinstance(class_weight, Mapping) else ()
    kept = np.array([weight for weight in by_class if isinstance(weight, float | np.floating)])
    finite = np.all(np.isfinite(weights)) and np.all(np.isfinite(kept))
    if not finite or np.any(weights < 0) or not np.any(weights):
        by_text = sample_weight is not None and np.all(np.isfinite(kept))
        given = "sample_weight" if by_text else "class_weight"
        raise InputError(f"{given} must be finite, not negative and not all zero")
    return weights
