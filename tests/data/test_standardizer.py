"""Means and scales of features."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.preprocessing import StandardScaler

from flax_imdb.data import Standardizer
from flax_imdb.errors import InputError

STEPS = arrays(
    st.sampled_from([np.float32, np.float64]),
    st.tuples(st.integers(1, 30), st.integers(1, 4)),
    elements=st.floats(-1e6, 1e6, width=32),
)


@given(steps=STEPS)
def test_it_is_that_of_numpy_and_scikit_learn(steps: np.ndarray) -> None:
    standardizer = Standardizer.fit(steps)
    wide = steps.astype(np.float64)
    # What float32 cannot divide by is no change.
    constant = (np.ptp(wide, axis=0) == 0) | (wide.std(axis=0) < np.finfo(np.float32).tiny)
    np.testing.assert_allclose(standardizer.mean, wide.mean(axis=0), rtol=1e-9, atol=1e-9)
    expected = np.where(constant, 1, wide.std(axis=0))
    np.testing.assert_allclose(standardizer.scale, expected, rtol=1e-9, atol=1e-30)
    changing = ~constant & (wide.std(axis=0) > 1e-6 * np.abs(wide).max(axis=0))
    peer = StandardScaler().fit_transform(wide)
    np.testing.assert_allclose(
        standardizer(steps)[:, changing], peer[:, changing], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("value", [0.0, 0.1, -3e5, 1e-30])
def test_a_constant_feature_becomes_0_and_keeps_its_differences(value: float) -> None:
    standardizer = Standardizer.fit(np.full((1000, 1), value))
    assert (standardizer.mean, standardizer.scale) == ((value,), (1.0,))
    given = np.array([[value], [value + 2]])
    np.testing.assert_allclose(standardizer(given), [[0], [2]])


def test_sums_are_exact_beyond_float32() -> None:
    """A small change of a large number, of which float32 sums would know nothing."""
    steps = (1e6 + np.tile([0.0, 0.125], 200_000)[:, None]).astype(np.float32)
    standardizer = Standardizer.fit(steps)
    np.testing.assert_allclose(standardizer.mean, [1_000_000.0625], rtol=1e-12)
    np.testing.assert_allclose(standardizer(steps[:2]), [[-1], [1]], atol=1e-6)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float16])
def test_any_real_type_is_standardized_to_float32(kind: type) -> None:
    steps = np.array([[0], [1], [1], [0]], kind)
    standardized = Standardizer.fit(steps)(steps)
    assert standardized.dtype == np.float32
    assert standardized.tolist() == [[-1], [1], [1], [-1]]


def test_a_number_that_is_too_far_from_the_mean_is_named() -> None:
    standardizer = Standardizer((0.0, 1.0), (1.0, 1e-20))
    message = r"feature 2 of a sequence is 1e\+30: .* training, 1, divided by .* there, 1e-20"
    with pytest.raises(InputError, match=message):
        standardizer(np.array([[1e30, 0], [0, 1e30]]))


def test_its_fingerprint_is_of_all_it_holds() -> None:
    one = Standardizer((1.0,), (2.0,), ("a",))
    others = [
        Standardizer((1.5,), (2.0,), ("a",)),
        Standardizer((1.0,), (2.5,), ("a",)),
        Standardizer((1.0,), (2.0,), ("b",)),
    ]
    assert one.fingerprint == Standardizer((1.0,), (2.0,), ("a",)).fingerprint
    assert len({each.fingerprint for each in (one, *others)}) == 4
