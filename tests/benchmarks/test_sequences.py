"""The tasks and the baselines of benchmarks/sequences.py."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import sequences

TS = """#A comment.
@problemName Small
@classLabel true a b
@data
1,2,3:4,5,6:a
7,8:9,10:b
"""


def test_the_label_is_the_feature_of_the_first_pulse() -> None:
    split = sequences.generate(300, seed=1)
    smooth = [
        np.apply_along_axis(np.convolve, 0, each, np.ones(3), "valid") for each in split.sequences
    ]
    first = [np.flatnonzero((each > 3.5).any(axis=1))[0] for each in smooth]
    found = ["ab"[int(each[at].argmax())] for each, at in zip(smooth, first, strict=True)]
    assert np.mean(found == split.labels) > 0.95
    other = sequences.generate(300, seed=2)
    assert np.mean(sequences.ridge(split, other) == other.labels) < 0.9


def test_files_of_the_archive_are_read_from_the_wheel(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "sktime.whl", "w") as wheel:
        for split in ("TRAIN", "TEST"):
            wheel.writestr(f"sktime/datasets/data/Small/Small_{split}.ts", TS)
    task = sequences.read_real(tmp_path / "sktime.whl", "Small")
    assert [each.tolist() for each in task.train.sequences] == [
        [[1, 4], [2, 5], [3, 6]],
        [[7, 9], [8, 10]],
    ]
    assert task.test.labels.tolist() == ["a", "b"]


def test_warping_is_the_shortest_way_through_the_table() -> None:
    rng = np.random.default_rng(0)
    some = [rng.normal(size=(length, 2)) for length in (1, 4, 6)]
    others = [rng.normal(size=(length, 2)) for length in (5, 2)]

    def shortest(one: np.ndarray, other: np.ndarray) -> float:
        """From the end, by recursion."""
        cost = float(((one[-1] - other[-1]) ** 2).sum())
        before = [(one[:-1], other[:-1]), (one[:-1], other), (one, other[:-1])]
        ways = [shortest(*pair) for pair in before if len(pair[0]) and len(pair[1])]
        return cost + min(ways, default=0.0)

    expected = [[shortest(one, other) for other in others] for one in some]
    np.testing.assert_allclose(sequences.dtw(some, others), expected)


def test_the_nearest_neighbour_has_the_label() -> None:
    train = sequences.Split([np.zeros((3, 1)), np.full((3, 1), 5.0)], np.array(["low", "high"]))
    test = sequences.Split([np.full((3, 1), 4.0), np.full((3, 1), 1.0)], np.array(["high", "low"]))
    for answer in (sequences.euclidean, sequences.warped):
        assert answer(train, test).tolist() == ["high", "low"]
    ragged = sequences.Split([np.zeros((2, 1)), np.zeros((3, 1))], train.labels)
    assert sequences.euclidean(ragged, test) is None
    np.testing.assert_array_equal(sequences.warped(ragged, test), ["low", "low"])


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_a_task_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequences, "SETTINGS", {"lstm": {"arch": "lstm"}})
    task = sequences.Task("a", sequences.generate(16, 1), sequences.generate(8, 2))
    row = sequences.measure(task, seeds=2, steps=2)
    assert (row["train"], row["test"], row["features"]) == (16, 8, 2)
    assert len(row["accuracies"]) == 2
    assert row["chosen"] == "lstm"
    assert row["baselines"].keys() == {"euclidean", "dtw", "ridge"}
