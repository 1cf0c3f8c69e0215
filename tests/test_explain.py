"""Which words made an answer: integrated gradients, against other ways to get the same numbers."""

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import experiment, quiet_train

import flax_imdb
from flax_imdb import cli, models
from flax_imdb.data.tokenizer import START
from flax_imdb.errors import InputError
from flax_imdb.explain import TOLERANCE, Attribution, Explanation, Word, attribute, exact
from flax_imdb.layers import Window, hash_ngrams
from flax_imdb.models import Classifier, ModelConfig
from flax_imdb.models.wide import NGRAM_HASHES
from flax_imdb.predict import TrainedModel
from flax_imdb.training import TrainState, create_state

TOKENS = np.array([START, 5, 7, 5, 9, 0, 0])
LENGTH = 5


def state_of(model: Classifier, scale: float = 1.0) -> TrainState:
    """A state in float64, with the initial parameters times `scale`."""
    state = create_state(model, learning_rate=0.1, seed=0)
    state = state.replace(params=jax.tree.map(lambda leaf: leaf * scale, state.params))
    return exact(state, model)


def small(arch: str, classes: int = 1, scale: float = 1.0, **settings: Any) -> TrainState:
    config = ModelConfig(arch, embedding_features=3, features=4, **settings)
    return state_of(models.build(config, 20, classes), scale)


def attributed(state: TrainState, logits: Sequence[int] = (0,), **settings: Any) -> Attribution:
    return attribute(state, ModelConfig(**settings), TOKENS, LENGTH, logits)


@pytest.fixture(autouse=True)
def double_precision() -> Any:
    with jax.enable_x64(True):
        yield


class TestAttribute:
    def test_of_a_linear_model_each_word_has_its_term(self) -> None:
        state = state_of(Classifier(20, 3, encoder=(), pooling="mean"))
        terms = state.params["embedding"]["embedding"][TOKENS] @ state.params["head"]["kernel"]
        expected = np.where((TOKENS > START), terms[:, 0] / LENGTH, 0)
        np.testing.assert_allclose(attributed(state).weights[0], expected, rtol=1e-9)

    @pytest.mark.parametrize("arch", ["lstm", "bilstm", "conv_lstm"])
    def test_weights_are_the_integral_of_the_slopes(self, arch: str) -> None:
        """By differences of logits where one word is a little louder, at 400 places of the path."""
        state = small(arch, scale=4.0)
        embedded = state.params["embedding"]["embedding"][TOKENS]
        words = (TOKENS > START)[:, None]

        @jax.jit
        def logit(at: Any) -> Any:
            """Of the text whose embedded words are multiplied by `at`, [time]."""
            added = (at[:, None] - 1) * embedded * words
            variables = {"params": state.params, "perturbations": {"embedded": added[None]}}
            return state.apply(variables, jnp.asarray(TOKENS)[None], jnp.array([LENGTH]))[0, 0]

        places = jnp.linspace(0, 1, 400, endpoint=False) + 1 / 800
        step = 1e-5 * jnp.eye(len(TOKENS))
        differences = jax.vmap(
            lambda at: jax.vmap(lambda one: logit(at + one) - logit(at - one))(step) / 2e-5
        )(places[:, None] * jnp.ones(len(TOKENS)))
        expected = np.where(words[:, 0], differences.mean(axis=0), 0)
        found = attributed(state, arch=arch)
        np.testing.assert_allclose(
            found.weights[0], expected, atol=0.01 * np.abs(found.differences[0])
        )
        whole = logit(jnp.ones(len(TOKENS))) - logit(jnp.zeros(len(TOKENS)))
        np.testing.assert_allclose(found.differences[0], whole, rtol=1e-9)

    def test_the_same_word_twice_has_two_weights(self) -> None:
        weights = attributed(small("lstm", scale=4.0), arch="lstm").weights[0]
        assert weights[1] != weights[3]
        assert weights[0] == weights[5] == weights[6] == 0  # No words.

    @pytest.mark.parametrize("scale", [1.0, 10.0, 100.0])
    def test_the_weights_add_up_however_steep_the_path_is(self, scale: float) -> None:
        """With large parameters the LSTM jumps between saturated states."""
        found = attributed(small("bilstm", 3, scale), (2, 0), arch="bilstm")
        assert found.weights.shape == (2, len(TOKENS))
        np.testing.assert_allclose(
            found.weights.sum(axis=1), found.differences, rtol=TOLERANCE, atol=1e-3
        )

    def test_an_ngram_is_shared_by_its_words(self) -> None:
        """It adds to the logit or does not, so all its words have had an equal part in it."""
        settings: dict[str, Any] = {"wide_ngrams": 2, "wide_weight": 0.75, "wide_buckets": 1000}
        state = small("lstm", **settings)
        read = jnp.asarray(TOKENS)[None, :LENGTH]
        hashes = {n: hash_ngrams(read, n, NGRAM_HASHES)[0] for n in (1, 2)}
        owners = jnp.full(1000, -1, jnp.int32)
        for of_length in hashes.values():
            owners = owners.at[of_length % 1000].set(of_length)
        log_ratios = jax.random.normal(jax.random.key(0), (1000, 1))
        weights = {"weights": jnp.ones((1000, 1)), "bias": jnp.ones(1)}

        def with_ratios(ratios: Any) -> np.ndarray:
            constants = {"wide": {"owners": owners, "log_ratios": ratios}}
            changed = state.replace(params=state.params | {"wide": weights}, constants=constants)
            return attributed(changed, **settings).weights[0]

        # The text has nine: <start>, 5, 7, 9, nothing and <start>, <start> 5, 5 7, 7 5, and 5 9.
        _, one, two, one_again, three = (
            30 * log_ratios[hashes[1] % 1000, 0] / np.sqrt(9) / np.array([1, 2, 1, 2, 1])
        )
        _, *pairs = 30 * log_ratios[hashes[2] % 1000, 0] / np.sqrt(9)
        expected = [
            one + pairs[0] + pairs[1] / 2,  # <start> is no word.
            two + pairs[1] / 2 + pairs[2] / 2,
            one_again + pairs[2] / 2 + pairs[3] / 2,
            three + pairs[3] / 2,
        ]
        found = with_ratios(log_ratios) - with_ratios(jnp.zeros_like(log_ratios))
        np.testing.assert_allclose(found[1:LENGTH], 0.75 * np.array(expected), rtol=1e-5)


@pytest.fixture(scope="module")
def run(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs."""
    workdir = tmp_path_factory.mktemp("explained") / "run"
    quiet_train(experiment(reviews, arch="lstm", epochs=3), workdir)
    return workdir


@pytest.fixture(scope="module")
def model(run: Path) -> TrainedModel:
    return flax_imdb.load(run)


class TestExplain:
    def test_the_word_that_decides_has_the_largest_weight(self, model: TrainedModel) -> None:
        good, bad = model.explain(["the film was a good story", "The film was BAD!"])
        assert max(good.words, key=lambda word: abs(word.weights["positive"])).word == "good"
        assert good.label == "positive"
        worst = min(bad.words, key=lambda word: word.weights["positive"])
        assert (worst.word, worst.start, worst.end) == ("bad", 13, 16)
        assert bad.probabilities == model.predict([bad.text])[0].probabilities

    def test_one_word_is_the_whole_difference(self, model: TrainedModel) -> None:
        (explanation,) = model.explain(["good"])
        (word,) = explanation.words
        assert word.weights == pytest.approx(explanation.differences, rel=TOLERANCE)
        # The log-odds are a logit, and the blank text is near none.
        odds = explanation.probabilities["positive"] / explanation.probabilities["negative"]
        assert explanation.differences["positive"] == pytest.approx(np.log(odds), abs=1.0)

    def test_each_occurrence_is_a_word_in_reading_order(self, model: TrainedModel) -> None:
        (explanation,) = model.explain(["not good, just good"])
        assert [word.word for word in explanation.words] == ["not", "good", "just", "good"]
        _, good, _, good_again = (word.weights["positive"] for word in explanation.words)
        assert good > 0
        assert good_again > 0
        assert good != good_again

    def test_what_the_model_does_not_read_has_no_weight(self, model: TrainedModel) -> None:
        """It reads the last 10 tokens."""
        (explanation,) = model.explain(["bad " + "film " * 11 + "good"])
        weights = [word.weights["positive"] for word in explanation.words]
        assert weights[:3] == [0, 0, 0]
        assert all(weight != 0 for weight in weights[3:])

    def test_of_the_head_of_a_text_the_rest_has_no_weight(self, model: TrainedModel) -> None:
        """It reads <start> and the first 9 words."""
        data = dataclasses.replace(model.config.data, long="head")
        head = dataclasses.replace(model, config=dataclasses.replace(model.config, data=data))
        (explanation,) = head.explain(["bad " + "film " * 11 + "good"])
        weights = [word.weights["positive"] for word in explanation.words]
        assert all(weight != 0 for weight in weights[:9])
        assert weights[9:] == [0, 0, 0, 0]

    def test_a_word_in_two_windows_has_added_to_both(self) -> None:
        """Without an encoder the vector of a window is the mean of its words."""
        model = Classifier(20, 3, encoder=(), pooling="mean", window=Window(4, 2))
        state = state_of(model)
        terms = state.params["embedding"]["embedding"][TOKENS] @ state.params["head"]["kernel"]
        shares = np.array([0, 1 / 4, 1 / 4 + 1 / 3, 1 / 4 + 1 / 3, 1 / 3, 0, 0]) / 2
        expected = shares * terms[:, 0]
        np.testing.assert_allclose(attributed(state).weights[0], expected, rtol=1e-9)

    @pytest.mark.parametrize(
        ("padding", "precision"), [("masked", "float32"), ("keras", "bfloat16")]
    )
    def test_any_run_can_be_explained(
        self, reviews: Path, tmp_path: Path, padding: str, precision: str
    ) -> None:
        config = experiment(reviews, epochs=1, padding=padding)
        settings = dataclasses.replace(
            config.model, precision=precision, wide_ngrams=2, wide_buckets=64
        )
        quiet_train(dataclasses.replace(config, model=settings), tmp_path)
        (explanation,) = flax_imdb.load(tmp_path).explain(["a good film"])
        total = sum(word.weights["positive"] for word in explanation.words)
        assert total == pytest.approx(explanation.differences["positive"], rel=TOLERANCE, abs=1e-3)

    def test_of_more_classes_those_that_are_asked_for(self, tmp_path: Path) -> None:
        texts = ["a dull film", "a fine film", "a strange film"] * 12
        labels = ["bad", "good", "odd"] * 12
        file = tmp_path / "rows.csv"
        rows = zip(["text", *texts], ["label", *labels], strict=True)
        file.write_text("".join(f"{text},{label}\n" for text, label in rows))
        config = experiment(tmp_path, arch="lstm", epochs=1, dataset=str(file), data_dir=None)
        quiet_train(config, tmp_path / "run")
        model = flax_imdb.load(tmp_path / "run")
        (every,) = model.explain(["a fine film"])
        assert set(every.differences) == {"bad", "good", "odd"}
        (odd,) = model.explain(["a fine film"], classes=["odd"])
        assert odd.differences == {"odd": every.differences["odd"]}
        with pytest.raises(InputError, match="'fine' cannot be explained: one of bad, good, odd"):
            model.explain(["a fine film"], classes=["fine"])


def explanation() -> Explanation:
    words = (
        Word("1", 2, 3, {"x": 0.5}),
        Word("2", 2, 3, {"x": 0.25}),
        Word("b", 6, 7, {"x": -1.0}),
    )
    return Explanation("a ½ & b.", "x", {"x": 0.75, "y": 0.25}, {"x": -0.25}, words)


class TestExplanation:
    def test_segments_are_the_whole_text(self) -> None:
        segments = explanation().segments("x")
        assert segments == [("a ", None), ("½", 0.75), (" & ", None), ("b", -1.0), (".", None)]

    def test_of_two_classes_what_speaks_for_one_speaks_against_the_other(self) -> None:
        assert [piece.weight for piece in explanation().segments("y")] == [
            *(None, -0.75, None, 1.0, None)
        ]

    def test_what_does_not_add_up_is_not_complete(self) -> None:
        assert explanation().complete
        assert not dataclasses.replace(explanation(), differences={"x": -0.24}).complete

    def test_content(self) -> None:
        content = explanation().content()
        assert content["words"][2] == {"word": "b", "start": 6, "end": 7, "weights": {"x": -1.0}}
        assert content["differences"] == {"x": -0.25}
        assert content["label"] == "x"


class TestCommand:
    def test_words_and_weights_are_printed(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["explain", "--workdir", str(run), "a good film", "[bold]bad"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].endswith("\tpositive")
        assert lines[1] == "a good film"
        assert lines[2].startswith("  for positive: good +")
        assert "[bold]bad" in lines

    def test_json_is_a_line_for_each_text(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["explain", "--workdir", str(run), "--json", "good", "bad"]) == 0
        good, bad = map(json.loads, capsys.readouterr().out.splitlines())
        assert [word["word"] for word in good["words"]] == ["good"]
        assert bad["label"] == "negative"

    def test_without_texts_the_lines_of_standard_input_are_explained(
        self, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lines = io.TextIOWrapper(io.BytesIO(b"good\nbad"))
        monkeypatch.setattr("sys.stdin", lines)
        assert cli.main(["explain", "--workdir", str(run), "--json"]) == 0
        labels = [json.loads(line)["label"] for line in capsys.readouterr().out.splitlines()]
        assert labels == ["positive", "negative"]

    def test_a_page_is_written_once(
        self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = tmp_path / "page.html"
        args = ["explain", "--workdir", str(run), "<script>good</script>", "--html", str(page)]
        assert cli.main(args) == 0
        assert "<script>" not in page.read_text()
        assert "&lt;script&gt;" in page.read_text() or "good" in page.read_text()
        assert cli.main(args) == 2
        assert capsys.readouterr().err.endswith("--overwrite replaces it\n")
        assert cli.main([*args, "--overwrite"]) == 0

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["..."], "error: text 1 cannot be read: no words in '...'"),
            (["good", "--class", "fine"], "error: 'fine' cannot be explained: one of positive"),
            (["good", "--overwrite"], "error: --overwrite has no effect: it is for a page"),
        ],
    )
    def test_bad_input_is_one_line(
        self, run: Path, capsys: pytest.CaptureFixture[str], args: list[str], message: str
    ) -> None:
        assert cli.main(["explain", "--workdir", str(run), *args]) == 2
        error = capsys.readouterr().err
        assert error.startswith(message)
        assert error.count("\n") == 1
