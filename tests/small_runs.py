"""Short runs on the tiny dataset of `fake_reviews`."""

import contextlib
import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import fake_reviews
import jax
import numpy as np
import pytest
from faults import untimed
from rich.console import Console

from flax_imdb.config import ExperimentConfig
from flax_imdb.experiment import train
from flax_imdb.models import ModelConfig
from flax_imdb.predict import load
from flax_imdb.report import TrainingReport
from flax_imdb.training import Progress, TrainConfig

STEPS = 12  # per epoch


def experiment(
    reviews: Path,
    arch: str = "lstm_dropout",
    epochs: int = 2,
    runs: int = 1,
    implementation: str = "auto",
    **data: Any,
) -> ExperimentConfig:
    return ExperimentConfig(
        model=ModelConfig(arch, embedding_features=8, features=8, implementation=implementation),
        data=fake_reviews.config(reviews, **data),
        training=TrainConfig(epochs=epochs, batch_size=8, learning_rate=0.02),
        runs=runs,
    )


def quiet_train(config: ExperimentConfig, workdir: Path, **options: Any) -> tuple[dict, str]:
    """Train; returns the result and what was printed."""
    output = io.StringIO()
    result = train(config, workdir, console=Console(file=output, width=200), **options)
    return dataclasses.asdict(result), output.getvalue()


@contextlib.contextmanager
def dying_after(steps: int) -> Iterator[None]:
    """Context manager in which a run dies after so many steps."""
    step, count = TrainingReport.step, 0

    def die(self: TrainingReport, progress: Progress) -> None:
        nonlocal count
        count += 1
        if count == steps:
            raise ZeroDivisionError
        step(self, progress)

    with mock.patch.object(TrainingReport, "step", die), pytest.raises(ZeroDivisionError):
        yield


def assert_same_run(workdir: Path, other: Path) -> None:
    ours, theirs = load(workdir).state, load(other).state
    jax.tree.map(
        np.testing.assert_array_equal,
        (ours.step, ours.params, ours.opt_state),
        (theirs.step, theirs.params, theirs.opt_state),
    )
    for name in ("metrics.jsonl", "steps.jsonl"):
        assert untimed(workdir, name) == untimed(other, name)
