import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import keras_peers
import numpy as np
import pytest
from flax import linen as nn
from keras import layers
from numerics import assert_close
from safetensors.flax import save_file
from untrained import ARCHITECTURES, IDS, MAX_LENGTH, WORDS, question, untrained

import flax_imdb
from flax_imdb.cli import main
from flax_imdb.errors import InputError
from flax_imdb.export.check import answers_of
from flax_imdb.export.keras import as_keras
from flax_imdb.export.network import LSTMLayer, network
from flax_imdb.export.torch import state_dict, write
from flax_imdb.interchange import Imported, from_flax, from_keras, from_torch
from flax_imdb.predict import TrainedModel

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    *((arch, {}) for arch in ARCHITECTURES),
    ("bilstm", {"layers": 2}),
    ("reversed_lstm", {"layers": 2, "pooling": "max_mean"}),
    ("conv_lstm", {"pooling": "mean", "classes": 3}),
]


def assert_same(made: Imported, model: TrainedModel) -> None:
    """What came back is what went out."""
    ours, back = model.config.model, made.config
    for name in ("arch", "embedding_features", "features", "layers", "pooling"):
        assert getattr(back, name) == getattr(ours, name)
    assert made.classes == len(model.info.classes)
    assert_close(made.params, jax.tree.map(np.asarray, model.state.params), 1e-6)


def probabilities(made: Imported, tokens: Any, lengths: Any = None) -> np.ndarray:
    """Of one logit, those of the second class."""
    logits = made.module().apply({"params": made.params}, jnp.asarray(tokens), lengths)
    return np.asarray(nn.sigmoid(logits) if made.classes == 2 else nn.softmax(logits))


class TestThereAndBack:
    @pytest.mark.parametrize(("arch", "settings"), SETTINGS)
    def test_keras(self, arch: str, settings: dict[str, Any]) -> None:
        model = untrained(arch, **settings)
        made = from_keras(as_keras(network(model), model.config.data))
        assert_same(made, model)
        assert (made.padding, made.max_length) == ("masked", None)

    def test_keras_with_computed_padding(self) -> None:
        model = untrained("conv_lstm", padding="keras")
        made = from_keras(as_keras(network(model), model.config.data))
        assert_same(made, model)
        assert (made.padding, made.max_length) == ("keras", model.config.data.max_length)

    @pytest.mark.parametrize(("arch", "settings"), SETTINGS)
    def test_pytorch(self, arch: str, settings: dict[str, Any], tmp_path: Path) -> None:
        model = untrained(arch, **settings)
        write(model, tmp_path / "model.safetensors")
        assert_same(from_torch(tmp_path / "model.safetensors"), model)

    @pytest.mark.parametrize(("arch", "settings"), SETTINGS)
    def test_flax(self, arch: str, settings: dict[str, Any]) -> None:
        model = untrained(arch, **settings)
        params = flax_params(model)
        made = from_flax(params, arch=arch, pooling=model.config.model.pooling)
        assert_same(made, model)


def flax_params(model: TrainedModel) -> dict[str, Any]:
    """The parameters of a model as those of Flax's own layers."""
    net = network(model)
    params: dict[str, Any] = {
        "Embed_0": {"embedding": net.embedding},
        "Dense_0": {"kernel": net.kernel, "bias": net.bias},
    }
    cells = [
        weights
        for layer in net.layers
        if isinstance(layer, LSTMLayer)
        for weights in (layer.forward, layer.backward)
        if weights is not None
    ]
    for number, weights in enumerate(cells):
        split = [np.split(array, 4, axis=-1) for array in weights]
        params[f"OptimizedLSTMCell_{number}"] = {
            **{f"i{gate}": {"kernel": split[0][i]} for i, gate in enumerate("ifgo")},
            **{
                f"h{gate}": {"kernel": split[1][i], "bias": split[2][i]}
                for i, gate in enumerate("ifgo")
            },
        }
    if "conv" in model.config.model.arch:
        params["Conv_0"] = model.state.params["encoder_0"]["conv"]
    return params


class TestFlax:
    @pytest.mark.parametrize("cell", [nn.OptimizedLSTMCell, nn.LSTMCell])
    def test_a_model_of_flax_answers_the_same_here(self, cell: Any) -> None:
        class Peer(nn.Module):
            @nn.compact
            def __call__(self, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
                x = nn.Embed(IDS, 3)(tokens)
                x = nn.RNN(cell(4))(x, seq_lengths=lengths)
                carry, _ = nn.RNN(cell(4), return_carry=True)(x, seq_lengths=lengths)
                return nn.Dense(3)(carry[1])

        tokens, lengths = question()
        rows = lengths > 0  # Flax's RNN gives something else for a row without any step.
        variables = Peer().init(jax.random.key(0), tokens, lengths)
        made = from_flax(variables)
        logits = made.module().apply({"params": made.params}, jnp.asarray(tokens), lengths)
        assert_close(logits[rows], Peer().apply(variables, tokens, lengths)[rows])

    def test_both_directions_are_told_by_their_names(self) -> None:
        class Peer(nn.Module):
            def setup(self) -> None:
                self.embed = nn.Embed(IDS, 3)
                self.both = nn.Bidirectional(
                    nn.RNN(nn.OptimizedLSTMCell(4)), nn.RNN(nn.OptimizedLSTMCell(4))
                )
                self.head = nn.Dense(1)

            def __call__(self, tokens: jax.Array) -> jax.Array:
                outputs = self.both(self.embed(tokens))
                return self.head(jnp.hstack([outputs[:, -1, :4], outputs[:, 0, 4:]]))

        tokens = jnp.array([[1, 4, 2, 5], [1, 3, 8, 7]])
        variables = Peer().init(jax.random.key(0), tokens)
        made = from_flax(variables)
        assert made.config.arch == "bilstm"
        logits = made.module().apply({"params": made.params}, tokens)
        assert_close(logits, Peer().apply(variables, tokens))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda p: p.pop("Dense_0"), "one Dense is needed, and there is none"),
            (lambda p: p.update(Dense_1=p["Dense_0"]), "there is Dense_0, Dense_1"),
            (lambda p: p.update(LayerNorm_0={"scale": np.ones(3)}), "LayerNorm_0/scale is not of"),
            (
                lambda p: p["OptimizedLSTMCell_0"].update(ig={"kernel": np.ones((3, 5))}),
                r"OptimizedLSTMCell_0/ig/kernel has the shape \(3, 5\): \(3, 4\) is needed",
            ),
            (
                lambda p: p["Dense_0"].update(kernel=np.ones((8, 1))),
                r"Dense_0/kernel has the shape \(8, 1\): \(4, any\) is needed",
            ),
            (
                lambda p: p.update(rnn={"cell": p["OptimizedLSTMCell_0"]}),
                "the names do not tell the order of OptimizedLSTMCell_0, rnn/cell: number them",
            ),
        ],
    )
    def test_what_does_not_fit_is_refused(self, change: Callable[[Any], Any], message: str) -> None:
        params = flax_params(untrained())
        change(params)
        with pytest.raises(InputError, match=message):
            from_flax(params)


class TestPyTorch:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda s: s.pop("lstm.bias_hh_l0"), "lstm.bias_hh_l0 is missing; there is head.bias"),
            (lambda s: s.update({"norm.weight": np.ones(3)}), "norm.weight is not of a layer"),
            (
                lambda s: s.update({"lstm.weight_ih_l0": np.ones((16, 5))}),
                r"lstm.weight_ih_l0 has the shape \(16, 5\): \(16, 3\) is needed",
            ),
            (
                lambda s: s.update({"lstm.weight_hh_l0": np.ones((12, 4))}),
                r"lstm.weight_hh_l0 has the shape \(12, 4\): \(4 \* units, units\) is needed",
            ),
            (lambda s: s.update({"head.bias": [1j]}), "head.bias is not an array of real numbers"),
            (
                lambda s: s.update({"head.bias": [np.nan]}),
                "head.bias has a number that is not finite",
            ),
            (lambda s: s.update({"head.bias": ["a"]}), "head.bias is not an array of real numbers"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, change: Callable[[Any], Any], message: str) -> None:
        state = state_dict(network(untrained()))
        change(state)
        with pytest.raises(InputError, match=message):
            from_torch(state)

    def test_an_architecture_with_other_layers_is_refused(self) -> None:
        state = state_dict(network(untrained()))
        with pytest.raises(InputError, match="`arch` bilstm does not fit: the layers are those of"):
            from_torch(state, arch="bilstm")

    def test_another_convolution_is_refused(self) -> None:
        state = state_dict(network(untrained("conv_lstm")))
        state["conv.weight"] = np.ones((32, 3, 5), np.float32)
        with pytest.raises(InputError, match="layer conv has 32 filters of width 5: 32 of width 3"):
            from_torch(state)

    def test_bfloat16_is_read(self, tmp_path: Path) -> None:
        state = state_dict(network(untrained()))
        rounded = {name: jnp.asarray(array, jnp.bfloat16) for name, array in state.items()}
        save_file(rounded, tmp_path / "model.safetensors")
        made = from_torch(tmp_path / "model.safetensors")
        assert_close(made.params["head"]["kernel"], state["head.weight"].T, 0.01)
        assert made.params["head"]["kernel"].dtype == np.float32

    @pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x80\x02"])
    def test_a_pickle_is_refused_unread(self, start: bytes, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors").write_bytes(start + bytes(100))
        with pytest.raises(InputError, match=r"is a pickle, which can run any code"):
            from_torch(tmp_path / "model.safetensors")

    def test_another_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors").write_bytes(b"text")
        with pytest.raises(InputError, match="is not a file of safetensors"):
            from_torch(tmp_path / "model.safetensors")
        with pytest.raises(InputError, match="cannot be read: No such file"):
            from_torch(tmp_path / "none.safetensors")


def sequential(*encoder: Any, units: int = 1, activation: str = "sigmoid", **embedding: Any) -> Any:
    """A model of Keras, initialized by it."""
    head = layers.Dense(units, activation=activation)
    model = keras.Sequential([layers.Embedding(IDS, 3, **embedding), *encoder, head])
    model.build((None, None))
    return model


class TestKeras:
    @pytest.mark.parametrize("arch", flax_imdb.models.ARCHITECTURES)
    def test_the_tutorials_models_answer_the_same_here(self, arch: str) -> None:
        """Its padding is computed. These end with a logit."""
        peer = keras_peers.build(arch, mask=False)
        made = from_keras(peer)
        assert made.padding == "keras"
        tokens = np.random.default_rng(0).integers(0, keras_peers.VOCAB_SIZE, (4, 20))
        tokens[:2, :9] = 0
        theirs = nn.sigmoid(peer(tokens).__array__())
        np.testing.assert_allclose(probabilities(made, tokens), theirs, atol=1e-6)

    def test_a_trained_model_with_masked_padding_answers_the_same_here(self) -> None:
        keras.utils.set_random_seed(0)
        peer = sequential(layers.Bidirectional(layers.LSTM(4)), mask_zero=True)
        peer.compile("adam", "binary_crossentropy")
        tokens, lengths = question(lengths=False)
        peer.fit(tokens, np.arange(len(tokens)) % 2, epochs=5, verbose=0)
        made = from_keras(peer)
        assert (made.config.arch, made.padding) == ("bilstm", "masked")
        theirs = peer.predict(tokens, verbose=0)
        np.testing.assert_allclose(probabilities(made, tokens, lengths), theirs, atol=1e-6)

    @pytest.mark.parametrize(
        ("encoder", "settings"),
        [
            ([layers.Dropout(0.3), layers.LSTM(4), layers.Dropout(0.1)], ("lstm_dropout", 0.3, 0)),
            (
                [layers.LSTM(4, dropout=0.2, recurrent_dropout=0.4)],
                ("lstm_recurrent_dropout", 0.2, 0.4),
            ),
            ([layers.SpatialDropout1D(0.3), layers.LSTM(4)], ("lstm_dropout", 0.3, 0)),
        ],
    )
    def test_rates_of_dropout_are_taken_over(self, encoder: Any, settings: Any) -> None:
        config = from_keras(sequential(*encoder)).config
        assert (config.arch, config.dropout, config.recurrent_dropout) == settings

    def test_two_units_with_softmax_are_one_logit(self) -> None:
        peer = sequential(layers.LSTM(4), units=2, activation="softmax")
        made = from_keras(peer)
        tokens = question("keras").inputs
        theirs = np.asarray(peer(tokens))[:, 1:]
        assert made.classes == 2
        np.testing.assert_allclose(probabilities(made, tokens), theirs, atol=1e-6)

    def test_pooling_is_told_from_the_answers(self) -> None:
        pooled = layers.GlobalMaxPooling1D()
        made = from_keras(sequential(layers.LSTM(4, return_sequences=True), pooled))
        assert made.config.pooling == "max"

    @pytest.mark.parametrize(
        ("encoder", "message"),
        [
            ([layers.GRU(4)], "layer gru.* is a GRU, which no architecture here has"),
            ([layers.LSTM(4, activation="relu")], "layer lstm.* has activation 'relu': 'tanh' is"),
            ([layers.LSTM(4, use_bias=False)], "layer lstm.* has use_bias False: True is needed"),
            (
                [layers.LSTM(4, return_sequences=True), layers.LSTM(5)],
                "layer lstm.* differs from lstm.*: all LSTMs need the same number of units",
            ),
            (
                [layers.Conv1D(8, 3, padding="same", activation="relu"), layers.LSTM(4)],
                "the layers conv1d.*, lstm.* do not fit: convolution and max pooling",
            ),
            (
                [
                    layers.Conv1D(32, 3, padding="same", activation="relu"),
                    layers.MaxPooling1D(2),
                    layers.LSTM(4),
                ],
                "answers otherwise .*: layer max_pooling1d.* leaves out the last step",
            ),
            (
                [layers.Conv1D(32, 3, activation="relu"), layers.LSTM(4)],
                "layer conv1d.* has padding 'valid': 'same' is needed",
            ),
            ([layers.LSTM(4, dtype="mixed_bfloat16")], "layer lstm.* computes in bfloat16"),
            (
                [layers.Bidirectional(layers.LSTM(4), merge_mode="sum")],
                "layer bidirectional.* has merge_mode 'sum': 'concat' is needed",
            ),
            ([layers.GlobalMaxPooling1D()], "there is no layer LSTM"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, encoder: list[Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            from_keras(sequential(*encoder))

    def test_other_activations_are_refused(self) -> None:
        peer = sequential(layers.LSTM(4), units=3)
        with pytest.raises(InputError, match="activation 'sigmoid' of 3 units: linear or softmax"):
            from_keras(peer)

    def test_other_connections_are_refused(self) -> None:
        """A model with known layers alone that computes something else."""
        ids = keras.Input((None,))
        x = layers.Embedding(IDS, 4)(ids)
        x = layers.LSTM(4)(x + layers.LSTM(4, return_sequences=True)(x))
        model = keras.Model(ids, layers.Dense(1, "sigmoid")(x))
        with pytest.raises(InputError, match="answers otherwise than its layers, one after the"):
            from_keras(model)

    def test_a_class_of_the_users_own_is_refused(self) -> None:
        class Own(keras.Sequential):
            pass

        with pytest.raises(InputError, match="and this is a Own"):
            from_keras(Own())
        with pytest.raises(InputError, match="has no parameters yet"):
            from_keras(keras.Sequential([layers.Embedding(9, 3), layers.LSTM(4), layers.Dense(1)]))

    def test_a_file_is_read(self, tmp_path: Path) -> None:
        peer = sequential(layers.LSTM(4))
        peer.save(tmp_path / "model.keras")
        assert_close(from_keras(tmp_path / "model.keras").params, from_keras(peer).params, 1e-6)

    def test_a_file_that_could_run_code_is_refused_unread(self, tmp_path: Path) -> None:
        path = tmp_path / "model.keras"
        sequential(layers.Lambda(lambda x: x, name="any"), layers.LSTM(4)).save(path)
        with pytest.raises(InputError, match="layer any is a Lambda, which can run any code"):
            from_keras(path)
        config = {"module": "os", "class_name": "system", "config": {"name": "sh"}}
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", json.dumps(config))
        with pytest.raises(InputError, match="layer sh is a system, which can run any code"):
            from_keras(path)

    def test_another_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "model.keras").write_bytes(b"\x89HDF")
        with pytest.raises(InputError, match=r"is not a \.keras file"):
            from_keras(tmp_path / "model.keras")
        with pytest.raises(InputError, match=r"a name that ends with \.keras is needed"):
            from_keras(tmp_path / "model.h5")

    def test_a_file_that_asks_for_more_memory_than_it_has_is_refused(self, tmp_path: Path) -> None:
        path, edited = tmp_path / "model.keras", tmp_path / "edited.keras"
        sequential(layers.LSTM(4)).save(path)
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(edited, "w") as copy:
            for name in archive.namelist():
                content = archive.read(name)
                if name == "config.json":
                    content = content.replace(
                        f'"input_dim": {IDS}'.encode(), b'"input_dim": 1000000000000'
                    )
                    assert content != archive.read(name)
                copy.writestr(name, content)
        with pytest.raises(InputError, match="a Embedding has more numbers than the file"):
            from_keras(edited)
        with pytest.raises(InputError, match="cannot be read: No such file"):
            from_keras(tmp_path / "none.keras")


@pytest.fixture(scope="module")
def made() -> Imported:
    return from_torch(state_dict(network(untrained("bilstm"))))


class TestSaved:
    """The result is a run's directory like any other."""

    def save(self, made: Imported, directory: Path, **options: Any) -> None:
        given = {"words": WORDS, "classes": ("no", "yes"), "max_length": 9}
        made.save(directory, **(given | options))

    def test_it_answers_as_it_did(self, made: Imported, tmp_path: Path) -> None:
        self.save(made, tmp_path / "run")
        model = flax_imdb.load(tmp_path / "run")
        tokens, lengths = question()
        np.testing.assert_allclose(
            answers_of(model)(*question())[:, 1:], probabilities(made, tokens, lengths), atol=1e-6
        )
        ids = model.vocabulary.encode(["good", "film"])
        assert ids.tolist() == [1, 3, 6]
        (prediction,) = model.predict(["Good film!"])
        alone = probabilities(made, ids[None])
        np.testing.assert_allclose(prediction.probability, alone[0, 0], atol=1e-6)

    def test_the_commands_know_it(
        self, made: Imported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = str(tmp_path / "run")
        self.save(made, tmp_path / "run")
        assert main(["predict", "--workdir", run, "a good film"]) == 0
        assert main(["explain", "--workdir", run, "a good film"]) == 0
        (tmp_path / "texts.csv").write_text("text,label\ngood,yes\nbad,no\n")
        assert main(["evaluate", "--workdir", run, "--dataset", str(tmp_path / "texts.csv")]) == 0
        assert "Accuracy" in capsys.readouterr().out
        assert main(["evaluate", "--workdir", run]) == 2
        assert capsys.readouterr().err == (
            "error: the model was trained elsewhere, and its texts are not known: give some as a "
            "file, as --dataset\n"
        )
        assert main(["report", "--workdir", run]) == 2
        assert capsys.readouterr().err == (
            f"error: --workdir {run} holds a model that was trained elsewhere: there is no run to "
            "report on\n"
        )

    def test_it_can_be_exported_again(self, made: Imported, tmp_path: Path) -> None:
        self.save(made, tmp_path / "run")
        write(flax_imdb.load(tmp_path / "run"), tmp_path / "model.safetensors")
        assert_close(from_torch(tmp_path / "model.safetensors").params, made.params, 1e-6)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"classes": ["yes"]}, r"classes \['yes'\]: the names of 2 classes are needed"),
            ({"classes": ["yes", "yes"]}, "the names of 2 classes are needed"),
            ({"classes": ["yes", "a\nb"]}, "has a control character in its label"),
            ({"words": [f"w{i}" for i in range(11)]}, "11 are too many for an embedding of 13 ids"),
            ({"words": ["good", "good"]}, "words: 'good' has two ids"),
            ({"words": "good"}, "words: a list of strings is needed"),
            ({"text": "other"}, "`text` other is unknown"),
        ],
    )
    def test_what_does_not_fit_is_refused(
        self, made: Imported, options: dict[str, Any], message: str, tmp_path: Path
    ) -> None:
        with pytest.raises(InputError, match=message):
            self.save(made, tmp_path / "run", **options)
        assert list(tmp_path.iterdir()) == []

    def test_a_run_is_not_overwritten(self, made: Imported, tmp_path: Path) -> None:
        self.save(made, tmp_path / "run")
        with pytest.raises(InputError, match="already holds a run"):
            self.save(made, tmp_path / "run")
        self.save(made, tmp_path / "run", overwrite=True)
        flax_imdb.load(tmp_path / "run")

    def test_a_model_of_so_many_ids_reads_no_other_number(self, tmp_path: Path) -> None:
        model = untrained("lstm", padding="keras")
        made = from_keras(as_keras(network(model), model.config.data))
        with pytest.raises(InputError, match=f"`max_length` 9: the model reads {MAX_LENGTH} ids"):
            self.save(made, tmp_path / "run")
        self.save(made, tmp_path / "run", max_length=None)
        assert flax_imdb.load(tmp_path / "run").config.data.max_length == MAX_LENGTH
