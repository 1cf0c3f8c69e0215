"""What is taken for numeric sequences, and what is refused."""

import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from flax_imdb.data import are_sequences, as_sequences
from flax_imdb.data.config import Layout
from flax_imdb.data.numeric import doubts_of_axes
from flax_imdb.errors import InputError

CASES = np.arange(24.0).reshape(2, 4, 3)


@pytest.mark.parametrize(
    "values",
    [
        CASES,
        [*CASES],
        CASES.tolist(),
        tuple(CASES.astype(int)),
        jnp.array(CASES),
        np.array([CASES[0], CASES[1], [[1.0, 2, 3]]], object)[:2],
    ],
)
def test_lists_and_arrays_of_steps_and_features(values: Any) -> None:
    assert are_sequences(values)
    np.testing.assert_array_equal(as_sequences(values), CASES)


def test_arrays_of_steps_alone_have_one_feature() -> None:
    ragged = [[1.0, 2], [3.0], np.array([4, 5, 6])]
    assert are_sequences(ragged)
    assert [each.tolist() for each in as_sequences(ragged)] == [[[1], [2]], [[3]], [[4], [5], [6]]]
    assert [each.shape for each in as_sequences(CASES[0])] == [(3, 1)] * 4
    assert [each.shape for each in as_sequences(CASES[0], "channels-first")] == [(3, 1)] * 4


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float16, np.longdouble])
def test_numbers_of_any_real_type(kind: type) -> None:
    (sequence,) = as_sequences([np.ones((3, 2), kind)])
    assert sequence.dtype == kind


def test_channels_first_is_the_other_way_round() -> None:
    given = CASES.swapaxes(1, 2)
    np.testing.assert_array_equal(as_sequences(given, "channels-first"), CASES)


@pytest.mark.parametrize(
    "values", ["a text", b"a text", ["a"], [b"a"], [], np.array(["a", "b"]), {1: 2}, 5, None, [5]]
)
def test_texts_and_what_is_nothing_are_none(values: Any) -> None:
    assert not are_sequences(values)


GOOD = np.ones((3, 2))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([GOOD, [[1, 2], [3, np.nan]]], "sequence 2, step 2, feature 2 is nan: a finite number"),
        ([GOOD, [[1, 2], [-np.inf, 4]]], "sequence 2, step 2, feature 1 is -inf"),
        ([[[1, 2], [1e300, 4]]], r"sequence 1, step 2, feature 1 is 1e\+300: .* of at most 3.4e"),
        ([GOOD, GOOD[:, :1]], "sequence 2 has 1 features, and sequence 1 has 2: all need"),
        ([GOOD, GOOD[:0]], "sequence 2 has 0 steps of 2 features"),
        ([GOOD, []], "sequence 2 has 0 steps"),
        ([[[1, 2], [3]]], "sequence 1 is ragged: each step needs the same features"),
        ([GOOD + 1j], "sequence 1 is of type complex128: real numbers are needed"),
        ([GOOD.astype(object)], "sequence 1 is of type object"),
        ([GOOD.astype("U")], "sequence 1 is of type <U"),
        ([np.array(["2020-01-01"], "M8[D]")], "sequence 1 is of type datetime64"),
        (["a text"], "sequence 1 is a text: real numbers are needed"),
        ([CASES], r"sequence 1 has 3 axes: \[time, features\] are needed"),
        ([GOOD, 5], "sequence 2 has 0 axes"),
        (np.ones((1, 2, 3, 4)), "this is an array of 4 axes"),
        ({1: GOOD}, "this is a dict"),
    ],
)
def test_what_cannot_be_read_is_named(values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        as_sequences(values)
    assert "\n" not in str(raised.value)


def test_a_feature_is_called_by_its_name() -> None:
    with pytest.raises(InputError, match=r"x: sequence 1, step 1, feature 2 \(b\) is nan"):
        as_sequences([[[0, np.nan]]], names=("a", "b"), place="x: ")


def test_widths_that_differ_may_be_lengths() -> None:
    given = [np.ones((2, time)) for time in (5, 6)]
    with pytest.raises(InputError, match=r"`layout` channels-first may be right, \[features, ti"):
        as_sequences(given)
    assert [each.shape for each in as_sequences(given, "channels-first")] == [(5, 2), (6, 2)]


@pytest.mark.parametrize(
    ("shape", "doubtful"),
    [
        ((6, 100), True),
        ((1, 24), True),
        ((3, 7), True),
        ((100, 6), False),
        ((24, 1), False),
        ((1, 2), False),
        ((20, 30), False),  # A short sequence of many features.
    ],
)
def test_axes_that_look_swapped_are_doubted(shape: tuple[int, int], doubtful: bool) -> None:
    layouts: tuple[Layout, Layout] = ("channels-last", "channels-first")
    for layout, other in itertools.permutations(layouts):
        doubts = [*doubts_of_axes([np.ones(shape)] * 3, layout)]
        assert len(doubts) == doubtful
        assert all(f"layout {other} is right" in doubt for doubt in doubts)


def test_axes_of_sequences_of_different_lengths_are_right() -> None:
    assert [*doubts_of_axes([np.ones((2, 50)), np.ones((3, 50))], "channels-last")] == []
