"""Probabilities for texts that a model was not trained on."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from flax_imdb.check import word_model
from flax_imdb.check.word_model import FOLDS, WordModel, fold_numbers


def model_of(classes: int, texts: int = 200, several: bool = False, seed: int = 0) -> WordModel:
    """Texts with a word for each label, and with others by chance."""
    rng = np.random.default_rng(seed)
    features = (rng.random((texts, 30)) < 0.2).astype(np.float32)
    if several:
        labels = (rng.random((texts, classes)) < 0.3).astype(np.float32)
        features[:, :classes] = labels
    else:
        labels = np.arange(texts, dtype=np.int32) % classes
        features[:, :classes] = np.eye(classes)[labels]
    features[:, -1] = 1
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return WordModel(csr_matrix(features), labels, classes)


@pytest.fixture(params=["descent", "counts"])
def method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both models: the second is that of many classes in long texts."""
    if request.param == "counts":
        monkeypatch.setattr(word_model, "_MOST_WORK", 0)
    return request.param


class TestProbabilities:
    @pytest.mark.parametrize("classes", [2, 3, 7])
    def test_of_one_label_they_add_up_to_1_and_know_the_word(
        self, method: str, classes: int
    ) -> None:
        model = model_of(classes)
        found = model.probabilities(np.arange(150), np.arange(150, 200))
        assert found.shape == (50, classes)
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_array_equal(found.argmax(axis=1), model.labels[150:])

    def test_of_several_labels_each_is_by_itself(self, method: str) -> None:
        model = model_of(3, several=True)
        found = model.probabilities(np.arange(150), np.arange(150, 200))
        has = model.labels[150:] > 0
        for column in range(3):
            assert found[has[:, column], column].min() > found[~has[:, column], column].max()

    def test_those_of_a_text_do_not_depend_on_its_label(self, method: str) -> None:
        model = model_of(3)
        folds = np.arange(200) % FOLDS
        found = model.out_of_fold(folds)
        labels = model.labels.copy()
        labels[folds == 2] = 0
        other = WordModel(model.features, labels, 3).out_of_fold(folds)
        np.testing.assert_array_equal(other[folds == 2], found[folds == 2])
        assert not np.array_equal(other, found)

    def test_they_are_the_same_again(self, method: str) -> None:
        folds = np.arange(200) % FOLDS
        first, second = (model_of(3).out_of_fold(folds) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_a_class_that_is_not_trained_on_has_none(self, method: str) -> None:
        model = model_of(3)
        trained = np.flatnonzero(model.labels != 2)
        found = model.probabilities(trained, np.flatnonzero(model.labels == 2))
        assert found[:, 2].max() < 0.5
        assert np.all(np.isfinite(found))

    def test_few_texts_of_few_words_are_enough(self, method: str) -> None:
        model = WordModel(csr_matrix(np.zeros((20, 3), np.float32)), np.arange(20) % 2, 2)
        found = model.out_of_fold(np.arange(20) // 2 % FOLDS)
        assert np.all(np.isfinite(found))

    def test_descent_is_logistic_regression(self) -> None:
        from sklearn.linear_model import LogisticRegression

        model = model_of(2, 400, seed=3)
        rng = np.random.default_rng(0)
        labels = np.where(rng.random(400) < 0.2, 1 - model.labels, model.labels)
        trained, asked = np.arange(300), np.arange(300, 400)
        found = WordModel(model.features, labels, 2).probabilities(trained, asked)
        exact = LogisticRegression(C=2, max_iter=1000).fit(model.features[trained], labels[trained])
        expected = exact.predict_proba(model.features[asked])
        assert np.corrcoef(found[:, 1], expected[:, 1])[0, 1] > 0.98
        assert np.abs(found - expected).max() < 0.15

    def test_counts_are_naive_bayes_by_its_definition(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(word_model, "_MOST_WORK", 0)
        model = model_of(3, 90)
        found = model.probabilities(np.arange(60), np.arange(60, 90))
        features, labels = model.features.toarray(), model.labels
        for row in range(60, 90):
            likely = []
            for number in range(3):
                logit = 0.0
                inside = features[:60][labels[:60] == number].sum(axis=0) + 0.1
                outside = features[:60][labels[:60] != number].sum(axis=0) + 0.1
                for column in range(30):
                    ratio = (inside[column] / inside.sum()) / (outside[column] / outside.sum())
                    logit += features[row, column] * np.log(ratio)
                likely.append(1 / (1 + np.exp(-logit)))
            np.testing.assert_allclose(found[row - 60], likely / np.sum(likely), rtol=1e-4)

    def test_counts_of_many_classes_are_of_the_most_frequent_words(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(word_model, "_MOST_WORK", 0)
        model = model_of(3, 90)
        order = np.argsort(-np.asarray((model.features > 0).sum(axis=0)).ravel(), kind="stable")
        monkeypatch.setattr(word_model, "_MOST_WEIGHTS", 3 * 10)
        found = model.probabilities(np.arange(90), np.arange(90))
        kept = WordModel(model.features[:, np.sort(order[:10])], model.labels, 3)
        np.testing.assert_allclose(
            found, kept.probabilities(np.arange(90), np.arange(90)), rtol=1e-5
        )


class TestFolds:
    def test_each_class_is_divided_evenly(self) -> None:
        labels = np.repeat([0, 1, 2], [100, 50, 13])
        folds = fold_numbers(labels, np.arange(163))
        for number in range(3):
            sizes = np.bincount(folds[labels == number], minlength=FOLDS)
            assert sizes.max() - sizes.min() <= 1

    def test_duplicates_are_together(self) -> None:
        first = np.arange(100)
        first[[50, 70]] = 3
        folds = fold_numbers(np.arange(100) % 2, first)
        assert folds[50] == folds[70] == folds[3]

    def test_of_several_labels_texts_are_divided_evenly(self) -> None:
        folds = fold_numbers(np.zeros((52, 3), np.float32), np.arange(52))
        assert np.bincount(folds).tolist() == [11, 11, 10, 10, 10]
