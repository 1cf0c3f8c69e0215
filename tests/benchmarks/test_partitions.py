"""What the benchmark of partitions measures."""

from pathlib import Path

import numpy as np
import partitions
import pytest
from untrained import untrained

from flax_imdb.export import safetensors


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    safetensors.write(untrained(), tmp_path / "model")
    return tmp_path / "model"


def test_its_texts_are_short_and_the_same_each_time() -> None:
    rows = partitions.texts(["a", "b"], 100)
    assert rows == partitions.texts(["a", "b"], 100)
    assert len(rows) == 100
    assert {len(row.split()) for row in rows} == {*range(3, 13)}


def test_one_process_answers_each_row(workdir: Path) -> None:
    seconds, answers = partitions.by_one(str(workdir), rows=25, size=10)
    assert seconds > 0
    assert answers.shape == (25, 2)


@pytest.mark.long
def test_a_cluster_of_two_processes_has_the_same_answers(workdir: Path) -> None:
    pytest.importorskip("dask.distributed")
    _, expected = partitions.by_one(str(workdir), rows=250, size=50)
    seconds, answers, size = partitions.by_cluster(str(workdir), rows=250, size=50, workers=2)
    assert seconds > 0
    np.testing.assert_allclose(answers, expected, atol=1e-6)
    assert (answers.argmax(axis=1) == expected.argmax(axis=1)).all()
    assert size < 10_000
