"""What `seq_lengths` and `example_ids` may be, in every layer and function that takes them."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from flax_imdb import models
from flax_imdb.layers import (
    LSTM,
    RNN,
    Bidirectional,
    Conv,
    Dropout,
    MaxPool,
    SequenceLayer,
    dropout_mask,
    global_pool,
    normalize_lengths,
    padding_mask,
)

BATCH, TIME = 5, 7
LENGTHS = [7, 0, 3, 1, 5]
LAYERS = [LSTM(2), Bidirectional(LSTM(2)), Conv(2, 3), MaxPool(2), Dropout(0.5)]


def inputs(batch: int = BATCH, time: int = TIME) -> jax.Array:
    return jax.random.normal(jax.random.key(0), (batch, time, 3))


@functools.cache
def variables_of(module: Any) -> Any:
    return module.init(jax.random.key(0), given_to(module))


def given_to(module: Any) -> jax.Array:
    return jnp.ones((BATCH, TIME), int) if isinstance(module, models.Classifier) else inputs()


def of_module(module: Any) -> Callable[[Any], Any]:
    # The classifier has a call of its own.
    name = "lengths" if isinstance(module, models.Classifier) else "seq_lengths"
    return lambda lengths: module.apply(variables_of(module), given_to(module), **{name: lengths})


CLASSIFIER = models.Classifier(9, 2, encoder=(MaxPool(2),), pooling="mean")
USERS = {
    **{type(module).__name__: of_module(module) for module in (*LAYERS, CLASSIFIER)},
    "max": lambda lengths: global_pool(inputs(), lengths, "max"),
    "mean": lambda lengths: global_pool(inputs(), lengths, "mean"),
}
WITHOUT_A_BATCH = {
    "SequenceLayer.output_lengths": SequenceLayer().output_lengths,
    "MaxPool.output_lengths": MaxPool(2).output_lengths,
    "padding_mask": lambda lengths: padding_mask(lengths, TIME),
}


def test_lengths_of_any_integer_type_become_int32() -> None:
    for lengths in (
        LENGTHS,
        tuple(LENGTHS),
        [jnp.int32(length) for length in LENGTHS],
        *(np.array(LENGTHS, dtype) for dtype in ("int8", "int64", "uint8", "uint64")),
        *(jnp.array(LENGTHS, dtype) for dtype in ("int8", "uint8", "uint16", "uint32")),
    ):
        normal = normalize_lengths(lengths, BATCH, 300)
        assert normal.dtype == jnp.int32
        np.testing.assert_array_equal(normal, LENGTHS)


def test_lengths_beyond_either_end_become_those_of_the_end() -> None:
    for lengths in (
        [7, 9, -1, 200, 0],
        np.array([7, 2**40, -1, 7, -(2**40)]),
        jnp.array([7, 2**31 + 1, 0, 2**32 - 1, 0], jnp.uint32),
    ):
        np.testing.assert_array_equal(normalize_lengths(lengths, BATCH, TIME), [7, 7, 0, 7, 0])


@pytest.mark.parametrize("user", USERS)
class TestLengths:
    def test_of_another_type_or_beyond_the_end_give_the_same(self, user: str) -> None:
        expected = USERS[user](jnp.array(LENGTHS, jnp.int32))
        beyond = [length if length < TIME else 200 for length in LENGTHS]
        for lengths in (beyond, np.array(beyond, np.uint8)):
            np.testing.assert_array_equal(USERS[user](lengths), expected)

    @pytest.mark.parametrize(
        ("lengths", "error", "message"),
        [
            ([1], ValueError, r"shape \(1,\): \(5,\) is needed, one number per example"),
            (np.ones(4, int), ValueError, r"shape \(4,\): \(5,\) is needed"),
            (np.ones((5, 1), int), ValueError, r"shape \(5, 1\): \(5,\) is needed"),
            (3, ValueError, r"shape \(\): \(5,\) is needed"),
            (np.ones((5, 7), bool), ValueError, r"shape \(5, 7\): .* pass mask.sum\(axis=-1\)"),
            (np.ones(5, bool), TypeError, "dtype bool: integers are needed"),
            (jnp.ones(5), TypeError, "dtype float32: integers are needed"),
        ],
    )
    def test_of_another_shape_or_dtype_are_refused(
        self, user: str, lengths: Any, error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=f"seq_lengths has {message}"):
            USERS[user](lengths)


@pytest.mark.parametrize("user", WITHOUT_A_BATCH)
def test_lengths_are_checked_where_no_batch_is_known(user: str) -> None:
    call = WITHOUT_A_BATCH[user]
    expected = call(jnp.array(LENGTHS, jnp.int32))
    for lengths in (LENGTHS, np.array(LENGTHS, np.uint8), jnp.array(LENGTHS, jnp.uint32)):
        np.testing.assert_array_equal(call(lengths), expected)
    with pytest.raises(ValueError, match=r"seq_lengths has shape \(5, 7\): \[batch\] is needed"):
        call(np.ones((5, 7), bool))
    with pytest.raises(TypeError, match="seq_lengths has dtype bool"):
        call(np.ones(5, bool))


def test_example_ids_are_checked_as_lengths_are() -> None:
    def drop(example_ids: Any) -> Any:
        call = {"deterministic": False, "rngs": {"dropout": jax.random.key(1)}}
        return Dropout(0.5).apply({}, inputs(), example_ids=example_ids, **call)

    np.testing.assert_array_equal(drop([4, 3, 2, 1, 0]), drop(jnp.arange(5)[::-1]))
    with pytest.raises(ValueError, match=r"example_ids has shape \(1,\): \(5,\) is needed"):
        drop([1])
    with pytest.raises(TypeError, match="example_ids has dtype float32"):
        drop(jnp.ones(5))
    with pytest.raises(ValueError, match=r"example_ids has shape \(5, 1\)"):
        dropout_mask(jax.random.key(0), jnp.ones((5, 1), int), (3,), 0.5)


@pytest.mark.parametrize(("batch", "time"), [(2, 0), (0, 4)])
@pytest.mark.parametrize(
    "layer",
    [
        LSTM(2, dropout=0.5, recurrent_dropout=0.5, return_carry=True),
        LSTM(2, reverse=True, return_sequences=False, remat_steps=3),
        LSTM(2, implementation="scan", remat_steps=3),
        RNN(nn.GRUCell(2), remat_steps=3),
        *LAYERS[1:],
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_no_steps_or_no_examples_give_zeros(layer: SequenceLayer, batch: int, time: int) -> None:
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    variables = layer.init(rngs, inputs(1))

    def loss(variables: Any, x: Any, lengths: Any) -> Any:
        results = layer.apply(variables, x, seq_lengths=lengths, deterministic=False, rngs=rngs)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(results)), results

    shapes = jax.eval_shape(loss, variables, inputs(max(batch, 1), max(time, 1)), None)[1]
    for lengths in (None, [0] * batch):
        gradients, results = jax.grad(loss, argnums=(0, 1), has_aux=True)(
            variables, inputs(batch, time), lengths
        )
        for leaf, like in zip(jax.tree.leaves(results), jax.tree.leaves(shapes), strict=True):
            wanted = (batch, *like.shape[1:])
            if time == 0 and len(wanted) == 3:
                wanted = (batch, 0, wanted[2])
            assert (leaf.shape, leaf.dtype) == (wanted, like.dtype)
            np.testing.assert_array_equal(leaf, 0)
        for leaf in jax.tree.leaves(gradients):
            np.testing.assert_array_equal(leaf, 0)
    assert jax.tree.structure(layer.init(rngs, inputs(batch, time))) == jax.tree.structure(
        variables
    )


@pytest.mark.parametrize(("pooling", "features"), [("max", 3), ("mean", 3), ("max_mean", 6)])
@pytest.mark.parametrize(("batch", "time"), [(2, 0), (0, 4)])
def test_a_pool_of_nothing_is_zero(pooling: str, features: int, batch: int, time: int) -> None:
    np.testing.assert_array_equal(
        global_pool(inputs(batch, time), None, pooling), np.zeros((batch, features))
    )


class TestDtypesOfPools:
    @pytest.mark.parametrize("dtype", ["int8", "uint8", "float16", "bfloat16"])
    def test_a_maximum_has_that_of_its_inputs(self, dtype: str) -> None:
        x = jnp.array([[3, 7, 100], [2, 1, 100]], dtype)[..., None]
        for pooled in (global_pool(x, [2, 0]), MaxPool(2).apply({}, x, seq_lengths=[2, 0])[:, 0]):
            assert pooled.dtype == dtype
            np.testing.assert_array_equal(pooled, [[7], [0]])

    def test_a_mean_over_more_steps_than_its_dtype_can_count_is_right(self) -> None:
        for dtype in (jnp.bfloat16, jnp.float16, jnp.int8):
            x = jnp.full((1, 1031, 1), 100, dtype)
            np.testing.assert_allclose(global_pool(x, None, "mean"), 100)
        assert global_pool(x, None, "mean").dtype == jnp.float32


class TestGlobalPool:
    def test_pools_over_valid_steps_alone(self) -> None:
        x = inputs()
        for pooling in ("max", "mean"):
            pooled = global_pool(x, LENGTHS, pooling)
            for row, length in enumerate(LENGTHS):
                valid = x[row, :length]
                expected = getattr(jnp, pooling)(valid, axis=0) if length else np.zeros(3)
                np.testing.assert_allclose(pooled[row], expected, atol=1e-6)

    def test_both_stand_side_by_side(self) -> None:
        each = [global_pool(inputs(), LENGTHS, pooling) for pooling in ("max", "mean")]
        both = global_pool(inputs(), LENGTHS, "max_mean")
        np.testing.assert_array_equal(both, np.concatenate(each, axis=1))

    def test_an_unknown_pooling_is_refused(self) -> None:
        with pytest.raises(ValueError, match="pooling 'min' is unknown: 'max', 'mean' or 'max_me"):
            global_pool(inputs(), LENGTHS, "min")
