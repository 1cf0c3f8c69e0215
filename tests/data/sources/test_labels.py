"""The order of labels, what is strange about them, and the split."""

import hashlib
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from imdb_archive import one_line_error

from flax_imdb.data.sources.labels import check_labels, order_labels, split_rows, warnings_on


class TestOrder:
    @pytest.mark.parametrize(
        "labels",
        [
            ["neg", "pos"],
            ["negative", "neutral", "positive"],
            ["1", "2", "10"],
            ["-1", "0", "+1", "4"],
            ["1.0", "2.0", "10.0"],
            ["-0.5", "0", "0.5"],
            ["01", "1", "02", "2"],
            ["false", "true"],
            ["False", "True"],
            ["level 2", "Level 10", "level 10", "level 10a", "other"],
            ["1 star", "2 stars", "10 stars"],
            ["1", "2", "10", "n/a"],
            ["9" * 5_000, "1" + "0" * 5_000],
            ["x" + "9" * 5_000, "x1" + "0" * 5_000],
            ["²", "é", "中"],
            ["A", "a", "B"],
        ],
        ids=lambda labels: ",".join(labels)[:40],
    )
    def test_is_natural(self, labels: Sequence[str]) -> None:
        shuffled = [*labels, *labels]
        random.Random(0).shuffle(shuffled)
        assert order_labels(shuffled) == tuple(labels)

    @given(st.lists(st.text()), st.randoms())
    def test_is_that_of_the_different_labels_alone(
        self, labels: list[str], rng: random.Random
    ) -> None:
        ordered = order_labels(labels)
        rng.shuffle(labels)
        assert order_labels(iter(labels)) == ordered
        assert set(ordered) == set(labels)
        assert len(ordered) == len(set(labels))


class TestCheck:
    def test_the_same_labels_in_all_rows_are_an_error(self) -> None:
        with one_line_error("a.csv: column x has the same labels in all rows: 'a', 'b'; another"):
            check_labels([("a", "b"), ("b", "a")], "a.csv", "x")
        with one_line_error("a.csv has the same labels in all rows: none"):
            check_labels([(), ()], "a.csv", "", are_columns=True)
        check_labels([("a",), (), ("a",)], "a.csv", "x")
        with one_line_error("2 different labels in 2 rows, so it is hardly the label: 'a', 'b'"):
            check_labels([("a", "b"), ()], "a.csv", "x")
        check_labels([("a", "b"), ()], "a.csv", "", are_columns=True)

    def test_one_class_is_an_error(self) -> None:
        with one_line_error("a.csv: column x has one label alone, 'a': two classes or more are ne"):
            check_labels(["a", "a"], "a.csv", "x")
        with one_line_error("a has one label alone, 'a': two classes or more are needed$"):
            check_labels(["a", "a"], "a", "")

    def test_labels_of_hardly_more_than_one_row_each_are_an_error(self) -> None:
        check_labels(["a", "b", "a", "b"], "a.csv", "x")
        with one_line_error(
            "a.csv: column id has 3 different labels in 5 rows, so it is hardly the label: 'a', "
            "'b', 'c'; another `label_column` may be right"
        ):
            check_labels(["a", "b", "c", "a", "b"], "a.csv", "id")

    def test_more_classes_than_allowed_are_an_error(self) -> None:
        labels = [str(i) for i in range(10_000)] * 3
        check_labels(labels, "a.csv", "id")
        with one_line_error("column id has 10,001 different labels, of which 10,000 are allowed"):
            check_labels([*labels, "x"], "a.csv", "id")


def warnings(
    classes: list[str],
    train: list[int] | None = None,
    test: list[int] | None = None,
    same: str = "",
) -> tuple[str, ...]:
    """Of classes with so many texts in each split; one of the test split is `same`."""
    numbers = {"train": train or [10] * len(classes), "test": test or [10] * len(classes)}
    splits = {
        split: (
            [f"{split} {i}" for i in range(sum(counts))],
            np.repeat(np.arange(len(classes)), counts),
        )
        for split, counts in numbers.items()
    }
    splits["test"][0][0] = same
    return warnings_on("a.csv", classes, splits)


class TestWarnings:
    def test_nothing_is_said_of_what_is_right(self) -> None:
        assert warnings(["pos", "neg", "sci fi"]) == ()

    def test_classes_that_differ_by_case_or_blanks_alone(self) -> None:
        assert warnings(["pos", "Pos", "neg", "sci fi", "SciFi", "sci  fi", "other"]) == (
            "labels that differ by case or blanks alone are classes of their own: 'pos' and 'Pos', "
            "'sci fi' and 'SciFi' and 'sci  fi'",
        )

    def test_classes_with_few_texts(self) -> None:
        assert warnings(["a", "b", "c"], train=[10, 9, 1]) == (
            "a.csv: classes with fewer than 10 texts to train on: 'b', 'c'",
        )

    def test_classes_in_one_split_alone(self) -> None:
        assert warnings(["a", "b", "c"], test=[1, 0, 1]) == (
            "a.csv: classes without a text in the test split: 'b'",
        )

    def test_texts_in_both_splits(self) -> None:
        assert warnings(["a", "b"], train=[10, 10], test=[10, 10], same="train 3") == (
            "a.csv: texts that are in both splits, which makes the test too easy: 1",
        )


class TestSplit:
    @given(
        st.lists(st.integers(0, 9), min_size=1, max_size=200),
        st.floats(0, 1, exclude_min=True, exclude_max=True),
    )
    def test_has_every_class_in_both_parts(self, labels: list[int], fraction: float) -> None:
        train, test = split_rows(np.array(labels), fraction)
        assert sorted([*train, *test]) == list(range(len(labels)))
        assert np.all(np.diff(train) > 0)
        assert np.all(np.diff(test) > 0)
        for label in range(10):
            rows = labels.count(label)
            tested = sum(labels[row] == label for row in test)
            if rows < 2:
                assert tested == 0
            else:
                assert tested == min(max(round(rows * fraction), 1), rows - 1)

    @given(st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=60), st.floats(0.05, 0.95))
    def test_of_several_labels_has_each_in_both_parts(
        self, sets: list[set[int]], fraction: float
    ) -> None:
        labels = np.array([[label in of_row for label in range(6)] for of_row in sets], np.float32)
        train, test = split_rows(labels, fraction)
        assert sorted([*train, *test]) == list(range(len(labels)))
        sizes, tested = labels.sum(axis=0), labels[test].sum(axis=0)
        assert not np.any(tested[sizes < 2])
        # A label whose rows all have rarer ones may be in one part alone.
        free = [
            label
            for label in np.flatnonzero(sizes > 1)
            if any(labels[row, label] and labels[row].sum() == 1 for row in range(len(labels)))
        ]
        assert np.all((tested > 0)[free])
        assert np.all((tested < sizes)[free])

    def test_of_several_labels_has_the_asked_part_of_each(self) -> None:
        rng = np.random.default_rng(0)
        shares = np.array([0.001, 0.01, 0.1, 0.3, 0.5])
        labels = (rng.random((20_000, 5)) < shares).astype(np.float32)
        _, test = split_rows(labels, 0.2)
        assert len(test) == pytest.approx(4000, rel=0.02)
        wanted = 0.2 * labels.sum(axis=0)
        np.testing.assert_allclose(labels[test].sum(axis=0), wanted, rtol=0.01, atol=0.5)
        pairs = labels[:, 3] * labels[:, 4]  # Which nobody has asked for.
        assert pairs[test].sum() == pytest.approx(0.2 * pairs.sum(), rel=0.1)

    def test_of_several_labels_is_always_the_same(self) -> None:
        labels = np.stack([np.arange(1000) % n == 0 for n in (2, 3, 7)], axis=1)
        _, test = split_rows(labels, 0.2)
        digest = hashlib.sha256(test.astype("<i8").tobytes()).hexdigest()
        assert digest == "a9caff3eeb9b4b7eedf64cade58ae6990c018163e3f42bdab7f5825dffcc20ed"

    def test_of_several_labels_exchanges_rows_that_one_part_lacks(self) -> None:
        """Rows of the last label go with rarer ones, which leave it to chance."""
        for rows in range(2, 8):
            pairs = np.eye(rows, dtype=bool).repeat(3, axis=0)
            labels = np.column_stack([pairs, np.arange(3 * rows) % 3 == 0])
            _, test = split_rows(labels, 0.2)
            assert 0 < labels[test, -1].sum() < rows

    def test_is_always_the_same(self) -> None:
        """With every version of NumPy, on every machine."""
        labels = np.arange(10_000) % 7
        _, test = split_rows(labels, 0.2)
        assert test[:8].tolist() == [2, 5, 10, 11, 12, 21, 22, 24]
        digest = hashlib.sha256(test.astype("<i8").tobytes()).hexdigest()
        assert digest == "412317e523dfad57c8e7078f4ee8bed69e5d1675f88cfed01da29dd55b6ead34"
        assert split_rows(labels.astype(np.int32), 0.2)[1].tolist() == test.tolist()

    def test_is_random(self) -> None:
        """Neither the first or last rows of a class, nor every fifth."""
        _, test = split_rows(np.zeros(100_000, int), 0.2)
        for part in np.array_split(np.bincount(test, minlength=100_000), 10):
            assert 0.18 < part.mean() < 0.22
        gaps = np.bincount(np.diff(test))
        expected = 20_000 * 0.2 * 0.8 ** np.arange(10)
        np.testing.assert_allclose(gaps[1:11], expected, rtol=0.15)

    def test_of_many_rows_and_classes_has_them_all(self) -> None:
        labels = np.random.default_rng(0).integers(0, 10_000, 1_000_000)
        train, test = split_rows(labels, 0.2)
        assert len(np.unique(labels[train])) == len(np.unique(labels[test])) == 10_000
        assert len(test) == pytest.approx(200_000, rel=0.01)
