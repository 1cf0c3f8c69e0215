"""The GPU kernel, interpreted where there is no GPU, against the scan over the cell."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_problems import BOTH, assert_same, problem, run

from flax_imdb.layers import LSTM, Bidirectional
from flax_imdb.ops.experimental import pallas


@pytest.mark.parametrize(
    "layer",
    [
        {},
        {"reverse": True, "return_sequences": False},
        {"dropout": 0.3},
        {"reverse": True, **BOTH},
        {"remat_steps": 4, "reverse": True},
    ],
    ids=str,
)
def test_values_and_gradients_are_those_of_the_scan(layer: dict[str, Any]) -> None:
    assert_same("pallas", problem(), **layer)


def test_several_instances_give_what_the_scan_gives() -> None:
    """One has rows without steps alone, and the last is not full."""
    params, x, carry, _ = problem(batch=2 * pallas._ROWS + 3)
    lengths = jnp.array([5] * pallas._ROWS + [0] * pallas._ROWS + [9, 1, 3])
    assert_same("pallas", (params, x, carry, lengths), reverse=True)


def test_a_width_in_parts_gives_what_the_scan_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """40 features are 16 + 32 where 64 do not fit."""
    assert pallas._parts(100, jnp.float32) == [16, 32, 64]
    assert pallas._parts(100, jnp.bfloat16) == [128]
    monkeypatch.setattr(pallas, "_SHARED_MEMORY", pallas._SCRATCH + 4 * 4 * 48**2)
    assert pallas._parts(40, jnp.float32) == [16, 32]
    assert_same("pallas", problem(features=40), 4e-6, **BOTH)


def test_bfloat16_is_near_the_scan() -> None:
    """Both round as they go, each in its own order."""
    assert_same("pallas", problem(dtype=jnp.bfloat16), 0.04, param_dtype=jnp.bfloat16, **BOTH)


@settings(max_examples=3)
@given(st.lists(st.integers(0, 6), min_size=3, max_size=3), st.booleans())
def test_any_lengths_give_what_the_scan_gives(lengths: list[int], reverse: bool) -> None:
    params, x, carry, _ = problem(batch=3, time=6)
    expected, actual = (
        run(implementation, params, x, carry, jnp.array(lengths), reverse=reverse)
        for implementation in ("scan", "pallas")
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), actual, expected)


def test_both_directions_are_one_launch() -> None:
    _, x, _, lengths = problem()
    layers = {
        implementation: Bidirectional(LSTM(5, implementation=implementation, **BOTH))
        for implementation in ("scan", "pallas")
    }
    params = layers["scan"].init(jax.random.key(0), x)

    def loss(params: Any, layer: Bidirectional) -> Any:
        outputs = layer.apply(
            params,
            x,
            seq_lengths=lengths,
            deterministic=False,
            rngs={"dropout": jax.random.key(1)},
        )
        return jnp.sum(outputs**2 * jnp.arange(1, outputs.size + 1).reshape(outputs.shape))

    expected, actual = (
        jax.jit(jax.value_and_grad(loss), static_argnums=1)(params, layer)
        for layer in layers.values()
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), actual, expected
    )
    # One of the forward and one of the backward pass; each is there for a GPU and interpreted.
    program = str(jax.make_jaxpr(jax.grad(loss), static_argnums=1)(params, layers["pallas"]))
    assert program.count("pallas_call[") == 2 * 2


def test_gradients_under_vmap_are_those_of_the_scan() -> None:
    params, x, carry, lengths = problem()

    def gradient(x: Any, implementation: str = "pallas") -> Any:
        def loss(x: Any) -> Any:
            return jnp.sum(run(implementation, params, x, carry, lengths)[1] ** 2)

        return jax.grad(loss)(x)

    expected = jnp.stack([gradient(x, "scan"), gradient(2 * x, "scan")])
    np.testing.assert_allclose(
        jax.vmap(gradient)(jnp.stack([x, 2 * x])), expected, rtol=1e-5, atol=1e-5
    )


def test_a_carry_of_another_type_gives_what_the_scan_gives() -> None:
    params, x, carry, lengths = problem()
    carry = tuple(state.astype(jnp.bfloat16) for state in carry)
    assert_same("pallas", (params, x, carry, lengths), 0.02)


def test_no_row_gives_nothing_and_no_step_leaves_the_carry() -> None:
    params, x, carry, lengths = problem()
    final, outputs = run("pallas", params, x[:0], tuple(state[:0] for state in carry), lengths[:0])
    assert outputs.shape == (0, 9, 5)
    final, outputs = run("pallas", params, x[:, :0], carry, lengths)
    assert outputs.shape == (4, 0, 5)
    jax.tree.map(np.testing.assert_array_equal, final, carry)


class TestRows:
    """What an instance reads and writes, which an interpreter forgives and a GPU does not."""

    BATCH, TIME, FEATURES = 2 * pallas._ROWS + 3, 7, 40

    def rows(
        self, block: int, monkeypatch: pytest.MonkeyPatch, reverse: bool = False
    ) -> pallas._Rows:
        lengths = np.arange(self.BATCH) % 6

        def load(ref: Any, mask: Any, other: int) -> Any:
            assert np.all(ref.indices[mask] < self.BATCH)
            return jnp.where(mask, lengths[np.minimum(ref.indices, self.BATCH - 1)], other)

        class Reference:
            at = type("At", (), {"__getitem__": lambda self, i: SimpleNamespace(indices=i)})()

        monkeypatch.setattr(pallas.pl, "program_id", lambda axis: (0, block)[axis])
        monkeypatch.setattr(pallas.triton, "load", load)
        carry = jnp.zeros((1, self.BATCH, self.FEATURES))
        given = {"seq_lengths": Reference(), "carry": (carry, carry)}
        return pallas._Rows(pallas._Static((reverse,), True, jnp.float32), self.TIME, given)

    def test_each_element_belongs_to_one_instance(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pallas, "_SHARED_MEMORY", 0)  # So 40 are 16 + 32.
        count = np.zeros((1, self.TIME, self.BATCH, self.FEATURES), int)
        for block in range(3):
            for (direction, time, rows, columns), mask in self.rows(block, monkeypatch)._indices(
                4, None
            ):
                rows, columns = np.broadcast_arrays(rows, columns)
                assert rows[mask].max() < self.BATCH
                assert columns[mask].max() < self.FEATURES
                np.add.at(count, (direction, time, rows[mask], columns[mask]), 1)
        assert np.all(count[:, 4] == 1)
        assert count.sum() == self.BATCH * self.FEATURES

    @pytest.mark.parametrize("reverse", [False, True])
    def test_steps_of_an_instance_end_with_its_own_longest_row(
        self, reverse: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        longest = [5, 5, 4]  # The last has rows 32, 33 and 34, of lengths 2, 3 and 4.
        for block, steps in enumerate(longest):
            rows = self.rows(block, monkeypatch, reverse)
            assert rows.steps == steps
            times = [int(rows.time(n)) for n in range(steps)]
            assert times == (list(range(steps))[::-1] if reverse else list(range(steps)))
            # What is asked for a step too early is there.
            assert 0 <= rows.time(-1) < self.TIME
            assert 0 <= rows.time(steps) < self.TIME


@pytest.mark.parametrize(
    ("features", "dtype", "why"),
    [
        (113, jnp.float32, "has room for 112 features in float32, not for 113"),
        (512, jnp.bfloat16, "has room for 160 features in bfloat16, not for 512"),
        (5, "float16", "computes in float32 and bfloat16, not in float16"),
    ],
    ids=str,
)
def test_what_the_kernel_cannot_compute_is_refused_and_auto_computes_it(
    features: int, dtype: Any, why: str
) -> None:
    x = jnp.zeros((2, 3, 4))
    with pytest.raises(ValueError, match=f"implementation 'pallas' .*{why}: 'auto' takes another"):
        LSTM(features, implementation="pallas", dtype=dtype).init(jax.random.key(0), x)
    jax.eval_shape(lambda: LSTM(features, dtype=dtype).init(jax.random.key(0), x))


def test_what_fits_depends_on_the_shared_memory_of_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    a100 = SimpleNamespace(shared_memory_per_block_optin=163 * 1024)
    monkeypatch.setattr(jax, "devices", lambda: [a100])
    assert "room for 96 features in float32, not for 100" in str(
        pallas.unsupported(jnp.dtype("float32"), 100, False)
    )
    assert pallas.unsupported(jnp.dtype("bfloat16"), 100, False) is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_dtype_may_be_given_by_its_name(dtype: str) -> None:
    layer = LSTM(5, implementation="pallas", dtype=dtype)
    jax.eval_shape(lambda: layer.init(jax.random.key(0), jnp.zeros((2, 3, 4))))
