"""Where the windows of long sequences are."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flax_imdb.layers import Window, mean_of_windows, split_windows
from flax_imdb.layers.windows import Windows

TIME = 30


@functools.cache
def windows_of_all(window: Window) -> Windows:
    """Of sequences of 0 to `TIME` steps, whose steps are counted from 1."""
    lengths = np.arange(TIME + 1)
    counted = np.where(np.arange(TIME) < lengths[:, None], np.arange(1, TIME + 1), -1)
    made = jax.jit(split_windows, static_argnums=2)(counted[..., None], lengths, window)
    return Windows(*map(np.asarray, made))


def steps_of_windows(window: Window, length: int) -> list[list[int]]:
    """The steps in each window of a sequence."""
    inputs, lengths, exists = (of_all[length] for of_all in windows_of_all(window))
    assert inputs.shape[1:] == (window.length, 1)
    return [
        steps[:valid, 0].tolist()
        for steps, valid in zip(inputs[exists], lengths[exists], strict=True)
    ]


@given(data=st.data())
def test_every_step_is_in_a_window_that_overlaps_the_one_before(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 9), "window")
    stride = data.draw(st.integers(-(-size // 2), size), "stride")
    length = data.draw(st.integers(0, TIME), "length")
    windows = steps_of_windows(Window(size, stride), length)
    assert len(windows) == 1 + max(0, -(-(length - size) // stride))
    assert sorted({step for steps in windows for step in steps}) == [*range(1, length + 1)]
    assert all(steps == [*range(steps[0], steps[-1] + 1)] for steps in windows if steps)
    assert all(len(steps) == size for steps in windows[:-1])
    assert len(windows[-1]) <= size
    assert len(windows) == 1 or len(windows[-1]) > size - stride
    for before, after in itertools.pairwise(windows):
        assert after[0] == before[0] + stride


def test_the_windows_that_a_sequence_does_not_have_are_empty() -> None:
    inputs = jnp.ones((3, 10, 2))
    made = split_windows(inputs, jnp.array([10, 4, 0]), Window(4, 2))
    np.testing.assert_array_equal(made.lengths, [[4, 4, 4, 4], [4, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(made.exists.sum(axis=1), [4, 1, 1])


@pytest.mark.parametrize("stride", [2, 6])
def test_windows_overlap_by_half_at_most_and_leave_nothing_out(stride: int) -> None:
    message = f"windows of 5 steps cannot have a stride of {stride}: from 3 to 5"
    with pytest.raises(ValueError, match=message):
        split_windows(jnp.ones((1, 9, 1)), jnp.array([9]), Window(5, stride))


def test_the_mean_is_of_the_windows_that_exist() -> None:
    vectors = jnp.array([[[1.0, 2.0], [3.0, 6.0]], [[5.0, 7.0], [jnp.nan, jnp.inf]]])
    exists = jnp.array([[True, True], [True, False]])
    np.testing.assert_array_equal(mean_of_windows(vectors, exists), [[2, 4], [5, 7]])
    slopes = jax.grad(lambda vectors: mean_of_windows(vectors, exists).sum())(vectors)
    np.testing.assert_array_equal(slopes[..., 0], [[0.5, 0.5], [1, 0]])


def test_the_mean_of_bfloat16_is_exact() -> None:
    """256 and 257 have the same bfloat16, and a sum of many would stand still."""
    vectors = jnp.ones((1, 300, 1), jnp.bfloat16)
    mean = mean_of_windows(vectors, jnp.ones((1, 300), bool))
    assert (mean.dtype, float(mean[0, 0])) == (jnp.float32, 1.0)
