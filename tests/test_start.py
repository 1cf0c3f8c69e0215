"""Going on from a finished run: what is kept, what is new, resuming it, refusals."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from own_rows import written
from small_runs import assert_same_run, dying_after, quiet_train

from flax_imdb import LSTMClassifier, cli
from flax_imdb.config import ExperimentConfig
from flax_imdb.data import DataConfig
from flax_imdb.errors import InputError
from flax_imdb.export import safetensors
from flax_imdb.models import ModelConfig
from flax_imdb.predict import load
from flax_imdb.start import start_from
from flax_imdb.training import TrainConfig
from flax_imdb.training.checkpoints import CheckpointConfig
from flax_imdb.workdir import Workdir

WORDS = {"2": "awful", "9": "so-so", "10": "fine", "11": "superb"}

# Too small for any step to change a parameter.
NO_STEP = 1e-30


def rows(path: Path, labels: Sequence[str], number: int = 60, extra: str = "film") -> Path:
    """A file whose texts have a word for their label, and another one."""
    lines = [f"a {extra} {WORDS[labels[i % len(labels)]]} {i % 7}" for i in range(number)]
    texts = [f"{line},{labels[i % len(labels)]}" for i, line in enumerate(lines)]
    return written(path, ["text,label", *texts])


def going_on(old: Path, file: Path, **settings: Any) -> ExperimentConfig:
    """The experiment that goes on from `old` on a file; settings of training may be named."""
    config = start_from(old)
    own = {field.name for field in dataclasses.fields(ExperimentConfig)} & settings.keys()
    of_data = {field.name for field in dataclasses.fields(DataConfig)} & settings.keys()
    training = {name: settings[name] for name in settings.keys() - own - of_data}
    data = {name: settings[name] for name in of_data}
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, dataset=str(file), **data),
        training=dataclasses.replace(config.training, **training),
        **{name: settings[name] for name in own},
    )


def files(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three classes, with n-grams beside the LSTM."""
    directory = tmp_path_factory.mktemp("old")
    config = ExperimentConfig(
        ModelConfig(features=4, embedding_features=4, wide_ngrams=2, wide_buckets=100),
        DataConfig(dataset=str(rows(directory / "old.csv", ["2", "9", "10"])), max_length=5),
        TrainConfig(epochs=2, batch_size=12, learning_rate=0.05),
    )
    quiet_train(config, directory / "run", baseline=False)
    return directory / "run"


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """New rows: two of the three classes, and a word that the run has not seen."""
    return rows(tmp_path_factory.mktemp("new") / "new.csv", ["10", "2"], 48, extra="zebra")


@pytest.fixture(scope="module")
def whole(old: Path, new: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that went on from the old one on the new rows."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    quiet_train(going_on(old, new), workdir, baseline=False)
    return workdir


class TestGoingOn:
    def test_it_starts_from_the_parameters_the_words_and_the_classes(
        self, old: Path, new: Path, tmp_path: Path
    ) -> None:
        config = going_on(old, new, learning_rate=NO_STEP, averaging=None, epochs=1)
        result, console = quiet_train(config, tmp_path, baseline=False)
        before, after = load(old), load(tmp_path)
        jax.tree.map(np.testing.assert_array_equal, before.state.params, after.state.params)
        jax.tree.map(np.testing.assert_array_equal, before.state.constants, after.state.constants)
        assert after.vocabulary.words == before.vocabulary.words
        assert result["classes"] == ["2", "9", "10"]
        assert [row["count"] for row in result["per_class"].values()] == [5, 0, 5]
        assert after.evaluate() == (result["test_loss"], result["test_accuracy"])
        assert "its vocabulary has 75.0% of the words" in console

    def test_texts_are_encoded_as_the_run_predicts_them(
        self, old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Also a word that the run knows, and that the new training rows do not have."""
        train = rows(tmp_path / "train.csv", ["10", "2"], 48, extra="zebra")
        test = rows(tmp_path / "test.csv", ["10", "2"], 20, extra="film")
        flags = ["--init-from", old, "--dataset", train, "--test-dataset", test, "--epochs", 1]
        run = ["train", *flags, "--no-baseline", "--workdir", tmp_path / "run"]
        assert cli.main(list(map(str, run))) == 0
        for more in ([], ["--dataset", str(test)]):
            capsys.readouterr()
            assert cli.main(["evaluate", "--workdir", str(tmp_path / "run"), *more]) == 0
            loss, accuracy = capsys.readouterr().out.splitlines()[-2:]
            result = json.loads((tmp_path / "run" / "result.json").read_text())
            assert loss == f"Loss: {result['test_loss']:.4f}"
            assert accuracy == f"Accuracy: {result['test_accuracy']:.2%}"

    def test_a_new_head_is_for_new_classes_and_the_rest_is_kept(
        self, old: Path, tmp_path: Path
    ) -> None:
        file = rows(tmp_path / "new.csv", ["10", "11"])
        config = going_on(old, file, learning_rate=NO_STEP, averaging=None, epochs=1, new_head=True)
        result, _ = quiet_train(config, tmp_path / "run", baseline=False)
        before, after = load(old).state, load(tmp_path / "run").state
        assert result["classes"] == ["10", "11"]
        assert after.params["head"]["kernel"].shape == (4, 1)
        assert after.params["wide"]["weights"].shape == (100, 1)
        assert np.any(after.constants["wide"]["log_ratios"] != 0)
        for name in ("embedding", "encoder_0"):
            jax.tree.map(np.testing.assert_array_equal, before.params[name], after.params[name])

    def test_each_seed_starts_from_the_same_parameters(
        self, old: Path, new: Path, tmp_path: Path
    ) -> None:
        quiet_train(going_on(old, new, learning_rate=NO_STEP, averaging=None, runs=2), tmp_path)
        first, second = (load(tmp_path / f"seed-{seed}") for seed in (7, 8))
        jax.tree.map(np.testing.assert_array_equal, first.state.params, second.state.params)
        ours, theirs = (
            [json.loads(line)["loss"] for line in (tmp_path / f"seed-{seed}/steps.jsonl").open()]
            for seed in (7, 8)
        )
        assert ours != theirs  # Another order.

    def test_an_exported_model_and_one_from_python_are_starts(
        self, old: Path, new: Path, whole: Path, tmp_path: Path
    ) -> None:
        safetensors.write(load(old), tmp_path / "exported")
        LSTMClassifier.load(old).save(tmp_path / "saved")
        for name in ("exported", "saved"):
            run = tmp_path / f"from_{name}"
            quiet_train(going_on(tmp_path / name, new), run, baseline=False)
            assert_same_run(run, whole)

    def test_the_command_takes_what_is_not_given_from_the_run(
        self, old: Path, new: Path, tmp_path: Path
    ) -> None:
        flags = ["--init-from", old, "--dataset", new, "--epochs", 1, "--workdir", tmp_path]
        assert cli.main(["train", *map(str, flags), "--no-baseline"]) == 0
        config, before = Workdir(tmp_path).config(), Workdir(old).config()
        assert config is not None
        assert before is not None
        assert config.model == before.model
        assert config.training == dataclasses.replace(before.training, epochs=1)
        assert (config.init_from, config.data.test_fraction) == (str(old), 0.2)
        # What the old run has chosen is not the new file's.
        assert start_from(old).data.text_columns is None


class TestResume:
    @pytest.mark.parametrize("steps", [1, 6])
    def test_it_ends_with_the_same_bits_without_the_old_run(
        self, old: Path, new: Path, whole: Path, tmp_path: Path, steps: int
    ) -> None:
        start = tmp_path / "old"
        shutil.copytree(old, start)
        saving = CheckpointConfig(checkpoint_steps=2)
        with dying_after(steps):
            quiet_train(going_on(start, new), tmp_path / "run", checkpoints=saving)
        shutil.rmtree(start)
        flags = ["--resume", "--init-from", start, "--dataset", new, "--workdir", tmp_path / "run"]
        assert cli.main(["train", *map(str, flags), "--no-baseline"]) == 0
        assert_same_run(tmp_path / "run", whole)
        assert load(tmp_path / "run").evaluate() == load(whole).evaluate()

    def test_a_run_without_an_epoch_has_no_model(
        self, old: Path, new: Path, tmp_path: Path
    ) -> None:
        with dying_after(1):
            quiet_train(going_on(old, new), tmp_path)
        with pytest.raises(InputError, match="has no finished epoch yet"):
            load(tmp_path)

    def test_the_old_run_may_move_but_not_become_another(
        self, old: Path, new: Path, whole: Path, tmp_path: Path
    ) -> None:
        for name, directory in (("run", whole), ("moved", old)):
            shutil.copytree(directory, tmp_path / name)
        config = going_on(old, new)
        moved = dataclasses.replace(config, init_from=str(tmp_path / "moved"))
        quiet_train(moved, tmp_path / "run", resume=True)
        other = dataclasses.replace(config, init_from=str(whole))
        with pytest.raises(
            InputError, match=r"`init_from` .* is not what the run was started with"
        ):
            quiet_train(other, tmp_path / "run", resume=True)

    def test_it_starts_only_from_what_its_fingerprint_says(
        self, old: Path, new: Path, whole: Path, tmp_path: Path
    ) -> None:
        config = going_on(old, new, init_fingerprint="0" * 64)
        with pytest.raises(InputError, match="is not what the run started from: other parameters"):
            quiet_train(config, tmp_path, baseline=False)
        assert files(tmp_path) == []
        with pytest.raises(InputError, match=r"`init_fingerprint` 0+ is not what the run was"):
            quiet_train(config, whole, resume=True)


class TestRefusals:
    """One line each, and nothing is written."""

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (["--features", "64"], "--features 64 is not what the run in OLD has (4)"),
            (["--arch", "bilstm"], "--arch bilstm is not what the run in OLD has (lstm)"),
            (["--max-length", "9"], "--max-length 9 is not what the run in OLD has (5)"),
            (["--recipe", "strong"], "--recipe strong is not what the run in OLD has (None)"),
            (["--dataset", "auto"], "--init-from needs --dataset: the texts to go on with"),
            (["--workdir", "OLD", "--overwrite"], "OLD is in --workdir, OLD: give the new run"),
            (["--init-from", "NEW"], "--init-from NEW holds no run: name a directory that train"),
            (["--init-from", "None", "--new-head"], "--new-head True has no effect without --init"),
        ],
    )
    def test_of_settings(
        self,
        old: Path,
        new: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        flags: list[str],
        message: str,
    ) -> None:
        def named(text: str) -> str:
            return text.replace("OLD", str(old)).replace("NEW", str(new))

        before = files(old)
        given = ["--init-from", "OLD", "--dataset", "NEW", "--workdir", str(tmp_path / "run")]
        assert cli.main(["train", *map(named, [*given, *flags])]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert said.count("\n") == 1
        assert named(message) in said
        assert files(tmp_path) == []
        assert files(old) == before

    def test_labels_that_the_run_does_not_know_are_named(self, old: Path, tmp_path: Path) -> None:
        file = rows(tmp_path / "new.csv", ["10", "11"])
        with pytest.raises(InputError, match=r"labels that the model does not know: '11'; it know"):
            quiet_train(going_on(old, file), tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_an_unfinished_run_and_several_are_no_start(
        self, old: Path, new: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(old, tmp_path / "unfinished")
        (tmp_path / "unfinished" / "result.json").unlink()
        with pytest.raises(InputError, match="unfinished holds a run that has not finished: `resu"):
            quiet_train(going_on(tmp_path / "unfinished", new), tmp_path / "run")
        config = Workdir(old).config()
        assert config is not None
        several = dataclasses.replace(config, runs=2)
        with Workdir(tmp_path / "several").hold():
            (tmp_path / "several" / "config.json").write_text(
                json.dumps(dataclasses.asdict(several))
            )
        with pytest.raises(InputError, match=r"`init_from` .*several holds 2 runs: name one of th"):
            start_from(tmp_path / "several")
