"""The layers and the classifier in NNX, against those in linen and flax's own in NNX."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx
from numerics import assert_close
from small_lstm import BATCH, FEATURES, IN_FEATURES, LENGTHS, TIME, cell_params, inputs

from flax_imdb import layers, models
from flax_imdb.nnx import LSTM, Bidirectional, Classifier, Constant, LSTMCell

VOCABULARY = 11
TOKENS = jax.random.randint(jax.random.key(1), (BATCH, TIME), 1, VOCABULARY)
SMALL = partial(models.ModelConfig, embedding_features=IN_FEATURES, features=FEATURES)
KEY = jax.random.key(7)
IDS = jnp.array([40, 10, 30, 20])


def lstm(**options: Any) -> LSTM:
    return LSTM(IN_FEATURES, FEATURES, rngs=nnx.Rngs(0), **options)


def assert_equal(ours: Any, theirs: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


PAIRS = {
    "lstm": (lstm, layers.LSTM(FEATURES)),
    "last output": (
        lambda: lstm(return_sequences=False),
        layers.LSTM(FEATURES, return_sequences=False),
    ),
    "bidirectional": (
        lambda: Bidirectional(IN_FEATURES, FEATURES, merge="sum", rngs=nnx.Rngs(0)),
        layers.Bidirectional(layers.LSTM(FEATURES), merge="sum"),
    ),
}


class TestAgainstLinen:
    @pytest.mark.parametrize("name", PAIRS)
    def test_parameters_outputs_and_gradients_are_those_of_linen(self, name: str) -> None:
        create, linen = PAIRS[name]
        layer = create()
        variables = linen.init(nnx.Rngs(0).params(), inputs())
        assert_equal(layer.variables()["params"], variables["params"])

        def loss(call: Any) -> Any:
            carry, outputs = call(inputs(), seq_lengths=LENGTHS, return_carry=True)
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((carry, outputs)))

        value, gradients = nnx.value_and_grad(loss)(layer)
        expected = jax.value_and_grad(lambda of: loss(partial(linen.apply, of)))(variables)
        assert_equal((value, {"params": nnx.to_pure_dict(gradients)}), expected)

    @pytest.mark.parametrize(
        "call",
        [
            {"reverse": True},
            {"reverse": True, "keep_order": True},
            {"time_major": True},
            {"initial_carry": tuple(jnp.ones((2, BATCH, FEATURES)))},
            {"seq_lengths": [9, 1, 0, 6], "reverse": True, "return_carry": True},
        ],
        ids=lambda call: "-".join(call),
    )
    def test_a_call_and_the_attributes_take_what_those_of_linen_do(self, call: Any) -> None:
        linen = layers.LSTM(FEATURES)
        x = inputs().swapaxes(0, 1) if "time_major" in call else inputs()
        expected = linen.apply(lstm().variables(), x, **call)
        assert_equal(lstm()(x, **call), expected)
        attributes = {name: call[name] for name in call if hasattr(linen, name)}
        rest = {name: call[name] for name in call if name not in attributes}
        assert_equal(lstm(**attributes)(x, **rest), expected)

    def test_variables_go_both_ways(self) -> None:
        layer = lstm()
        layer.set_variables({"params": {"cell": cell_params()}})
        assert_equal(layer.cell.bias[...], cell_params()["bias"])
        outputs = layer.linen.apply(layer.variables(), inputs())
        assert_equal(layer(inputs()), outputs)

    def test_variables_that_do_not_fit_are_refused_and_nothing_is_changed(self) -> None:
        layer = lstm()
        before = layer.variables()
        params = cell_params()
        for wrong, message in (
            ({"params": {"cell": params | {"bias": jnp.ones(3)}}}, r"bias has shape \(3,\): \(20,"),
            ({"params": {"cell": {"bias": params["bias"]}}}, "params/cell/kernel is missing"),
            ({"params": {"forward": {"cell": params}}}, "params/cell/bias is missing"),
            ({"params": {"cell": params | {"one": 1}}}, "LSTM has no params/cell/one"),
            ({"cell": params}, "LSTM has no cell/bias"),
        ):
            with pytest.raises(ValueError, match=message):
                layer.set_variables(wrong)
        assert_equal(layer.variables(), before)


def in_flax(params: dict[str, jax.Array]) -> nnx.RNN:
    """Flax's own layer with these parameters."""
    cell = nnx.OptimizedLSTMCell(IN_FEATURES, FEATURES, rngs=nnx.Rngs(0))
    cell.dense_i.kernel[...] = params["kernel"]
    cell.dense_h.kernel[...] = params["recurrent_kernel"]
    cell.dense_h.bias[...] = params["bias"]
    return nnx.RNN(cell)


class TestAgainstFlax:
    @pytest.mark.parametrize(
        "call",
        [{}, {"reverse": True}, {"reverse": True, "keep_order": True}],
        ids=lambda call: "-".join(call) or "forward",
    )
    def test_outputs_and_carries_are_those_of_flax(self, call: Any) -> None:
        layer, cell = lstm(), LSTMCell(IN_FEATURES, FEATURES, rngs=nnx.Rngs(0))
        layer.set_variables({"params": {"cell": cell_params()}})
        cell.set_variables({"params": cell_params()})
        x, lengths = inputs()[:2], LENGTHS[:2]
        valid = (jnp.arange(TIME) < lengths[:, None])[..., None]
        call |= {"seq_lengths": lengths, "return_carry": True}
        carry, outputs = in_flax(cell_params())(x, **call)
        assert_close(layer(x, **call), (carry, jnp.where(valid, outputs, 0)))
        ours, of_cell = nnx.RNN(cell)(x, **call)
        assert_close((ours, jnp.where(valid, of_cell, 0)), (carry, jnp.where(valid, outputs, 0)))

    def test_bidirectional_gives_what_flaxs_gives_of_two_layers(self) -> None:
        ours = Bidirectional(IN_FEATURES, FEATURES, rngs=nnx.Rngs(0))
        forward, backward = lstm(), lstm()
        for layer, name in ((forward, "forward"), (backward, "backward")):
            layer.set_variables({"params": ours.variables()["params"][name]})
        theirs = nnx.Bidirectional(forward, backward)
        call = {"seq_lengths": LENGTHS, "return_carry": True}
        assert_close(ours(inputs(), **call), theirs(inputs(), **call))


class TestDropout:
    @pytest.mark.parametrize("bidirectional", [False, True])
    def test_of_the_same_key_and_ids_the_masks_are_those_of_linen(
        self, bidirectional: bool
    ) -> None:
        rates = {"dropout": 0.3, "recurrent_dropout": 0.4}
        create = Bidirectional if bidirectional else LSTM
        layer = create(IN_FEATURES, FEATURES, rngs=nnx.Rngs(0), **rates)
        linen: Any = layers.LSTM(FEATURES, **rates)
        if bidirectional:
            linen = layers.Bidirectional(linen)
        expected = linen.apply(
            layer.variables(),
            inputs(),
            seq_lengths=LENGTHS,
            example_ids=IDS,
            deterministic=False,
            rngs={"dropout": KEY},
        )
        call = {"seq_lengths": LENGTHS, "example_ids": IDS}
        assert_equal(layer(inputs(), rngs=KEY, **call), expected)
        assert bool((layer(inputs(), rngs=KEY, **call) != layer(inputs(), **call)).any())

    def test_the_mode_decides_and_the_call_overrides_it(self) -> None:
        layer = lstm(dropout=0.5)
        plain = lstm()(inputs())
        assert bool((layer(inputs()) != plain).any())
        assert_equal(layer(inputs(), deterministic=True), plain)
        assert_equal(nnx.view(layer, deterministic=True)(inputs()), plain)
        layer.eval()
        assert_equal(layer(inputs()), plain)
        dropped = layer(inputs(), deterministic=False, rngs=KEY)
        layer.train()
        assert_equal(layer(inputs(), rngs=KEY), dropped)

    def test_keys_come_from_the_stream_dropout(self) -> None:
        first, second = (
            LSTM(IN_FEATURES, FEATURES, dropout=0.5, rngs=nnx.Rngs(params=0, dropout=1))
            for _ in range(2)
        )
        outputs = first(inputs())
        assert_equal(outputs, second(inputs()))
        assert bool((outputs != first(inputs())).any())
        nnx.reseed(first, dropout=5)
        nnx.reseed(second, dropout=5)
        assert_equal(first(inputs()), second(inputs()))
        given = [first(inputs(), rngs=nnx.Rngs(dropout=3)) for _ in range(2)]
        assert_equal(*given)

    def test_without_dropout_there_is_no_stream(self) -> None:
        layer = LSTM(IN_FEATURES, FEATURES, rngs=nnx.Rngs(params=0))
        assert not nnx.state(layer, nnx.RngState)
        classifier = Classifier(SMALL(), VOCABULARY, rngs=nnx.Rngs(params=0))
        assert not nnx.state(classifier, nnx.RngState)
        with pytest.raises(AttributeError, match="No RngStream named 'dropout'"):
            LSTM(IN_FEATURES, FEATURES, dropout=0.5, rngs=nnx.Rngs(params=0))

    def test_the_stream_of_carries_in_flaxs_bidirectional_draws_no_masks(self) -> None:
        def outputs(seed: int) -> jax.Array:
            rngs = nnx.Rngs(params=0, dropout=seed)
            of_two = (LSTM(IN_FEATURES, FEATURES, dropout=0.5, rngs=rngs) for _ in range(2))
            return nnx.Bidirectional(*of_two)(inputs())

        assert_equal(outputs(1), outputs(1))
        assert bool((outputs(1) != outputs(2)).any())

    def test_in_flaxs_rnn_a_cell_can_have_the_same_masks_at_every_step(self) -> None:
        """Without recurrence and memory, and with equal inputs, the outputs are then equal, too."""
        cell = LSTMCell(
            IN_FEATURES,
            FEATURES,
            dropout=0.5,
            recurrent_kernel_init=nn.initializers.zeros,
            bias_init=lambda key, shape, dtype: -100 * layers.unit_forget_bias(key, shape, dtype),
            rngs=nnx.Rngs(0),
        )
        x = jnp.ones((BATCH, TIME, IN_FEATURES))
        same = nnx.RNN(cell, broadcast_rngs="dropout")(x)
        assert_equal(same, jnp.broadcast_to(same[:, :1], same.shape))
        assert bool((jnp.ptp(nnx.RNN(cell)(x), axis=1) > 0).any())


def sum_of_squares(layer: Any, x: Any) -> Any:
    return jnp.sum(layer(x, seq_lengths=LENGTHS) ** 2)


class TestTransforms:
    def test_jit_draws_what_it_draws_without(self) -> None:
        layer, other = lstm(dropout=0.5), lstm(dropout=0.5)
        for _ in range(2):
            assert_close(nnx.jit(sum_of_squares)(layer, inputs()), sum_of_squares(other, inputs()))

    def test_a_layer_can_be_closed_over_if_nothing_is_drawn(self) -> None:
        dropping = lstm(dropout=0.5)
        dropping.eval()
        for layer in (lstm(), dropping):
            outputs = jax.jit(lambda x, layer=layer: layer(x))(inputs())
            assert_close(outputs, layer(inputs()))
            each = jax.vmap(lambda x, layer=layer: layer(x[None])[0])(inputs())
            assert_close(each, layer(inputs()))

    def test_vmap_makes_and_runs_an_ensemble(self) -> None:
        @nnx.split_rngs(splits=2)
        @nnx.vmap
        def create(rngs: nnx.Rngs) -> LSTM:
            return LSTM(IN_FEATURES, FEATURES, dropout=0.5, rngs=rngs)

        ensemble = create(nnx.Rngs(0))
        run = nnx.vmap(lambda layer, x: layer(x), in_axes=(0, None))
        assert bool((run(ensemble, inputs())[0] != run(ensemble, inputs())[1]).any())
        ensemble.eval()
        member = lstm()
        for number, outputs in enumerate(run(ensemble, inputs())):
            of_member = jax.tree.map(lambda leaf, n=number: leaf[n], ensemble.variables())
            member.set_variables(of_member)
            assert_close(outputs, member(inputs()))

    def test_scan_runs_a_stack_of_layers(self) -> None:
        @nnx.split_rngs(splits=3)
        @nnx.vmap
        def create(rngs: nnx.Rngs) -> LSTM:
            return LSTM(FEATURES, FEATURES, recurrent_dropout=0.5, rngs=rngs)

        stack = create(nnx.Rngs(0))

        @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
        def run(layer: LSTM, x: Any) -> Any:
            return layer(x, seq_lengths=LENGTHS)

        x = expected = jnp.ones((BATCH, TIME, FEATURES))
        assert bool((run(stack, x) != run(stack, x)).any())
        stack.eval()
        for number in range(3):
            of_layer = jax.tree.map(lambda leaf, n=number: leaf[n], stack.variables())
            linen = layers.LSTM(FEATURES)
            expected = linen.apply(of_layer, expected, seq_lengths=LENGTHS)
        assert_close(run(stack, x), expected)

    def test_split_and_merge_give_the_same_layer(self) -> None:
        layer = lstm(dropout=0.5)
        graph, params, rest = nnx.split(layer, nnx.Param, ...)
        assert {path[0] for path, _ in nnx.to_flat_state(rest)} == {"rngs"}

        @jax.jit
        def gradient(params: Any) -> Any:
            def loss(params: Any) -> Any:
                return sum_of_squares(nnx.merge(graph, params, rest, copy=True), inputs())

            return jax.grad(loss)(params)

        assert_close(
            nnx.to_pure_dict(gradient(params)),
            nnx.to_pure_dict(nnx.grad(sum_of_squares)(nnx.clone(layer), inputs())),
        )


STRONG = SMALL(
    ngrams=2, ngram_buckets=13, wide_ngrams=2, wide_buckets=64, pooling="max_mean", dropout=0.3
)


def counted(variables: Any) -> Any:
    """Variables of a classifier whose wide head counts some n-grams."""
    buckets = jnp.arange(64, dtype=jnp.int32)
    hashes = layers.hash_ngrams(TOKENS[:, :5], 2, 2**31).ravel()
    wide = variables["constants"]["wide"] | {"owners": buckets.at[hashes % 64].set(hashes)}
    wide["log_ratios"] = jnp.ones_like(wide["log_ratios"])
    params = jax.tree.map(lambda leaf: leaf + 0.1, variables["params"])
    return {"params": params, "constants": {"wide": wide}}


class TestClassifier:
    @pytest.mark.parametrize("arch", models.ARCHITECTURES)
    def test_is_that_of_linen(self, arch: str) -> None:
        classifier = Classifier(SMALL(arch), VOCABULARY, 3, rngs=nnx.Rngs(0))
        linen = models.build(SMALL(arch), VOCABULARY, 3)
        variables = linen.init(nnx.Rngs(0).params(), TOKENS)
        assert_equal(classifier.variables()["params"], variables["params"])
        call = {"example_ids": IDS, "deterministic": False}
        expected = linen.apply(variables, TOKENS, LENGTHS, rngs={"dropout": KEY}, **call)
        assert_equal(classifier(TOKENS, LENGTHS, example_ids=IDS, rngs=KEY), expected)

    def test_reads_long_texts_in_windows(self) -> None:
        window = layers.Window(3, 2)
        classifier = Classifier(SMALL(), VOCABULARY, window=window, rngs=nnx.Rngs(0))
        linen = models.build(SMALL(), VOCABULARY, window=window)
        expected = linen.apply(classifier.variables(), TOKENS, LENGTHS)
        assert_equal(classifier(TOKENS, LENGTHS), expected)
        whole = Classifier(SMALL(), VOCABULARY, rngs=nnx.Rngs(0))
        assert not np.allclose(whole(TOKENS, LENGTHS), expected, atol=1e-6)

    def test_takes_what_was_trained(self) -> None:
        linen = models.build(STRONG, VOCABULARY)
        trained = counted(linen.init(KEY, TOKENS))
        classifier = Classifier(STRONG, VOCABULARY, rngs=nnx.Rngs(0))
        classifier.set_variables(trained)
        classifier.eval()
        expected = linen.apply(trained, TOKENS, LENGTHS, method="heads")
        assert_equal(classifier.heads(TOKENS, LENGTHS), expected)
        assert_equal(classifier(TOKENS, LENGTHS), expected.mean)
        assert bool((expected.each[0] != expected.each[1]).any())
        with pytest.raises(ValueError, match="constants/wide/log_ratios is missing"):
            classifier.set_variables({"params": trained["params"]})

    def test_what_is_not_trained_is_no_parameter(self) -> None:
        classifier = Classifier(STRONG, VOCABULARY, rngs=nnx.Rngs(0))
        classifier.set_variables(counted(classifier.variables()))
        before = classifier.variables()
        optimizer = nnx.Optimizer(classifier, optax.adam(0.1), wrt=nnx.Param)

        @nnx.jit
        def step(classifier: Classifier, optimizer: nnx.Optimizer) -> None:
            gradients = nnx.grad(lambda of: jnp.sum(of(TOKENS, LENGTHS) ** 2))(classifier)
            optimizer.update(classifier, gradients)

        step(classifier, optimizer)
        after = classifier.variables()
        assert_equal(after["constants"], before["constants"])
        changed = jax.tree.map(
            lambda new, old: bool((new != old).any()), after["params"], before["params"]
        )
        assert all(jax.tree.leaves(changed))

    def test_is_checkpointed_with_orbax(self, tmp_path: Path) -> None:
        import orbax.checkpoint as ocp

        classifier = Classifier(STRONG, VOCABULARY, rngs=nnx.Rngs(0))
        classifier.set_variables(counted(classifier.variables()))
        classifier(TOKENS)  # The state of the stream is saved, too.
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(tmp_path / "saved", nnx.state(classifier))
            checkpointer.wait_until_finished()
            abstract = nnx.eval_shape(lambda: Classifier(STRONG, VOCABULARY, rngs=nnx.Rngs(1)))
            graph, shapes = nnx.split(abstract)
            restored = nnx.merge(graph, checkpointer.restore(tmp_path / "saved", shapes))
        kinds = {type(leaf) for _, leaf in nnx.to_flat_state(nnx.state(restored))}
        assert kinds == {nnx.Param, Constant, nnx.RngKey, nnx.RngCount}
        assert_equal(restored(TOKENS, LENGTHS), classifier(TOKENS, LENGTHS))


@pytest.mark.parametrize(
    "module",
    [
        layers.LSTM(FEATURES),
        layers.RNN(nn.GRUCell(FEATURES)),
        layers.Bidirectional(layers.LSTM(FEATURES)),
        layers.Conv(FEATURES, 3),
        layers.MaxPool(2),
        layers.Dropout(0.5),
        layers.LSTMCell(FEATURES),
        models.Classifier(9, 2, encoder=(layers.LSTM(FEATURES, return_sequences=False),)),
    ],
    ids=lambda module: type(module).__name__,
)
def test_bridged_a_module_gives_what_it_gives_in_linen(module: Any) -> None:
    args: tuple[Any, ...] = (inputs(),)
    if isinstance(module, layers.LSTMCell):
        args = (module.initialize_carry(jax.random.key(0), (BATCH, IN_FEATURES)), inputs()[:, 0])
    elif isinstance(module, models.Classifier):
        args = (jnp.ones((BATCH, TIME), int), LENGTHS)
    bridged = nnx.bridge.ToNNX(module, rngs=nnx.Rngs(0)).lazy_init(*args)
    params = nnx.to_pure_dict(nnx.state(bridged, nnx.Param))
    shapes = jax.eval_shape(module.init, jax.random.key(0), *args).get("params", {})
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes)
    assert_equal(bridged(*args), module.apply({"params": params}, *args))


def test_in_linen_a_module_gives_what_it_gives_in_nnx() -> None:
    class Model(nnx.Module):
        def __init__(self, *, rngs: nnx.Rngs) -> None:
            self.classifier = Classifier(SMALL("bilstm"), VOCABULARY, rngs=rngs)

        def __call__(self, tokens: Any) -> Any:
            return self.classifier(tokens, LENGTHS, deterministic=True)

    class Outer(nn.Module):
        @nn.compact
        def __call__(self, tokens: Any) -> Any:
            return nnx.bridge.to_linen(Model, name="model")(tokens)

    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    outputs, variables = Outer().init_with_output(keys, TOKENS)
    params = variables["params"]["model"]["classifier"]
    linen = models.build(SMALL("bilstm"), VOCABULARY)
    assert_equal(outputs, linen.apply({"params": params}, TOKENS, LENGTHS))
