"""Scores by class and over all, against scikit-learn and against cases worked by hand."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, classification_report, roc_auc_score
from sklearn.multiclass import OneVsRestClassifier

from flax_imdb.data import DataConfig, load_dataset
from flax_imdb.data.sources import find_source
from flax_imdb.scores import (
    MAX_MATRIX_CLASSES,
    Scores,
    SetScores,
    baseline_accuracy,
    score,
    score_sets,
)
from flax_imdb.training import Evaluation, decide


def scores(labels: list[int], predicted: list[int], probability: list[float], k: int) -> Scores:
    accuracy = float(np.mean(np.array(labels) == predicted))
    evaluation = Evaluation(
        0.5, accuracy, np.array(predicted, np.int32), np.array(probability, np.float32)
    )
    return score(evaluation, np.array(labels, np.int32), tuple(f"class {i}" for i in range(k)))


class TestScore:
    def test_two_classes_by_hand(self) -> None:
        found = scores([0, 0, 1, 1], [0, 1, 1, 1], [0.1, 0.6, 0.9, 0.8], k=2)
        assert found.per_class == {
            "class 0": {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "count": 2},
            "class 1": {
                "precision": pytest.approx(2 / 3),
                "recall": 1.0,
                "f1": pytest.approx(0.8),
                "count": 2,
            },
        }
        assert found.confusion_matrix == [[1, 1], [0, 2]]
        assert found.macro_f1 == pytest.approx((2 / 3 + 0.8) / 2)
        assert found.majority_accuracy == 0.5
        assert found.roc_auc == found.average_precision == 1
        # Confidences 0.9, 0.6, 0.9, 0.8, each alone in its bin but for the two of 0.9.
        expected = (2 * abs(0.9 - 1) + abs(0.6 - 0) + abs(0.8 - 1)) / 4
        assert found.calibration_error == pytest.approx(expected)
        assert sum(count for *_, count in found.reliability) == 4

    @given(
        st.lists(
            st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(20, 100)),
            min_size=1,
            max_size=40,
        )
    )
    def test_five_classes_are_those_of_scikit_learns_report(
        self, rows: list[tuple[int, int, int]]
    ) -> None:
        labels, predicted, percent = (list(column) for column in zip(*rows, strict=True))
        found = scores(labels, predicted, [number / 100 for number in percent], k=5)
        report = classification_report(
            labels, predicted, labels=range(5), output_dict=True, zero_division=0.0
        )
        for i in range(5):
            theirs = report[str(i)]
            assert found.per_class[f"class {i}"] == {
                "precision": theirs["precision"],
                "recall": theirs["recall"],
                "f1": theirs["f1-score"],
                "count": theirs["support"],
            }
        assert found.macro_f1 == pytest.approx(report["macro avg"]["f1-score"])
        assert np.sum(found.confusion_matrix) == len(rows)
        assert found.roc_auc is None
        assert 0 <= found.calibration_error <= 1

    def test_a_model_that_is_right_as_often_as_it_says_is_calibrated(self) -> None:
        rng = np.random.default_rng(0)
        probability = rng.uniform(0, 1, 100_000)
        labels = rng.uniform(0, 1, len(probability)) < probability
        found = scores(labels.astype(int), probability > 0.5, probability, k=2)
        assert found.calibration_error < 0.01
        assert found.roc_auc == pytest.approx(roc_auc_score(labels, probability))

    def test_one_class_in_the_split_has_no_ranking(self) -> None:
        found = scores([1, 1], [1, 0], [0.9, 0.2], k=2)
        assert (found.roc_auc, found.average_precision) == (None, None)
        assert found.per_class["class 0"]["recall"] == 0

    def test_of_many_classes_the_matrix_has_the_most_frequent(self) -> None:
        labels = [*range(60), *range(20, 60)]
        found = scores(labels, labels, [0.9] * 100, k=60)
        assert found.confusion_classes[10:] == [f"class {i}" for i in range(20, 60)]
        assert np.shape(found.confusion_matrix) == (MAX_MATRIX_CLASSES, MAX_MATRIX_CLASSES)
        assert len(found.per_class) == 60


class TestSeveralLabels:
    @given(
        st.lists(
            st.tuples(*[st.tuples(st.booleans(), st.integers(1, 99))] * 3), min_size=1, max_size=30
        )
    )
    def test_are_those_of_scikit_learns_report(self, rows: list[Any]) -> None:
        labels, percent = np.moveaxis(np.array(rows, int), -1, 0)
        probability = percent.astype(np.float32) / 100
        thresholds = {"a": 0.3, "b": 0.5, "c": 0.6}
        evaluation = Evaluation(0.5, 0.0, np.zeros_like(labels, np.int32), probability)
        evaluation = decide(evaluation, labels, thresholds.values())
        found = score(evaluation, labels.astype(np.float32), ("a", "b", "c"), thresholds)
        predicted = probability.astype(float) > [0.3, 0.5, 0.6]
        report = classification_report(
            labels, predicted, output_dict=True, zero_division=0.0, target_names=["a", "b", "c"]
        )
        for name in "abc":
            theirs = report[name]
            assert found.per_class[name] == {
                "precision": theirs["precision"],
                "recall": theirs["recall"],
                "f1": theirs["f1-score"],
                "count": theirs["support"],
            }
        assert found.macro_f1 == pytest.approx(report["macro avg"]["f1-score"])
        assert found.micro_f1 == pytest.approx(report["micro avg"]["f1-score"])
        assert found.test_accuracy == accuracy_score(labels, predicted)
        assert found.thresholds == thresholds
        assert (found.confusion_matrix, found.roc_auc) == ([], None)
        assert sum(count for *_, count in found.reliability) == labels.size

    def test_by_hand(self) -> None:
        labels = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], np.float32)
        probability = np.array([[0.9, 0.1], [0.9, 0.6], [0.2, 0.7], [0.1, 0.1]], np.float32)
        evaluation = Evaluation(0.5, 0.75, (probability > 0.5).astype(np.int32), probability)
        found = score(evaluation, labels, ("a", "b"), {"a": 0.5, "b": 0.5})
        assert found.micro_f1 == pytest.approx(2 * 3 / (2 * 3 + 1))
        assert found.macro_f1 == pytest.approx((1 + 2 / 3) / 2)
        assert found.majority_accuracy == 0.5  # Always {a}.
        # How often a text has a label, by the probability that it does.
        assert [0.9, 1.0, 2] in [pytest.approx(each) for each in found.reliability]


class TestBaseline:
    @pytest.fixture
    def config(self, tmp_path: Path) -> DataConfig:
        """Texts in which two words of many tell the class, but not always."""
        rng = np.random.default_rng(0)
        for name in ("train", "test"):
            lines = ["text,label"]
            for i in range(300):
                words = [
                    *rng.choice(["a", "b's", "c", "d", "e"], 9),
                    f"word{rng.integers(i % 2, 3)}",
                ]
                lines.append(f'"{" ".join(words)}",{i % 2}')
            (tmp_path / f"{name}.csv").write_text("\n".join(lines))
        files = {"dataset": str(tmp_path / "train.csv"), "test_dataset": str(tmp_path / "test.csv")}
        return DataConfig(**files, text="keras", train_examples=200)  # type: ignore[arg-type]

    def test_it_is_scikit_learns(self, config: DataConfig) -> None:
        """On the same texts, by its own tokenizer with the same words."""
        splits = []
        source, dataset = find_source(config), load_dataset(config)
        for split, examples in (("train", dataset.train), ("test", dataset.test)):
            texts, labels = source.read(split)  # type: ignore[arg-type]
            splits.append(([texts[i] for i in examples.ids], labels[examples.ids]))
        (train, train_labels), (test, test_labels) = splits
        words = TfidfVectorizer(token_pattern=r"\S+")
        model = LogisticRegression(max_iter=1000).fit(words.fit_transform(train), train_labels)
        expected = model.score(words.transform(test), test_labels)
        assert 0.6 < expected < 0.9
        found = baseline_accuracy(config, np.ones(len(train), np.float32))
        assert found == pytest.approx(expected, abs=0.01)  # A fit ends near its optimum.

    def test_several_labels_have_one_regression_each(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        for name in ("train", "test"):
            lines = ["text,x,y,always"]
            for _ in range(200):
                x, y = rng.integers(0, 2, 2)
                words = [f"x{rng.integers(x, 3)}", f"y{rng.integers(y, 3)}", *rng.choice(["a"], 5)]
                lines.append(f"{' '.join(words)},{x},{y},1")
            (tmp_path / f"{name}.csv").write_text("\n".join(lines))
        config = DataConfig(
            dataset=f"{tmp_path}/train.csv",
            test_dataset=f"{tmp_path}/test.csv",
            multi_label=True,
            label_column="x,y,always",
        )
        (train, labels), (test, expected) = map(find_source(config).read, ("train", "test"))
        words = TfidfVectorizer(token_pattern=r"\S+")
        matrix, tested = words.fit_transform(train), words.transform(test)
        model = OneVsRestClassifier(LogisticRegression(max_iter=1000)).fit(matrix, labels[:, :2])
        accuracy = accuracy_score(expected[:, :2], model.predict(tested))
        assert 0.3 < accuracy < 0.9
        found = baseline_accuracy(config, np.ones(200, np.float32))
        assert found == pytest.approx(accuracy, abs=0.01)

    def test_there_is_none_of_one_class(self, config: DataConfig) -> None:
        config = dataclasses.replace(config, train_examples=1)
        assert baseline_accuracy(config, np.ones(1, np.float32)) is None


def test_sets_are_scored_as_counted_by_hand() -> None:
    sets = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1]], bool)
    scored = score_sets(sets, np.array([0, 1, 1, 2, 2]), 0.9)
    assert scored == SetScores(
        stated=0.9, coverage=3 / 5, answered=2 / 5, accuracy=1 / 2, sizes=[1, 2, 1, 1]
    )
    assert score_sets(sets[2:], np.array([1, 2, 2]), 0.9).accuracy is None
