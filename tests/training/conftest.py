"""Checkpoints to read and to damage."""

from pathlib import Path

import pytest
from epochs import epochs
from saved import make_template, save

from flax_imdb.training import History, TrainState


@pytest.fixture(scope="module")
def template() -> TrainState:
    return make_template()


@pytest.fixture
def directory(template: TrainState, tmp_path: Path) -> Path:
    """Two epochs of a run."""
    save(tmp_path / "c", template, (10, History(epochs(10))), (20, History(epochs(10, 20))))
    return tmp_path / "c"
