"""Texts for a model that there is already."""

import dataclasses

import numpy as np
import pytest
from own_rows import written

from flax_imdb.data import DataConfig, DatasetInfo, Task, Vocabulary, load_dataset
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
    assert any("classes of the model without texts: 'c'" in line for line in dataset.warnings)
    assert load_dataset(config).train.labels.tolist() == [0, 1] * 8


def test_a_model_without_classes_takes_those_of_the_texts(config: DataConfig) -> None:
    dataset = load_dataset(config, known=dataclasses.replace(MODEL, classes=()))
    assert dataset.info.classes == ("a", "b")
    np.testing.assert_array_equal(dataset.train.labels, load_dataset(config).train.labels)


def test_texts_of_a_model_that_reads_something_else_are_refused(config: DataConfig) -> None:
    known = OfSequences("old", "abc", ("a", "b"), Vocabulary([]))
    message = "has texts with one label each, and the model is for numeric sequences with one"
    with pytest.raises(InputError, match=message):
        load_dataset(config, known=known)
