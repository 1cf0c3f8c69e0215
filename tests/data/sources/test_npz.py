"""Files of numeric sequences."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flax_imdb.data import DataConfig, load_dataset
from flax_imdb.data.sources import find_source, npz
from flax_imdb.errors import InputError

LENGTHS = np.array([3, 1, 2, 4] * 10)
STEPS = np.random.default_rng(0).normal(size=(LENGTHS.sum(), 2))
SEQUENCES = np.split(STEPS, np.cumsum(LENGTHS)[:-1])
LABELS = np.array(["b", "a"] * 20)
GOOD: dict[str, Any] = {"inputs": STEPS, "lengths": LENGTHS, "labels": LABELS}
TEST = {f"test_{name}": array for name, array in GOOD.items()}


def write(directory: Path, name: str = "x.npz", **arrays: Any) -> Path:
    np.savez(directory / name, **arrays)
    return directory / name


def source(path: Path, **settings: Any) -> npz.NpzSource:
    found = find_source(DataConfig(dataset=str(path), **settings))
    assert isinstance(found, npz.NpzSource)
    return found


def all_of(of: npz.NpzSource) -> dict[bytes, str]:
    """The label of each sequence of both splits."""
    return {
        sequence.tobytes(): of.classes[label]
        for split in ("train", "test")
        for sequence, label in zip(*of.read(split), strict=True)  # type: ignore[arg-type]
    }


EXPECTED = {sequence.tobytes(): label for sequence, label in zip(SEQUENCES, LABELS, strict=True)}


class TestForms:
    def test_one_after_another_with_lengths(self, tmp_path: Path) -> None:
        assert all_of(source(write(tmp_path, **GOOD))) == EXPECTED

    @pytest.mark.parametrize("compressed", [np.savez, np.savez_compressed])
    def test_padded_with_lengths(self, tmp_path: Path, compressed: Callable[..., None]) -> None:
        """Whatever stands behind them."""
        padded = np.full((40, 6, 2), np.nan)
        for row, sequence in zip(padded, SEQUENCES, strict=True):
            row[: len(sequence)] = sequence
        compressed(tmp_path / "x.npz", **GOOD | {"inputs": padded})
        assert all_of(source(tmp_path / "x.npz")) == EXPECTED

    def test_channels_first(self, tmp_path: Path) -> None:
        concatenated = write(tmp_path, "c.npz", **GOOD | {"inputs": STEPS.T})
        cases = write(tmp_path, "x.npz", inputs=STEPS.reshape(50, 2, 2), labels=[0, 1] * 25)
        assert all_of(source(concatenated, layout="channels-first")) == EXPECTED
        last, first = (
            source(cases, layout=layout) for layout in ("channels-last", "channels-first")
        )
        for ours, theirs in zip(last.read("train")[0], first.read("train")[0], strict=True):
            np.testing.assert_array_equal(ours, theirs.T)
        assert last.fingerprint != first.fingerprint

    def test_all_of_one_length_and_of_one_feature(self, tmp_path: Path) -> None:
        of_rows = source(write(tmp_path, inputs=STEPS.reshape(20, 10), labels=[0, 1] * 10))
        assert {each.shape for each in of_rows.read("test")[0]} == {(10, 1)}

    def test_labels_may_be_integers_and_are_ordered_by_value(self, tmp_path: Path) -> None:
        labels = np.array([10, 9] * 20)
        assert source(write(tmp_path, **GOOD | {"labels": labels})).classes == ("9", "10")


class TestSplits:
    def test_a_part_of_each_class_is_the_test_split(self, tmp_path: Path) -> None:
        labels = source(write(tmp_path, **GOOD), test_fraction=0.25).read("test")[1]
        assert np.bincount(labels).tolist() == [5, 5]

    def test_a_file_may_have_a_test_split(self, tmp_path: Path) -> None:
        of = source(write(tmp_path, **GOOD, **TEST | {"test_inputs": STEPS + 1}))
        np.testing.assert_array_equal(of.read("test")[0][1], SEQUENCES[1] + 1)
        assert len(of.read("train")[0]) == 40

    def test_or_another_file_is_it(self, tmp_path: Path) -> None:
        other = write(tmp_path, "other.npz", **GOOD | {"inputs": STEPS + 1})
        of = source(write(tmp_path, **GOOD), test_dataset=str(other))
        np.testing.assert_array_equal(of.read("test")[0][0], SEQUENCES[0] + 1)
        assert of.found["test_dataset"] == str(other)

    def test_the_statistics_are_those_of_what_is_trained_on(self, tmp_path: Path) -> None:
        """Neither of the test nor of the validation split, nor of steps that are not read."""
        path = write(tmp_path, **GOOD, **TEST | {"test_inputs": STEPS + 100})
        config = DataConfig(dataset=str(path), validation_examples=15, max_length=2)
        dataset = load_dataset(config)
        read = np.concatenate([SEQUENCES[i][-2:] for i in dataset.train.ids])
        np.testing.assert_allclose(dataset.info.standardizer.mean, read.mean(axis=0))
        np.testing.assert_allclose(dataset.info.standardizer.scale, read.std(axis=0))
        for part in (dataset.train, dataset.validation):
            first = part.inputs[part.starts[0] :][: part.lengths[0]]
            own = SEQUENCES[part.ids[0]][-2:]
            expected = (own - read.mean(axis=0)) / read.std(axis=0)
            np.testing.assert_allclose(first, expected, rtol=1e-5, atol=1e-6)
        assert any("20 of 40 sequences are longer" in each for each in dataset.warnings)


NAMES = np.array(["a", "b"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": LABELS[1:]}, r"labels has the shape \(39,\), and there are 40 sequences"),
        ({"lengths": None}, r"there are 100 sequences: .*; without lengths, each row is a"),
        ({"labels": None}, "has no array labels: it has inputs, lengths"),
        ({"labels": np.ones(40)}, "labels is of type float64: strings or integers are needed"),
        ({"labels": np.array(["", *LABELS[1:]])}, "labels: sequence 1 has no label"),
        ({"labels": np.array(["a"] * 40)}, "has one label alone"),
        ({"label": LABELS}, "has an array 'label', which means nothing here: it may have inputs"),
        ({"lengths": LENGTHS + 1}, "lengths adds up to 140 steps, and inputs has 100"),
        ({"lengths": LENGTHS * 1.0}, "lengths has the type float64"),
        ({"lengths": np.array([0, 4, *LENGTHS[2:]])}, "lengths: sequence 1 has 0 steps"),
        ({"inputs": STEPS.astype(complex)}, "inputs: sequence 1 is of type complex128"),
        ({"inputs": np.ones((40, 2, 2))}, "the largest 4, and inputs has 40 sequences padded to 2"),
        ({"inputs": np.ones((1, 1, 1, 1))}, "inputs has 4 axes"),
        ({"inputs": np.array(SEQUENCES, object)}, "inputs holds Python objects, which are not"),
        ({"feature_names": np.array(["a"])}, "the sequences have 2 features, and 1 are needed"),
        ({"test_labels": np.array(["a"])}, "x.npz has test_labels, and no test_inputs"),
        ({"feature_names": np.array([1, 2])}, "feature_names has the type int64"),
        (TEST | {"test_inputs": np.ones((100, 3))}, "the sequences have 3 features"),
        (TEST | {"test_labels": np.array(["c"] * 40)}, "has labels that no training text has: 'c'"),
        (TEST | {"test_labels": None}, "has no array test_labels"),
        (
            {"inputs": np.where(np.arange(100)[:, None] == 3, np.nan, STEPS)},
            "x.npz: inputs: sequence 2, step 1, feature 1 is nan",
        ),
        (
            TEST
            | {"test_inputs": np.where(STEPS[4, 1] == STEPS, np.inf, STEPS)}
            | {"feature_names": NAMES},
            r"x.npz: test_inputs: sequence 3, step 1, feature 2 \(b\) is inf",
        ),
    ],
)
def test_what_cannot_be_read_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    arrays = {name: array for name, array in (GOOD | change).items() if array is not None}
    with pytest.raises(InputError, match=message) as raised:
        source(write(tmp_path, **arrays))
    assert "\n" not in str(raised.value)
    assert str(tmp_path / "x.npz") in str(raised.value)


class TestDamage:
    @pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
    def test_a_damaged_file_is_refused(self, position: float, tmp_path: Path) -> None:
        path = write(tmp_path, **GOOD)
        content = bytearray(path.read_bytes())
        content[int(position * len(content))] ^= 0xFF
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"x\.npz") as raised:
            source(path)
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"inputs,labels", b"\x93NUMPY"])
    def test_something_else_is_refused(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"x\.npz is not an \.npz file"):
            source(tmp_path / "x.npz")

    def test_half_a_file_is_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path, **GOOD)
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(InputError, match=r"x\.npz is not an \.npz file"):
            source(path)

    def test_nothing_is_unpickled(self, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> Any:
                return (tmp_path / "touched").touch, ()

        path = write(tmp_path, **GOOD | {"labels": np.array([Evil()], object)})
        (tmp_path / "touched").unlink(missing_ok=True)
        with pytest.raises(InputError, match="labels holds Python objects"):
            source(path)
        assert not (tmp_path / "touched").exists()

    def test_a_file_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"x\.npz cannot be read: No such file"):
            source(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "settings", [{"text": "keras"}, {"vocab_size": 20}, {"padding": "keras"}, {"encoding": "ascii"}]
)
def test_settings_of_texts_are_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    (name, value), *_ = settings.items()
    with pytest.raises(InputError, match=f"`{name}` {value} is for texts, and these are numeric"):
        source(write(tmp_path, **GOOD), **settings)


def test_a_layout_is_refused_for_texts(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text,label\na,0\nb,1\n")
    with pytest.raises(InputError, match="`layout` channels-first is for sequences, and these are"):
        find_source(DataConfig(dataset=str(tmp_path / "x.csv"), layout="channels-first"))


def test_axes_that_look_swapped_and_few_sequences_are_warned_of(tmp_path: Path) -> None:
    path = write(
        tmp_path, inputs=np.random.default_rng(0).normal(size=(12, 2, 30)), labels=[0, 1] * 6
    )
    swapped, few = source(path).warnings
    assert "layout channels-first is right" in swapped
    assert "classes with fewer than 10 sequences to train on: '0', '1'" in few
