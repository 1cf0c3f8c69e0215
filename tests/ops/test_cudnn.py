"""cuDNN's LSTM. Where there is no GPU, JAX's reference of it stands in for cuDNN itself.

`jax.experimental.rnn` has that reference to test its own calls of cuDNN against: it takes the same
packed weights, so what is tested here is all that this project does before and after the call.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn
from lstm_problems import assert_same, problem

from flax_imdb.layers import LSTM, Bidirectional


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The options of each call of cuDNN, or of what stands in for it."""
    made: list[dict[str, Any]] = []
    cudnn = rnn.lstm

    def reference(x: Any, h: Any, c: Any, weights: Any, lengths: Any, **options: Any) -> Any:
        sizes = {name: options[name] for name in ("input_size", "hidden_size", "num_layers")}
        bidirectional = options["bidirectional"]
        unpacked = rnn.unpack_lstm_weights(weights, *sizes.values(), bidirectional)
        return rnn.lstm_ref(x, h, c, *unpacked, lengths, *sizes.values(), 0.0, bidirectional)

    def call(*arguments: Any, **options: Any) -> Any:
        made.append(options)
        *floats, lengths = arguments
        # cuDNN reads them as that, whatever they are.
        assert [array.dtype for array in floats] == [jnp.float32] * 4
        assert lengths.dtype == jnp.int32
        return (cudnn if on_gpu else reference)(*arguments, **options)

    on_gpu = jax.default_backend() == "gpu"
    monkeypatch.setattr(rnn, "lstm", call)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    return made


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_values_and_gradients_are_those_of_the_scan(reverse: bool, return_sequences: bool) -> None:
    assert_same("cudnn", problem(), reverse=reverse, return_sequences=return_sequences)


def test_dropout_of_the_inputs_gives_what_the_scan_gives() -> None:
    assert_same("cudnn", problem(), dropout=0.3)


def test_rematerialisation_gives_what_the_scan_gives() -> None:
    assert_same("cudnn", problem(), remat_steps=4, reverse=True)


def test_parameters_and_carries_of_other_types_give_what_the_scan_gives() -> None:
    """CuDNN gets float32 of them; gradients have the type of what they are of."""
    params, x, carry, lengths = problem()
    params = jax.tree.map(lambda array: array.astype(jnp.bfloat16), params)
    carry = tuple(state.astype(jnp.bfloat16) for state in carry)
    layer = {"param_dtype": jnp.bfloat16, "dtype": jnp.float32}
    assert_same("cudnn", (params, x, carry, lengths), 0.02, **layer)


def both_directions(implementation: str, dropout: float = 0.0, **layer: Any) -> Any:
    """Gradients of a bidirectional layer."""
    _, x, carry, lengths = problem()
    lstm = LSTM(5, implementation=implementation, dropout=dropout, **layer)
    bidirectional = Bidirectional(lstm)
    params = bidirectional.init(jax.random.key(0), x)

    def loss(params: Any) -> Any:
        outputs = bidirectional.apply(
            params,
            x,
            seq_lengths=lengths,
            initial_carry=(carry, jax.tree.map(jnp.negative, carry)),
            deterministic=False,
            rngs={"dropout": jax.random.key(1)},
        )
        return jnp.sum(outputs**2 * jnp.arange(1, outputs.size + 1).reshape(outputs.shape))

    return jax.jit(jax.value_and_grad(loss))(params)


@pytest.mark.parametrize("layer", [{}, {"return_sequences": False}], ids=str)
def test_both_directions_are_one_call(layer: dict[str, Any], calls: list[Any]) -> None:
    ours = both_directions("cudnn", **layer)
    assert [call["bidirectional"] for call in calls] == [True] * 2  # At init, and here.
    expected = both_directions("scan", **layer)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), ours, expected
    )


def test_each_direction_drops_inputs_of_its_own(calls: list[Any]) -> None:
    ours = both_directions("cudnn", dropout=0.3)
    assert [call["bidirectional"] for call in calls[1:]] == [False] * 2
    expected = both_directions("scan", dropout=0.3)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), ours, expected
    )


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        ({"recurrent_dropout": 0.2}, "has no recurrent dropout"),
        ({"dtype": jnp.bfloat16}, "computes in float32, not in bfloat16"),
    ],
    ids=str,
)
def test_what_cudnn_cannot_compute_is_refused_and_auto_computes_it(
    layer: dict[str, Any], why: str
) -> None:
    x = jnp.zeros((2, 3, 4))
    with pytest.raises(ValueError, match=f"implementation 'cudnn' {why}: 'auto' takes another"):
        LSTM(5, implementation="cudnn", **layer).init(jax.random.key(0), x)
    LSTM(5, **layer).init(jax.random.key(0), x)


def test_another_device_of_a_machine_that_has_a_gpu_is_refused() -> None:
    with (
        jax.default_device(jax.devices("cpu")[0]),
        pytest.raises(ValueError, match="needs an NVIDIA GPU, and JAX computes on cpu"),
    ):
        LSTM(5, implementation="cudnn").init(jax.random.key(0), jnp.zeros((2, 3, 4)))


def test_without_an_nvidia_gpu_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    with pytest.raises(ValueError, match="'cudnn' needs an NVIDIA GPU, and JAX computes on cpu"):
        LSTM(5, implementation="cudnn").init(jax.random.key(0), jnp.zeros((2, 3, 4)))
