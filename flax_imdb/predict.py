"""Prediction with the model of a finished run."""

import dataclasses
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flax_imdb.config import ExperimentConfig, identity, identity_of_old
from flax_imdb.data import MAX_CHARACTERS, Examples, Vocabulary, load_dataset, split_words
from flax_imdb.devices import DeviceName, make_mesh, select_devices
from flax_imdb.environment import fixed_settings
from flax_imdb.errors import InputError
from flax_imdb.paths import exists
from flax_imdb.training import Trainer, TrainState, averaged
from flax_imdb.training.checkpoints import Checkpoints, Identity
from flax_imdb.workdir import Workdir


class Prediction(NamedTuple):
    """The prediction for a text.

    Attributes:
      probability: probability that the text is positive, in [0, 1].
      label: ``"positive"`` or ``"negative"``.
    """

    probability: float
    label: str


def unreadable(text: str) -> str | None:
    """Why `text` cannot be classified; None if it can."""
    if len(text) > MAX_CHARACTERS:
        return f"{len(text):,} characters are too many for a review: {MAX_CHARACTERS:,} at most"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "not UTF-8"
    if not split_words(text):
        return f"no words in {text[:20]!r}"
    return None


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """The model of a run, returned by `load`.

    Attributes:
      config: the configuration of the experiment.
      vocabulary: words to ids.
      fingerprint: identifies the reviews that the model was trained on.
      state: the training state of the reported epoch, with the parameters to evaluate.
      trainer: runs the model on the selected devices.
    """

    config: ExperimentConfig
    vocabulary: Vocabulary
    fingerprint: str
    state: TrainState
    trainer: Trainer

    @fixed_settings()
    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Classify raw texts.

        Raises:
          InputError: a text cannot be classified; check with `unreadable` first.
        """
        for number, text in enumerate(texts, start=1):
            if (reason := unreadable(text)) is not None:
                raise InputError(f"text {number} cannot be read: {reason}")
        if not texts:
            return []
        data = self.config.data
        encoded = [self.vocabulary.encode(split_words(text)) for text in texts]
        examples = Examples.build(encoded, np.zeros(len(texts))).limited(
            data.vocab_size, data.max_length
        )
        probabilities = self.trainer.predict(self.state, examples)[:, 0]
        return [Prediction(float(p), "positive" if p > 0.5 else "negative") for p in probabilities]

    @fixed_settings()
    def evaluate(self, data_dir: str | None = None) -> tuple[float, float]:
        """Mean loss in nats and accuracy on the run's test split.

        Args:
          data_dir: directory of the reviews, if they have moved since training.

        Raises:
          InputError: the reviews are not there, or differ from those of the run.
        """
        config = self.config.data
        if data_dir is not None:
            config = dataclasses.replace(config, data_dir=data_dir)
        dataset = load_dataset(config)
        dataset.check_same(self.fingerprint)
        return self.trainer.evaluate(self.state, dataset.test)


@fixed_settings()
def load(workdir: str | os.PathLike[str], device: DeviceName = "auto") -> TrainedModel:
    """Load the model of a run: the parameters of its reported epoch.

    Args:
      workdir: directory of the run.
      device: kind of device to use.

    Raises:
      InputError: there is no run, it has no finished epoch, or its files do not match.
    """
    files = Workdir(workdir)
    config, vocabulary = files.config(), files.vocabulary()
    if config is None:
        raise InputError(
            f"`workdir` {files.path} holds no run: name a directory that train.py made"
        )
    # The implementation used in training may not be available here.
    config = dataclasses.replace(
        config, model=dataclasses.replace(config.model, implementation="auto")
    )
    if config.runs > 1:
        raise InputError(
            f"`workdir` {files.path} holds {config.runs} runs: name one of them, "
            f"such as {files.path / f'seed-{config.training.seed}'}"
        )
    devices = select_devices(device, config.training.batch_size)  # JAX starts here.
    state = None
    if vocabulary is not None and exists(files.checkpoints):
        words, fingerprint = vocabulary
        of_run = Identity(identity(config), fingerprint, words.words)
        with Checkpoints(
            files.checkpoints, of_run, defaults=identity_of_old(), read_only=True
        ) as checkpoints:
            state = checkpoints.load(config.create_state(), files.finished_epochs())
    if vocabulary is None or state is None:
        raise InputError(f"`workdir` {files.path} has no finished epoch yet: `resume` the run")
    trainer = Trainer(make_mesh(devices), config.batching(len(devices)))
    return TrainedModel(config, *vocabulary, trainer.place(averaged(state)), trainer)
