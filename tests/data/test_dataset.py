"""Texts for a model that there is already."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from own_rows import written

from flax_imdb.data import DataConfig, DatasetInfo, Task, Vocabulary, load_dataset, read_again
from flax_imdb.errors import InputError

MODEL = DatasetInfo("old.csv", "abc", ("c", "b", "a"), Vocabulary(["film", "a", "unseen"]))


class OfSequences(DatasetInfo):
    task = Task(2, features=3)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    rows = [f"a good film,{label}" for label in "ab" * 8]
    file = written(tmp_path_factory.mktemp("rows") / "new.csv", ["text,label", *rows])
    test = written(file.with_name("test.csv"), ["text,label", "unseen good,b", "a film,a"])
    return DataConfig(dataset=str(file), test_dataset=str(test))


def test_they_have_its_ids_and_the_numbers_of_its_classes(config: DataConfig) -> None:
    dataset = load_dataset(config, known=MODEL)
    assert dataset.info.classes == MODEL.classes
    assert dataset.info.vocabulary.words == MODEL.vocabulary.words
    assert dataset.train.labels.tolist() == [2, 1] * 8
    assert dataset.test.inputs.tolist() == [1, 5, 2, 1, 4, 3]
    assert dataset.test.labels.tolist() == [1, 2]
    assert dataset.train.known_share(len(dataset.info.vocabulary)) == pytest.approx(2 / 3)
    assert any("without a text in the test split: 'c'" in line for line in dataset.warnings)
    assert load_dataset(config).train.labels.tolist() == [0, 1] * 8


def test_a_model_without_classes_takes_those_of_the_texts(config: DataConfig) -> None:
    dataset = load_dataset(config, known=dataclasses.replace(MODEL, classes=()))
    assert dataset.info.classes == ("a", "b")
    np.testing.assert_array_equal(dataset.train.labels, load_dataset(config).train.labels)


def test_texts_to_test_on_may_have_labels_that_the_model_alone_knows(config: DataConfig) -> None:
    file = written(Path(config.dataset).with_name("c.csv"), ["text,label", "a film,c", "a film,a"])
    config = dataclasses.replace(config, test_dataset=str(file))
    dataset = load_dataset(config, known=MODEL)
    assert dataset.info.classes == MODEL.classes
    assert (dataset.train.labels.tolist(), dataset.test.labels.tolist()) == ([2, 1] * 8, [0, 2])
    assert read_again(config, dataset.info, [1]) == ["a film"]
    for known in (None, dataclasses.replace(MODEL, classes=())):
        with pytest.raises(InputError, match="labels that no training text has: 'c'; known are"):
            load_dataset(config, known=known)


def test_texts_of_a_model_that_reads_something_else_are_refused(config: DataConfig) -> None:
    known = OfSequences("old", "abc", ("a", "b"), Vocabulary([]))
    message = "has texts with one label each, and the model is for numeric sequences with one"
    with pytest.raises(InputError, match=message):
        load_dataset(config, known=known)


class TestHeldOut:
    def parts(self, config: DataConfig, **settings: int) -> list[list[int]]:
        dataset = load_dataset(dataclasses.replace(config, **settings))
        return [
            part.ids.tolist() for part in (dataset.train, dataset.validation, dataset.calibration)
        ]

    def test_no_row_is_in_two_parts_and_all_are_in_one(self, config: DataConfig) -> None:
        train, validation, calibration = self.parts(
            config, validation_examples=5, calibration_examples=4
        )
        assert [len(validation), len(calibration)] == [5, 4]
        assert sorted(train + validation + calibration) == [*range(16)]
        assert self.parts(config, train_examples=3, calibration_examples=13)[1] == []

    def test_rows_to_calibrate_with_change_no_validation_row(self, config: DataConfig) -> None:
        _, validation, _ = self.parts(config, validation_examples=5)
        assert self.parts(config, validation_examples=5, calibration_examples=4)[1] == validation

    def test_something_must_be_left_to_train_on(self, config: DataConfig) -> None:
        with pytest.raises(InputError, match="`calibration_examples` 16 leaves nothing to train"):
            self.parts(config, calibration_examples=16)
        message = "`validation_examples` 8 and `calibration_examples` 8 leave nothing to train on"
        with pytest.raises(InputError, match=message):
            self.parts(config, validation_examples=8, calibration_examples=8)
        with pytest.raises(InputError, match="`train_examples` 13 is too large: 12 examples are"):
            self.parts(config, train_examples=13, calibration_examples=4)

    def test_several_labels_have_thresholds_instead(self) -> None:
        with pytest.raises(InputError, match="`calibration_examples` 9 has no effect with `multi"):
            DataConfig(multi_label=True, calibration_examples=9)
