"""What a finished run is good for: evaluation and predictions."""

import dataclasses
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fake_reviews
import jax
import jax.numpy as jnp
import pytest
from small_runs import experiment, quiet_train

import flax_imdb
from flax_imdb.config import dump_config, load_config
from flax_imdb.errors import InputError
from flax_imdb.predict import load


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
