"""Every architecture against Keras, and against itself under padding."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras
import keras_peers
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numerics import assert_close

from flax_imdb import models
from flax_imdb.errors import InputError
from flax_imdb.layers import LSTM
from flax_imdb.training import compute_metrics

ARCHITECTURES = list(models.ARCHITECTURES)
EVERY_LAYER = ["lstm_dropout", "bilstm", "conv_lstm_dropout"]  # between them
SMALL = {
    "embedding_features": keras_peers.EMBEDDING_FEATURES,
    "features": keras_peers.FEATURES,
}


def small_model(arch: str, **sizes: int) -> models.Classifier:
    config = models.ModelConfig(arch=arch, **(SMALL | sizes))
    return models.build(config, keras_peers.VOCAB_SIZE)


def init(model: models.Classifier) -> Any:
    return jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]


def logits_and_gradients(
    model: models.Classifier, params: Any, batch: dict[str, Any], **call: Any
) -> tuple[jax.Array, Any]:
    """Ours: logits, and the gradients of the mean loss over the examples."""

    def loss(params: Any) -> tuple[jax.Array, jax.Array]:
        logits = model.apply({"params": params}, batch["tokens"], batch["lengths"], **call)
        metrics = compute_metrics(logits, batch["labels"], jnp.ones(len(batch["labels"])))
        return metrics["loss"] / metrics["examples"], logits

    gradients, logits = jax.jit(jax.grad(loss, has_aux=True))(params)
    return logits, gradients


def random_batch(lengths: list[int], time: int, seed: int = 0) -> dict[str, Any]:
    """Rows of random tokens, padded with 0 at the end."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, keras_peers.VOCAB_SIZE, (len(lengths), time))
    tokens[np.arange(time) >= np.array(lengths)[:, None]] = 0
    return {
        "tokens": jnp.asarray(tokens, jnp.int32),
        "lengths": jnp.asarray(lengths, jnp.int32),
        "labels": jnp.asarray(rng.integers(0, 2, len(lengths)), jnp.int32),
    }


class TestAgainstKeras:
    """Keras's parameters carried over give Keras's outputs and gradients."""

    @pytest.mark.parametrize("arch", ARCHITECTURES)
    def test_computed_padding_gives_the_logits_and_gradients_of_keras(self, arch: str) -> None:
        """As in the tutorial: zeros at the front, which run through the layers like any token."""
        batch = random_batch([40] * 6, 40)
        batch["tokens"] = batch["tokens"].at[:3, :17].set(0)
        peer = keras_peers.build(arch, mask=False)
        logits, gradients = keras_peers.logits_and_gradients(peer, batch["tokens"], batch["labels"])

        params = keras_peers.to_flax(arch, [v.value for v in peer.trainable_variables])
        ours = logits_and_gradients(small_model(arch), params, batch)
        assert_close(ours, (logits, keras_peers.to_flax(arch, gradients)))

    @pytest.mark.parametrize("arch", ["bilstm", "conv_lstm"])
    def test_the_tutorials_size_gives_the_logits_and_gradients_of_keras(self, arch: str) -> None:
        """500 tokens, of 5,000 ids, 100 wide: rounding does not add up over the steps."""
        sizes = {"vocab_size": 5000, "embedding_features": 32, "features": 100}
        peer = keras_peers.build(arch, mask=False, **sizes)
        rng = np.random.default_rng(0)
        batch = {
            "tokens": jnp.asarray(rng.integers(0, 5000, (4, 500)), jnp.int32),
            "lengths": jnp.full(4, 500),
            "labels": jnp.array([0, 1, 1, 0]),
        }
        logits, gradients = keras_peers.logits_and_gradients(peer, batch["tokens"], batch["labels"])
        params = keras_peers.to_flax(arch, [v.value for v in peer.trainable_variables])
        model = models.build(models.ModelConfig(arch=arch), vocab_size=5000)
        ours = logits_and_gradients(model, params, batch)
        assert_close(ours, (logits, keras_peers.to_flax(arch, gradients)))

    @pytest.mark.parametrize("arch", [arch for arch in ARCHITECTURES if "conv" not in arch])
    def test_masked_padding_gives_the_logits_and_gradients_of_keras(self, arch: str) -> None:
        """Keras is told that token 0 is padding."""
        batch = random_batch([25, 1, 13, 24], 25)
        peer = keras_peers.build(arch, mask=True)
        logits, gradients = keras_peers.logits_and_gradients(peer, batch["tokens"], batch["labels"])

        params = keras_peers.to_flax(arch, [v.value for v in peer.trainable_variables])
        ours = logits_and_gradients(small_model(arch), params, batch)
        assert_close(ours, (logits, keras_peers.to_flax(arch, gradients)))

    @pytest.mark.parametrize("arch", [arch for arch in ARCHITECTURES if "conv" in arch])
    def test_masked_padding_after_a_convolution_gives_those_of_each_row_alone(
        self, arch: str
    ) -> None:
        """Keras drops the mask there, so each row is shown to it alone and unpadded."""
        lengths = [25, 1, 13, 24]
        batch = random_batch(lengths, 25)
        peer = keras_peers.build(arch, mask=False)
        alone = [
            keras_peers.logits_and_gradients(
                peer, batch["tokens"][i : i + 1, :length], batch["labels"][i : i + 1]
            )
            for i, length in enumerate(lengths)
        ]
        logits = jnp.concatenate([row_logits for row_logits, _ in alone])
        gradients = jax.tree.map(lambda *rows: sum(rows) / len(rows), *(g for _, g in alone))

        params = keras_peers.to_flax(arch, [v.value for v in peer.trainable_variables])
        ours = logits_and_gradients(small_model(arch), params, batch)
        assert_close(ours, (logits, keras_peers.to_flax(arch, gradients)))

    @pytest.mark.parametrize("arch", ["bilstm", "conv_lstm"])
    def test_parameters_start_as_those_of_keras(self, arch: str) -> None:
        """Same shapes, and the same mean and standard deviation but for chance."""
        keras.utils.set_random_seed(0)
        peer = keras_peers.build(arch, mask=False, features=64)
        theirs = keras_peers.to_flax(arch, [v.value for v in peer.trainable_variables])
        model = small_model(arch, features=64)
        ours = model.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]

        def compare(a: jax.Array, b: jax.Array) -> None:
            assert a.shape == b.shape
            chance = 5 * float(b.std()) / b.size**0.5
            np.testing.assert_allclose(a.std(), b.std(), atol=chance + 1e-6)
            np.testing.assert_allclose(a.mean(), b.mean(), atol=chance + 1e-6)

        jax.tree.map(compare, ours, theirs)


class TestPadding:
    """Padding has no effect on any output or gradient, for any amount of it."""

    @pytest.mark.parametrize("arch", EVERY_LAYER)
    @given(
        lengths=st.lists(st.integers(1, 9), min_size=3, max_size=3),
        extra=st.sampled_from([1, 14]),
        garbage=st.integers(0, keras_peers.VOCAB_SIZE - 1),
        deterministic=st.booleans(),
    )
    @settings(max_examples=40)
    def test_changes_nothing(
        self, arch: str, lengths: list[int], extra: int, garbage: int, deterministic: bool
    ) -> None:
        """In training too: a row's dropout does not depend on how far it is padded."""
        params, compiled = self.compiled(arch, deterministic)
        batch = random_batch(lengths, 9)
        beyond = jnp.arange(9 + extra) >= batch["lengths"][:, None]
        tokens = jnp.pad(batch["tokens"], ((0, 0), (0, extra)))
        padded = {**batch, "tokens": jnp.where(beyond, garbage, tokens)}
        assert_close(compiled(params, padded), compiled(params, batch), 1e-6)

    @staticmethod
    @functools.cache
    def compiled(arch: str, deterministic: bool) -> tuple[Any, Callable[..., Any]]:
        """Parameters, and the function of them and a batch that gives logits and gradients."""
        model = small_model(arch, embedding_features=3, features=2)
        params = init(model)
        call = {
            "deterministic": deterministic,
            "example_ids": jnp.arange(3),
            "rngs": {"dropout": jax.random.key(1)},
        }
        return params, jax.jit(functools.partial(logits_and_gradients, model, **call))

    @pytest.mark.parametrize("arch", EVERY_LAYER)
    def test_an_example_alone_gives_what_it_gives_in_a_batch(self, arch: str) -> None:
        model = small_model(arch)
        batch = random_batch([7, 3, 12], 12)
        params = {"params": init(model)}
        key = {"dropout": jax.random.key(1)}
        ids = jnp.array([4, 5, 6])

        @functools.partial(jax.jit, static_argnames="time")
        def logits(index: jax.Array, time: int = 12) -> jax.Array:
            return model.apply(
                params,
                batch["tokens"][index, :time],
                batch["lengths"][index],
                deterministic=False,
                example_ids=ids[index],
                rngs=key,
            )

        together = logits(jnp.array([0, 1, 2]))
        assert_close(logits(jnp.array([1]), time=3), together[1:2], 1e-6)
        assert_close(logits(jnp.array([2, 1, 0])), together[::-1], 1e-6)

    @pytest.mark.parametrize("arch", EVERY_LAYER)
    def test_a_row_of_length_0_is_finite(self, arch: str) -> None:
        """Rows that only fill a batch have no token."""
        model = small_model(arch)
        batch = random_batch([5, 0], 5)
        params = init(model)
        logits, gradients = logits_and_gradients(model, params, batch)
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves((logits, gradients)))


class TestDropout:
    """Dropout is there where the name says so, and only in training."""

    @pytest.mark.parametrize("arch", ARCHITECTURES)
    def test_only_the_architectures_that_have_it_drop_and_only_in_training(self, arch: str) -> None:
        model = small_model(arch)
        batch = random_batch([20] * 8, 20)
        params = {"params": init(model)}

        @functools.partial(jax.jit, static_argnames="deterministic")
        def logits(seed: int, deterministic: bool = False) -> jax.Array:
            return model.apply(
                params,
                batch["tokens"],
                deterministic=deterministic,
                rngs={"dropout": jax.random.key(seed)},
            )

        drops = "dropout" in arch or arch == "bilstm"
        assert bool((logits(0) != logits(1)).any()) == drops
        np.testing.assert_array_equal(logits(0), logits(0))
        np.testing.assert_array_equal(logits(0, True), logits(1, True))


class TestArchitectures:
    def test_register_adds_an_architecture(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(models.architectures, "ARCHITECTURES", dict(models.ARCHITECTURES))

        @models.register("two_lstms")
        def two_lstms(config: models.ModelConfig) -> dict[str, Any]:
            return {"encoder": [LSTM(config.features), LSTM(config.features)], "pooling": "max"}

        model = models.build(models.ModelConfig(arch="two_lstms", features=3), vocab_size=10)
        params = model.init(jax.random.key(0), jnp.ones((1, 4), jnp.int32))["params"]
        assert set(params) == {"embedding", "encoder_0", "encoder_1", "head"}

    def test_parameters_are_as_many_as_in_the_tutorial(self) -> None:
        """Those that Keras prints for the tutorial's models."""
        printed = {"lstm": 213_301, "bilstm": 266_601, "conv_lstm": 216_405}
        for arch, expected in printed.items():
            model = models.build(models.ModelConfig(arch=arch), vocab_size=5000)
            params = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 4), jnp.int32))
            assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected


class TestAdjusted:
    """Every architecture of the tutorial takes layers and rates of dropout."""

    @pytest.mark.parametrize("arch", ["lstm", "bilstm", "conv_lstm"])
    def test_layers_read_the_outputs_of_one_another(self, arch: str) -> None:
        model = models.build(models.ModelConfig(arch, 8, 6, layers=3), keras_peers.VOCAB_SIZE)
        one = models.build(models.ModelConfig(arch, 8, 6), keras_peers.VOCAB_SIZE)
        batch = random_batch([20, 7, 1], 20)
        params, of_one = init(model), init(one)
        assert len(params) == len(of_one) + 2
        logits, gradients = logits_and_gradients(model, params, batch)
        assert logits.shape == (3, 1)
        assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradients))

    def test_stacked_reversed_layers_all_read_backwards(self) -> None:
        """The same as forward ones that read the text reversed."""
        forward, backward = (
            models.build(models.ModelConfig(arch, 8, 6, layers=2), keras_peers.VOCAB_SIZE)
            for arch in ("lstm", "reversed_lstm")
        )
        params = {"params": init(forward)}
        tokens = jnp.array([[3, 4, 5, 6, 7]])
        np.testing.assert_allclose(
            forward.apply(params, tokens), backward.apply(params, tokens[:, ::-1]), rtol=1e-5
        )

    @pytest.mark.parametrize("arch", ARCHITECTURES)
    @pytest.mark.parametrize("rate", ["dropout", "recurrent_dropout"])
    def test_a_rate_replaces_the_architectures_own(self, arch: str, rate: str) -> None:
        both = {"dropout": 0.0, "recurrent_dropout": 0.0}
        batch = random_batch([20] * 4, 20)

        def drops(**rates: float) -> bool:
            config = models.ModelConfig(arch, 8, 6, **rates)  # type: ignore[arg-type]
            model = models.build(config, keras_peers.VOCAB_SIZE)
            params = {"params": init(model)}
            first, second = (
                model.apply(
                    params,
                    batch["tokens"],
                    deterministic=False,
                    rngs={"dropout": jax.random.key(seed)},
                )
                for seed in (0, 1)
            )
            return bool((first != second).any())

        assert not drops(**both)
        assert drops(**both | {rate: 0.5})

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ({"layers": 0}, "`layers` 0 is too small: 1 or more"),
            ({"dropout": 1.0}, r"`dropout` 1\.0 makes no sense"),
            ({"recurrent_dropout": -0.1}, r"`recurrent_dropout` -0\.1 makes no sense"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, setting: dict, message: str) -> None:
        with pytest.raises(InputError, match=message):
            models.ModelConfig(**setting)


class TestPrecision:
    @pytest.mark.parametrize("arch", EVERY_LAYER)
    def test_bfloat16_computes_near_float32(self, arch: str) -> None:
        """With the same parameters, logits and gradients, which stay float32."""
        batch = random_batch([30, 3, 17, 22], 30)
        exact, rounded = (
            models.build(
                models.ModelConfig(arch, 8, 16, precision=precision), keras_peers.VOCAB_SIZE
            )
            for precision in ("float32", "bfloat16")
        )
        variables = exact.init(jax.random.key(0), batch["tokens"], batch["lengths"])

        def loss(variables: Any, model: models.Classifier) -> tuple[jax.Array, jax.Array]:
            logits = model.apply(
                variables,
                batch["tokens"],
                batch["lengths"],
                deterministic=False,
                rngs={"dropout": jax.random.key(1)},
            )
            return jnp.sum(jnp.sin(3 * logits + 1)), logits

        def both(model: models.Classifier) -> tuple[Any, jax.Array]:
            return jax.jit(jax.grad(functools.partial(loss, model=model), has_aux=True))(variables)

        (expected, expected_logits), (gradients, logits) = both(exact), both(rounded)
        for leaf in (logits, *jax.tree.leaves(gradients)):
            assert leaf.dtype == jnp.float32
        assert not np.array_equal(logits, expected_logits)
        np.testing.assert_allclose(logits, expected_logits, atol=0.01)

        def close(ours: jax.Array, theirs: jax.Array) -> None:
            # In all: the highest of a pooled window may be another one, rounded.
            assert jnp.linalg.norm(ours - theirs) < 0.1 * jnp.linalg.norm(theirs)

        jax.tree.map(close, gradients, expected)

    def test_many_small_gradients_of_a_word_add_up(self) -> None:
        """They would not in bfloat16, where 256 + 1 is 256."""
        config = models.ModelConfig(features=16, precision="bfloat16")
        model = models.build(config, keras_peers.VOCAB_SIZE)
        tokens = jnp.full((2000, 1), 5)
        variables = model.init(jax.random.key(0), tokens)

        @jax.jit
        def gradient(tokens: jax.Array) -> jax.Array:
            grads = jax.grad(lambda variables: model.apply(variables, tokens).sum())(variables)
            return grads["params"]["embedding"]["embedding"][5]

        np.testing.assert_allclose(gradient(tokens), 2000 * gradient(tokens[:1]), rtol=1e-4)


class TestModelConfig:
    """What makes no sense is refused by name."""

    @pytest.mark.parametrize("steps", [0, -1])
    def test_remat_steps_below_one_are_refused(self, steps: int) -> None:
        with pytest.raises(InputError, match=f"`remat_steps` {steps} is too small: 1 or more"):
            models.ModelConfig(remat_steps=steps)

    def test_an_unknown_architecture_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"`arch` gru is unknown: one of lstm, lstm_dropout,"):
            models.ModelConfig(arch="gru")

    @pytest.mark.parametrize("name", ["features", "embedding_features"])
    @pytest.mark.parametrize("value", [0, -1])
    def test_a_width_below_one_is_refused(self, name: str, value: int) -> None:
        with pytest.raises(InputError, match=f"`{name}` {value} is too small: 1 or more"):
            models.ModelConfig(**{name: value})
