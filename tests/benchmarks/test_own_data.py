"""The texts of benchmarks/own_data.py."""

from pathlib import Path

import numpy as np
import own_data
import pytest

from flax_imdb.data import DataConfig


@pytest.mark.parametrize("classes", [2, 5, 30])
def test_the_rule_is_right_but_for_the_wrong_labels(classes: int) -> None:
    labels = [f"class {number}" for number in range(classes)]
    texts, written = own_data.generate(labels, 2000)
    assert (texts, written) == own_data.generate(labels, 2000)
    meant = [labels[int(own_data._MEANT.findall(text)[0])] for text in texts]
    share = np.mean([rule == label for rule, label in zip(meant, written, strict=True)])
    assert share == pytest.approx(1 - own_data.WRONG, abs=0.02)
    assert set(written) == set(labels)


def test_the_words_of_two_classes_are_in_every_text() -> None:
    texts, _ = own_data.generate(["bad", "good"], 100)
    assert all("class0like" in text and "class1like" in text for text in texts)


@pytest.mark.parametrize("shape", own_data.SHAPES, ids=lambda shape: shape.name)
def test_a_file_of_each_shape_is_read(shape: own_data.Shape, tmp_path: Path) -> None:
    texts, labels = own_data.generate(shape.labels, 500)
    data = DataConfig(dataset=str(shape.write(tmp_path, texts, labels)), **shape.settings)
    assert own_data.rule_accuracy(data) == pytest.approx(1 - own_data.WRONG, abs=0.05)
