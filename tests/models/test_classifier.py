"""The classifier as research code uses it."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import keras_peers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numerics import assert_close

from flax_imdb.errors import InputError
from flax_imdb.layers import LSTM, Window, hash_ngrams
from flax_imdb.models import ARCHITECTURES, Classifier, ModelConfig, build


class TestClassifier:
    """What research code can do with it."""

    def test_layers_may_be_stacked_and_classes_several(self) -> None:
        model = Classifier(
            vocab_size=20,
            embedding_features=4,
            encoder=[LSTM(6), LSTM(5, reverse=True)],
            pooling="max",
            num_classes=3,
        )
        tokens = jnp.arange(14).reshape(2, 7)
        logits, variables = model.init_with_output(jax.random.key(0), tokens, [4, 7])
        assert logits.shape == (2, 3)
        assert variables["params"]["encoder_1"]["cell"]["kernel"].shape == (6, 20)

    @pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
    def test_dtype_is_that_of_the_computation(self, dtype: Any) -> None:
        model = Classifier(20, 4, encoder=[LSTM(6, dtype=dtype)], pooling="mean", dtype=dtype)
        logits, variables = model.init_with_output(jax.random.key(0), jnp.ones((2, 5), jnp.int32))
        assert logits.dtype == dtype
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


class TestNgrams:
    """The embedding of a token and of the n-grams that end with it."""

    model = Classifier(
        vocab_size=20,
        embedding_features=4,
        encoder=[],
        pooling="mean",
        ngrams=3,
        ngram_buckets=50,
    )
    tokens = jax.random.randint(jax.random.key(0), (3, 7), 0, 20)
    lengths = jnp.array([7, 4, 0])

    def params(self) -> Any:
        return self.model.init(jax.random.key(0), self.tokens, self.lengths)["params"]

    def test_are_added(self) -> None:
        params = self.params()
        embedded = params["embedding"]["embedding"][self.tokens]
        for n in (2, 3):
            table = params[f"embedding_of_{n}_grams"]["embedding"]
            assert table.shape == (50, 4)
            embedded += table[hash_ngrams(self.tokens, n, 50)]
        mean = np.stack([embedded[0].mean(0), embedded[1, :4].mean(0), np.zeros(4)])
        np.testing.assert_allclose(
            self.model.apply({"params": params}, self.tokens, self.lengths),
            mean @ params["head"]["kernel"] + params["head"]["bias"],
            atol=1e-6,
        )

    def test_padding_changes_none(self) -> None:
        variables = {"params": self.params()}
        padded = jnp.pad(self.tokens, ((0, 0), (0, 5)), constant_values=3)
        np.testing.assert_allclose(
            self.model.apply(variables, padded, self.lengths),
            self.model.apply(variables, self.tokens, self.lengths),
            atol=1e-6,
        )


def in_training(model: Classifier, tokens: jax.Array) -> tuple[Any, Any]:
    """New parameters, and the logits with dropout."""
    params = model.init(jax.random.key(0), tokens)["params"]
    rngs = {"dropout": jax.random.key(1)}
    return params, model.apply({"params": params}, tokens, deterministic=False, rngs=rngs)


def test_a_word_is_dropped_with_all_its_features() -> None:
    """A text of one word gives what that word gives at twice its size, or nothing."""
    model = Classifier(20, 4, encoder=[], pooling="max", word_dropout=0.5, ngrams=2)
    tokens = jnp.full((200, 1), 7)
    params, logits = in_training(model, tokens)
    twice = params["embedding"]["embedding"][7] * 2
    twice += 2 * params["embedding_of_2_grams"]["embedding"][hash_ngrams(tokens, 2, 2**18)[0, 0]]
    dropped, kept = params["head"]["bias"], twice @ params["head"]["kernel"]
    of_dropped = np.isclose(logits, dropped, atol=1e-7)
    np.testing.assert_allclose(of_dropped.mean(), 0.5, atol=0.1)
    np.testing.assert_allclose(logits[~of_dropped], np.full(np.sum(~of_dropped), kept), rtol=1e-4)


def test_the_head_may_have_a_rate_of_its_own() -> None:
    """At a rate of nearly 1 all that is left of almost all rows is the bias."""
    model = Classifier(20, 4, encoder=[], pooling="max", dropout=0.0, head_dropout=0.99)
    params, logits = in_training(model, jnp.full((50, 3), 7))
    assert np.mean(logits == params["head"]["bias"]) > 0.8


def test_other_shapes_than_the_first_may_follow() -> None:
    """Nothing of the first call's shape is kept."""
    model = Classifier(20, 4, encoder=[LSTM(3)], pooling="mean")
    variables = model.init(jax.random.key(0), jnp.ones((1, 8), jnp.int32))
    assert variables.keys() == {"params"}
    assert model.apply(variables, jnp.ones((2, 5), jnp.int32)).shape == (2, 1)


def random_sequences(*lengths: int) -> list[jax.Array]:
    rng = np.random.default_rng(sum(lengths))
    return [jnp.array(rng.normal(size=(length, 3)), jnp.float32) for length in lengths]


class TestSequences:
    """Numeric sequences, which have no embedding."""

    @pytest.mark.parametrize("arch", ARCHITECTURES)
    def test_the_whole_classifier_is_that_of_keras(self, arch: str) -> None:
        """Without an embedding, and with its weights."""
        peer = keras_peers.build_of_sequences(arch, features=3)
        params = keras_peers.to_flax(arch, [None, *peer.get_weights()])
        del params["embedding"]
        model = build(ModelConfig(arch, features=keras_peers.FEATURES), None)
        inputs = jnp.stack(random_sequences(8, 8, 8, 8))
        variables = model.init(jax.random.key(0), inputs)
        shapes = (jax.tree.map(np.shape, tree) for tree in (variables["params"], params))
        assert next(shapes) == next(shapes)
        np.testing.assert_allclose(
            model.apply({"params": params}, inputs), peer(inputs), rtol=1e-5, atol=1e-5
        )

    @pytest.mark.parametrize("arch", ["bilstm", "conv_lstm"])
    def test_neither_padding_nor_the_batch_changes_an_answer(self, arch: str) -> None:
        model = build(ModelConfig(arch, features=4), None)
        variables = model.init(jax.random.key(0), jnp.zeros((1, 1, 3)))
        apply = jax.jit(model.apply)

        @given(
            lengths=st.tuples(*[st.integers(1, 3)] * 3),
            more=st.integers(0, 1),
            filling=st.floats(-1e3, 1e3, width=32),
        )
        def check(lengths: tuple[int, ...], more: int, filling: float) -> None:
            sequences = random_sequences(*lengths)
            batch = np.full((3, max(lengths) + more, 3), filling, np.float32)
            for row, sequence in zip(batch, sequences, strict=True):
                row[: len(sequence)] = sequence
            logits = apply(variables, jnp.array(batch), jnp.array(lengths))
            alone = [apply(variables, sequence[None])[0] for sequence in sequences]
            np.testing.assert_allclose(logits, alone, atol=1e-6)

        check()

    def test_the_order_of_steps_and_features_matters(self) -> None:
        model = build(ModelConfig(features=4), None)
        inputs = jnp.stack(random_sequences(6))
        variables = model.init(jax.random.key(0), inputs)
        kernel = variables["params"]["encoder_0"]["cell"]["kernel"]
        logits, of_reversed, of_permuted = (
            model.apply(variables, each)
            for each in (inputs, inputs[:, ::-1], inputs[:, :, [2, 0, 1]])
        )
        assert np.all(np.abs(logits - of_reversed) > 1e-4)
        assert np.all(np.abs(logits - of_permuted) > 1e-4)
        variables["params"]["encoder_0"]["cell"]["kernel"] = kernel[jnp.array([2, 0, 1])]
        permuted = model.apply(variables, inputs[:, :, [2, 0, 1]])
        np.testing.assert_allclose(permuted, logits, atol=1e-6)

    def test_a_step_is_dropped_with_all_its_features(self) -> None:
        """A sequence of one step gives what that step gives at twice its size, or nothing."""
        model = Classifier(None, 4, encoder=[], pooling="max", word_dropout=0.5)
        inputs = jnp.tile(jnp.array([1.0, 2.0, 3.0]), (200, 1, 1))
        params, logits = in_training(model, inputs)
        assert params.keys() == {"head"}
        dropped, kept = params["head"]["bias"], 2 * inputs[0] @ params["head"]["kernel"]
        of_dropped = np.isclose(logits, dropped, atol=1e-7)
        np.testing.assert_allclose(of_dropped.mean(), 0.5, atol=0.1)
        np.testing.assert_allclose(logits[~of_dropped], np.full(np.sum(~of_dropped), kept))

    @pytest.mark.parametrize(
        "setting", [{"ngrams": 2}, {"wide_ngrams": 1}, {"embedding_features": 8}], ids=str
    )
    def test_settings_of_texts_are_refused(self, setting: dict[str, int]) -> None:
        ((name, value),) = setting.items()
        with pytest.raises(InputError, match=f"`{name}` {value} is for texts, and these are num"):
            build(ModelConfig(**setting), None)


WINDOW = Window(6, 3)


class TestWindows:
    """Long texts are read in windows; everything else is as without."""

    rng = np.random.default_rng(0)
    tokens = jnp.asarray(rng.integers(1, 20, (7, 17)), jnp.int32)
    lengths = jnp.array([17, 16, 12, 9, 7, 6, 0])

    @staticmethod
    def models(arch: str, **settings: Any) -> tuple[Classifier, Classifier, Any]:
        """With windows, without, and parameters of both that are far from 0."""
        config = ModelConfig(arch, embedding_features=4, features=5, **settings)
        windows, whole = build(config, 20, 3, WINDOW), build(config, 20, 3)
        variables = jax.jit(whole.init)(jax.random.key(0), jnp.ones((1, 8), jnp.int32))
        return windows, whole, jax.tree.map(lambda leaf: 3 * leaf, variables)

    @pytest.mark.parametrize(
        ("arch", "settings"),
        [
            ("lstm", {}),
            ("reversed_lstm", {"layers": 2}),
            ("bilstm", {"pooling": "max_mean", "remat_steps": 2}),
            ("conv_lstm", {"pooling": "mean"}),
        ],
    )
    def test_logits_are_the_mean_of_those_of_each_window(
        self, arch: str, settings: dict[str, Any]
    ) -> None:
        windows, whole, variables = self.models(arch, **settings)
        found = jax.jit(windows.apply)(variables, self.tokens, self.lengths)
        ask = jax.jit(whole.apply)
        for row, length, logits in zip(self.tokens, self.lengths.tolist(), found, strict=True):
            starts = [start for start in (0, 3, 6, 9, 12) if start == 0 or start + 3 < length]
            pieces = [row[start : min(start + 6, length)] for start in starts]
            padded = jnp.stack([jnp.pad(piece, (0, 6 - len(piece))) for piece in pieces])
            each = ask(variables, padded, jnp.array([len(piece) for piece in pieces]))
            np.testing.assert_allclose(logits, each.mean(axis=0), atol=1e-5)
        assert np.ptp(found[:, 0]) > 0.01  # They depend on the text.

    def test_what_fits_in_one_window_has_the_same_bits(self) -> None:
        windows, whole, variables = self.models("lstm_recurrent_dropout", word_dropout=0.2)
        tokens, lengths = self.tokens[:, :6], jnp.minimum(self.lengths, 6)
        call: Any = {"deterministic": False, "rngs": {"dropout": jax.random.key(1)}}
        of_windows, of_whole = (
            jax.value_and_grad(lambda v, m=m: m.apply(v, tokens, lengths, **call).sum())(variables)
            for m in (windows, whole)
        )
        jax.tree.map(np.testing.assert_array_equal, of_windows, of_whole)

    @pytest.mark.parametrize("arch", ["lstm_recurrent_dropout", "conv_lstm_dropout"])
    def test_neither_padding_nor_the_batch_changes_anything(self, arch: str) -> None:
        """Nor the masks of dropout, which are those of the example's number."""
        windows, _, variables = self.models(arch, word_dropout=0.2, wide_ngrams=2, wide_buckets=30)
        order = np.array([2, 6, 0, 4, 1, 5, 3])
        garbage = jnp.pad(self.tokens, ((0, 0), (0, 9)), constant_values=7)[order]

        @jax.jit
        def measured(variables: Any, tokens: Any, lengths: Any, ids: Any) -> Any:
            def loss(params: Any) -> Any:
                logits = windows.apply(
                    variables | {"params": params},
                    tokens,
                    lengths,
                    example_ids=ids,
                    deterministic=False,
                    rngs={"dropout": jax.random.key(1)},
                )
                return jnp.sum(logits**2), logits

            return jax.grad(loss, has_aux=True)(variables["params"])

        ids = jnp.arange(20, 27)
        grads, logits = measured(variables, self.tokens, self.lengths, ids)
        padded = measured(variables, garbage, self.lengths[order], ids[order])
        assert_close(padded, (grads, logits[order]), 1e-5)

    def test_the_head_of_ngrams_reads_the_whole_text(self) -> None:
        windows, whole, variables = self.models("lstm", wide_ngrams=2, wide_buckets=30)
        hashes = np.asarray(hash_ngrams(self.tokens, 1, 2**31)).ravel()
        owners = np.full(30, -1, np.int32)
        owners[hashes % 30] = hashes
        counted = {"owners": owners, "log_ratios": jnp.ones((30, 3))}
        params = variables["params"]
        params["wide"]["weights"] += 1
        variables = {"params": params, "constants": {"wide": counted}}
        of_windows, of_whole = (
            jax.jit(partial(model.apply, method="heads"))(variables, self.tokens, self.lengths).each
            for model in (windows, whole)
        )
        np.testing.assert_array_equal(of_windows[1], of_whole[1])
        assert np.ptp(of_whole[1][:, 0]) > 0.1
        assert not np.allclose(of_windows[0], of_whole[0])

    def test_bfloat16_computes_near_float32(self) -> None:
        in_float32, _, variables = self.models("bilstm")
        in_bfloat16, *_ = self.models("bilstm", precision="bfloat16")
        rough, exact = (
            jax.jit(model.apply)(variables, self.tokens, self.lengths)
            for model in (in_bfloat16, in_float32)
        )
        assert rough.dtype == jnp.float32
        np.testing.assert_allclose(rough, exact, atol=0.05)
