"""What a finished run is good for: evaluation and predictions."""

import dataclasses
import json
import pickle
import pickletools
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import fake_reviews
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fresh_process import output
from small_runs import experiment, quiet_train
from untrained import (
    SETTINGS,
    calibrated,
    raw_sequences,
    untrained,
    untrained_on_sequences,
)

import flax_imdb
from flax_imdb import LSTMClassifier, cli
from flax_imdb.config import dump_config, load_config
from flax_imdb.data import load_dataset
from flax_imdb.errors import InputError
from flax_imdb.export import safetensors
from flax_imdb.predict import TrainedModel, load

TEXTS = ["a good film", "a bad story", "good " * 20 + "bad"]


@pytest.fixture(scope="module")
def finished(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, str]:
    """A run of three epochs: its workdir, result and console."""
    workdir = tmp_path_factory.mktemp("run") / "new"
    return workdir, *quiet_train(experiment(reviews, epochs=3), workdir)


class TestLoad:
    def test_evaluate_repeats_the_printed_numbers(self, finished: tuple[Path, dict, str]) -> None:
        workdir, result, _ = finished
        assert load(workdir).evaluate() == (result["test_loss"], result["test_accuracy"])

    def test_predict_gives_the_learnt_label_and_keeps_the_end_of_a_long_text(
        self, finished: tuple[Path, dict, str]
    ) -> None:
        model = flax_imdb.load(finished[0])
        good, bad, long = model.predict(
            ["The film was GOOD!", "a bad<br />story", "good " + "the film was a " * 50 + "bad"]
        )
        assert (good.label, bad.label) == ("positive", "negative")
        assert bad.probability < 0.5 < good.probability
        assert long.label == "negative"  # the end is what is kept
        assert model.predict([]) == []

    def test_a_model_that_was_compiled_ahead_answers_in_other_threads(
        self, finished: tuple[Path, dict, str]
    ) -> None:
        model = flax_imdb.load(finished[0])
        model.compile(rows=1)
        texts = ["a good film", "a bad film", "good " * 9]
        expected = [model.predict([text]) for text in texts]
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(lambda text: model.predict([text]), texts)) == expected

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "no words in ''"),
            ("<br /> ... !", "no words in '<br /> ... !'"),
            ("a" * 1_000_001, "1,000,001 characters are too many: 1,000,000 at most"),
            ("caf\udce9", "not UTF-8"),
        ],
    )
    def test_a_text_that_cannot_be_read_is_refused_with_the_reason(
        self, finished: tuple[Path, dict, str], text: str, reason: str
    ) -> None:
        with pytest.raises(InputError) as raised:
            load(finished[0]).predict(["good", text])
        assert str(raised.value) == f"text 2 cannot be read: {reason}"

    def test_a_directory_without_a_run_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="holds no run: name a directory"):
            load(tmp_path)

    def test_one_of_several_runs_must_be_named(self, reviews: Path, tmp_path: Path) -> None:
        config = dump_config(experiment(reviews, runs=3))
        (tmp_path / "config.json").write_text(config)
        with pytest.raises(InputError, match=r"holds 3 runs: name one of them, such as .*/seed-7"):
            load(tmp_path)

    def test_a_run_without_a_finished_epoch_is_refused(
        self, finished: tuple[Path, dict, str], tmp_path: Path
    ) -> None:
        """Whatever of its files is there already."""
        for name in ("config.json", "vocabulary.json", "checkpoints"):
            with pytest.raises(InputError, match=r"holds no run|no finished epoch yet: `resume`"):
                load(tmp_path)
            source, target = finished[0] / name, tmp_path / name
            target.mkdir() if source.is_dir() else shutil.copy(source, target)
        with pytest.raises(InputError, match="has no finished epoch yet: `resume` the run"):
            load(tmp_path)

    def test_other_reviews_than_it_was_trained_on_are_refused(
        self, finished: tuple[Path, dict, str], tmp_path: Path
    ) -> None:
        others = fake_reviews.write(tmp_path, train=20)
        with pytest.raises(InputError, match="holds other texts than the run was trained on"):
            load(finished[0]).evaluate(str(others))

    def test_the_reviews_may_move(self, finished: tuple[Path, dict, str], tmp_path: Path) -> None:
        workdir, result, _ = finished
        moved = fake_reviews.write(tmp_path)
        assert load(workdir).evaluate(str(moved))[1] == result["test_accuracy"]

    def test_a_checkpoint_of_another_architecture_is_refused(
        self, reviews: Path, finished: tuple[Path, dict, str], tmp_path: Path
    ) -> None:
        quiet_train(experiment(reviews, epochs=1), tmp_path)
        config = load_config(tmp_path / "config.json")
        for arch, features in (("conv_lstm", 8), ("lstm", 9)):
            model = dataclasses.replace(config.model, arch=arch, features=features)
            other = dump_config(dataclasses.replace(config, model=model))
            (tmp_path / "config.json").write_text(other)
            with pytest.raises(InputError, match="is another run's: `") as raised:
                load(tmp_path)
            assert "\n" not in str(raised.value)

    def test_a_run_trained_by_an_implementation_that_is_not_here_is_evaluated(
        self, finished: tuple[Path, dict, str], tmp_path: Path
    ) -> None:
        workdir, result, _ = finished
        shutil.copytree(workdir, tmp_path / "run")
        config = json.loads((tmp_path / "run" / "config.json").read_text())
        config["model"]["implementation"] = "cudnn"
        (tmp_path / "run" / "config.json").write_text(json.dumps(config))
        loss, _ = load(tmp_path / "run").evaluate()
        assert loss == pytest.approx(result["test_loss"])

    def test_an_answer_that_is_not_a_number_is_an_error(
        self, finished: tuple[Path, dict, str]
    ) -> None:
        """No label is read from it, and no explanation is looked for without end."""
        model = load(finished[0])
        params = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), model.state.params)
        state = model.state.replace(params=params, opt_state=())
        damaged = dataclasses.replace(model, state=state)
        for ask in (damaged.predict, damaged.explain):
            with pytest.raises(InputError, match="the model's answer is not a number: its param"):
                ask(["a good film"])
        with pytest.raises(InputError, match="the model's answer is not a number"):
            damaged.evaluate()

    def test_nothing_that_is_read_is_executed(self, finished: tuple[Path, dict, str]) -> None:
        """Python tells of every class that a pickle asks for."""
        code = """
import sys
asked = []
sys.addaudithook(lambda event, args: asked.append(args) if event == "pickle.find_class" else None)
from flax_imdb import load
model = load(sys.argv[1])
model.evaluate()
assert not asked, asked
"""
        subprocess.run([sys.executable, "-c", code, str(finished[0])], check=True)


@pytest.fixture(scope="module")
def exported(finished: tuple[Path, dict, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("exported") / "model"
    safetensors.write(load(finished[0]), directory)
    return directory


class TestExported:
    """A run that was exported as safetensors; see also tests/export/test_safetensors.py."""

    def test_it_is_as_good_as_the_run(
        self, finished: tuple[Path, dict, str], exported: Path, reviews: Path
    ) -> None:
        run, model = load(finished[0]), load(exported)
        assert model.predict(TEXTS) == run.predict(TEXTS)
        assert model.explain(TEXTS) == run.explain(TEXTS)
        assert model.evaluate(str(reviews)) == run.evaluate()
        assert dataclasses.asdict(model.result) == finished[1]
        np.testing.assert_array_equal(
            LSTMClassifier.load(exported).predict_proba(TEXTS),
            LSTMClassifier.load(finished[0]).predict_proba(TEXTS),
        )

    def test_the_commands_take_it_for_a_run(
        self,
        finished: tuple[Path, dict, str],
        exported: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        said = []
        for workdir in (finished[0], exported):
            assert cli.main(["predict", "--workdir", str(workdir), *TEXTS]) == 0
            said.append(capsys.readouterr().out)
        assert said[0] == said[1]

    def test_a_new_process_computes_on_all_cores(self, tmp_path: Path) -> None:
        """JAX is not started before its devices are set."""
        safetensors.write(untrained(), tmp_path / "model")
        code = """
import sys
from flax_imdb import devices, load
cores = min(devices.cores_for_each(), 64 // devices._ROWS_PER_CPU)
print(load(sys.argv[1]).trainer.mesh.size, cores)
"""
        used, there_are = output(code, str(tmp_path / "model")).split()
        assert used == there_are


class TestPickle:
    """As Dask, Ray and Spark send a model to other processes."""

    @pytest.mark.parametrize("pickled", [pickle.dumps, cloudpickle.dumps])
    def test_it_answers_with_the_same_bits(
        self, finished: tuple[Path, dict, str], pickled: Callable[[Any], bytes]
    ) -> None:
        model = load(finished[0])
        again = pickle.loads(pickled(model))
        np.testing.assert_array_equal(
            again.predict_probabilities(TEXTS), model.predict_probabilities(TEXTS)
        )
        assert again.explain(TEXTS) == model.explain(TEXTS)
        assert again.result == model.result

    @pytest.mark.parametrize("kind", ["model", "classifier"])
    def test_it_is_little_more_than_the_parameters(
        self, finished: tuple[Path, dict, str], kind: str
    ) -> None:
        """Neither what was compiled nor the optimizer's state is in it."""
        model = load(finished[0])
        model.predict(TEXTS)
        classifier = LSTMClassifier.load(finished[0])
        classifier.predict(TEXTS)
        content = pickle.dumps({"model": model, "classifier": classifier}[kind])
        parameters = sum(leaf.nbytes for leaf in jax.tree.leaves(model.state.params))
        assert len(content) < parameters + 10_000
        assert len(pickle.dumps(classifier._fitted.arrays["params"])) < parameters + 2000

    def test_it_asks_for_nothing_of_jax(self, finished: tuple[Path, dict, str]) -> None:
        """Other versions and devices can read it."""
        asked = {
            str(argument).replace(" ", ".").partition(".")[0]
            for code, argument, _ in pickletools.genops(pickle.dumps(load(finished[0]), 2))
            if code.name == "GLOBAL"
        }
        assert asked <= {"flax_imdb", "numpy", "_codecs"}

    def test_it_is_loaded_where_there_are_other_devices(self, tmp_path: Path) -> None:
        model = untrained()
        (tmp_path / "model").write_bytes(pickle.dumps(model))
        code = """
import pickle, sys
model = pickle.load(open(sys.argv[1], "rb"))
print(model.trainer.mesh.size, *model.predict_probabilities(sys.argv[2:])[:, 1].tolist())
"""
        said = output(code, str(tmp_path / "model"), *TEXTS, JAX_NUM_CPU_DEVICES="3").split()
        assert (model.trainer.mesh.size, int(said[0])) == (1, 3)
        assert [*map(float, said[1:])] == pytest.approx(
            [prediction.probability for prediction in model.predict(TEXTS)], abs=1e-6
        )

    def test_it_stays_where_it_was_put(
        self, finished: tuple[Path, dict, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On the CPUs, if JAX prefers something else; otherwise on what JAX prefers there."""
        model = load(finished[0], "cpu")
        assert model.__reduce__()[1][-1] == "auto"
        monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(platform="tpu")])
        assert model.__reduce__()[1][-1] == "cpu"


class TestAbstain:
    @pytest.fixture(scope="class")
    def run(self, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        workdir = tmp_path_factory.mktemp("run") / "calibrated"
        data = {"validation_examples": 16, "calibration_examples": 24}
        quiet_train(experiment(reviews, "lstm", epochs=3, **data), workdir)
        return workdir

    @pytest.fixture(scope="class")
    def model(self, run: Path) -> TrainedModel:
        return load(run)

    def test_the_rows_have_the_probabilities_of_the_reported_epoch(
        self, run: Path, model: TrainedModel
    ) -> None:
        rows = load_dataset(model.config.data).calibration
        second = model.predict_examples(rows).probability
        own = np.where(rows.labels == 1, second, 1 - second)
        np.testing.assert_allclose(model.info.conformity, np.sort(own), rtol=0, atol=1e-6)
        result = json.loads((run / "result.json").read_text())
        assert (result["train_examples"], result["calibration_examples"]) == (96 - 40, 24)

    def test_a_set_has_the_classes_that_are_likely_enough(self, model: TrainedModel) -> None:
        for coverage in (0.5, 0.9, 0.96):
            # The rank of the least probability, counted: (24 + 1) times the rest.
            least = model.info.conformity[{0.5: 12, 0.9: 2, 0.96: 1}[coverage] - 1]
            for predicted in model.predict(TEXTS, abstain=coverage):
                likely = [name for name, p in predicted.probabilities.items() if p >= least]
                assert list(predicted.prediction_set or ()) == likely
                assert predicted.label == (likely[0] if len(likely) == 1 else None)
        assert all(predicted.prediction_set is None for predicted in model.predict(TEXTS))

    def test_it_goes_wherever_the_model_goes(
        self, run: Path, model: TrainedModel, tmp_path: Path
    ) -> None:
        expected = [each.prediction_set for each in model.predict(TEXTS, abstain=0.9)]
        safetensors.write(model, tmp_path / "exported")
        for other in (pickle.loads(pickle.dumps(model)), load(tmp_path / "exported")):
            found = other.predict(TEXTS, abstain=0.9)
            assert [each.prediction_set for each in found] == expected
        card = (tmp_path / "exported" / "README.md").read_text()
        assert "It was calibrated with 24 texts" in card
        sets = LSTMClassifier.load(run).predict_set(TEXTS, 0.9)
        classes = np.array(model.info.classes)
        assert [tuple(classes[row]) for row in sets] == expected

    def test_it_is_scored_by_the_command(
        self, run: Path, model: TrainedModel, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["evaluate", "--workdir", str(run), "--abstain", "0.9"]) == 0
        printed = capsys.readouterr().out
        rows = model.test_examples()
        second = model.predict_examples(rows).probability
        probabilities = np.stack([1 - second, second], 1)
        sets = probabilities >= model.info.conformity[2 - 1]
        covered = sets[np.arange(40), rows.labels]
        assert f"Coverage: {covered.mean():.2%} of the sets have the true class (0.9" in printed
        one = sets.sum(1) == 1
        assert f"Answered: {one.mean():.2%}" in printed
        if one.any():
            assert f"{covered[one].mean():.2%} of the answers right" in printed
        assert printed.splitlines()[-1].startswith("Accuracy: ")

    def test_without_rows_to_calibrate_with_it_says_how_to_have_them(
        self, finished: tuple[Path, dict, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        for command in (["predict", "good"], ["evaluate"]):
            args = [*command, "--workdir", str(finished[0]), "--abstain", "0.9"]
            assert cli.main(args) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert line == (
                "error: --abstain 0.9 needs rows to calibrate with, and this model was trained "
                "without: --calibration-examples 1000 in training holds out 1,000"
            )
        assert "conformity" not in (finished[0] / "vocabulary.json").read_text()

    @pytest.mark.parametrize("settings", [each for each in SETTINGS if "multi_label" not in each])
    def test_texts_of_unknown_words_alone_have_all_classes(self, settings: dict[str, Any]) -> None:
        model = calibrated(untrained(**settings))
        read = model.config.data.longest
        texts = ["xyzzy", "nothing here", "kino " * 40, "good " + "kino " * read]
        for coverage in (0.05, 0.98):
            for predicted in model.predict(texts, abstain=coverage):
                assert (predicted.label, predicted.prediction_set) == (None, model.info.classes)
            assert model.predict_set(["..."], coverage, wordless=True).all()
        some = model.predict(["good " * 3, "kino " * read + "film"], abstain=0.05)
        assert any(predicted.prediction_set != model.info.classes for predicted in some)

    def test_numeric_sequences_have_sets_and_no_unknown_words(self) -> None:
        model = calibrated(untrained_on_sequences(classes=3))
        sequences = [*raw_sequences(5), np.full((4, 3), 2.0), np.zeros((1, 3))]
        least = model.least_probability(0.6)
        for predicted in model.predict(sequences, abstain=0.6):
            likely = [name for name, p in predicted.probabilities.items() if p >= least]
            assert list(predicted.prediction_set or ()) == likely

    def test_no_texts_have_no_sets(self) -> None:
        model = calibrated(untrained(classes=3))
        assert model.predict([], abstain=0.9) == []
        assert model.predict_set([], 0.9).shape == (0, 3)
