"""A run: its files, resuming it, refusals."""

import dataclasses
import gzip
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import fake_reviews
import few_vectors
import jax
import numpy as np
import pytest
from rich.console import Console
from small_runs import STEPS, assert_same_run, dying_after, experiment, quiet_train

from flax_imdb.cli import main
from flax_imdb.config import ExperimentConfig, load_config
from flax_imdb.data import DatasetInfo, Task, load_dataset
from flax_imdb.errors import InputError
from flax_imdb.experiment import show_word_vectors
from flax_imdb.predict import load
from flax_imdb.report import Report
from flax_imdb.training import Evaluation, Trainer
from flax_imdb.training.checkpoints import CheckpointConfig
from flax_imdb.workdir import Workdir

RESULT_KEYS = {
    *("arch", "dataset", "device", "devices", "epochs", "seed", "padding", "precision"),
    *("train_examples", "test_examples", "parameters", "test_accuracy", "test_loss"),
    *("train_seconds", "compile_seconds", "step_ms_median", "versions"),
}
METRICS_KEYS = {
    *("epoch", "step", "train_loss", "train_accuracy", "eval_split", "eval_loss"),
    *("eval_accuracy", "seconds", "step_ms_median", "examples_per_second"),
}


def parameters(workdir: Path) -> Any:
    return load(workdir).state.params


@pytest.fixture(scope="module")
def finished(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, str]:
    """A run of three epochs: its workdir, result and console."""
    workdir = tmp_path_factory.mktemp("run") / "new"
    return workdir, *quiet_train(experiment(reviews, epochs=3), workdir)


class TestFiles:
    def test_a_run_leaves_its_files_and_no_others(self, finished: tuple[Path, dict, str]) -> None:
        workdir, result, _ = finished
        left = {path.name for path in workdir.iterdir()}
        assert left == {
            *(
                "config.json",
                "metrics.jsonl",
                "steps.jsonl",
                "result.json",
                "curves.png",
                "scores.png",
                "report.html",
                "vocabulary.json",
            ),
            *("checkpoints", ".lock"),
        }
        assert json.loads((workdir / "result.json").read_text()) == result
        assert result.keys() >= RESULT_KEYS
        assert result["dataset"] == "imdb_reviews"
        assert (result["device"], result["devices"]) == ("cpu", 1)  # 8 rows are too few for more
        assert (workdir / "curves.png").read_bytes().startswith(b"\x89PNG")

    def test_metrics_have_a_line_per_epoch(self, finished: tuple[Path, dict, str]) -> None:
        workdir, result, _ = finished
        records = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
        assert [record["epoch"] for record in records] == [1, 2, 3]
        assert [record["step"] for record in records] == [12, 24, 36]
        assert all(record.keys() >= METRICS_KEYS for record in records)
        assert result["test_accuracy"] == records[-1]["eval_accuracy"]
        assert records[-1]["train_loss"] < records[0]["train_loss"]

    def test_steps_have_a_line_each_whose_mean_is_that_of_their_epoch(
        self, finished: tuple[Path, dict, str]
    ) -> None:
        files = Workdir(finished[0])
        steps = files.steps()
        assert [step.step for step in steps] == list(range(1, 3 * STEPS + 1))
        for record in files.records():
            of_epoch = [step for step in steps if step.epoch == record.epoch]
            assert len(of_epoch) == STEPS
            # All batches of this experiment are full.
            assert np.mean([step.loss for step in of_epoch]) == pytest.approx(record.train_loss)
            assert all(step.gradient_norm and step.step_ms > 0 for step in of_epoch)

    def test_the_console_shows_the_parameters_and_ends_with_the_accuracy(
        self, finished: tuple[Path, dict, str]
    ) -> None:
        _, result, console = finished
        assert "encoder_0/cell/recurrent_kernel" in console
        assert f"{result['parameters']:,}" in console
        assert console.endswith(f"\nAccuracy: {result['test_accuracy']:.2%}\n")

    @pytest.mark.parametrize("why", ["cannot be drawn", "cannot be imported", "cannot be written"])
    def test_a_result_does_not_depend_on_its_picture(
        self,
        finished: tuple[Path, dict, str],
        tmp_path: Path,
        why: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        workdir, result, _ = finished
        shutil.copytree(workdir, tmp_path / "run")
        for name in ("result.json", "curves.png", "scores.png", "report.html"):
            (tmp_path / "run" / name).unlink()
        failing: tuple[str, ...] = ("curves.png", "scores.png")  # The page needs no matplotlib.
        if why == "cannot be drawn":
            monkeypatch.setattr("matplotlib.figure.Figure", None)
        elif why == "cannot be imported":
            monkeypatch.setitem(sys.modules, "matplotlib", None)
        else:
            failing += ("report.html",)
            for name in failing:
                (tmp_path / "run" / f"{name}.tmp").symlink_to("/dev/full")
        config = load_config(workdir / "config.json")
        again, console = quiet_train(config, tmp_path / "run", resume=True)
        assert again["test_accuracy"] == result["test_accuracy"]
        assert json.loads((tmp_path / "run" / "result.json").read_text()) == again
        assert console.endswith(f"\nAccuracy: {result['test_accuracy']:.2%}\n")
        said = capsys.readouterr().err.splitlines()
        for name, line in zip(failing, said, strict=True):
            assert line.startswith(f"warning: no {name} in {tmp_path / 'run'}: ")
            assert not (tmp_path / "run" / name).exists()
        assert (tmp_path / "run" / "report.html").exists() == ("report.html" not in failing)

    def test_it_learns_the_word(self, finished: tuple[Path, dict, str]) -> None:
        assert finished[1]["test_accuracy"] > 0.9


class TestSameBits:
    def test_the_same_seed_gives_the_same_parameters(
        self, reviews: Path, finished: tuple[Path, dict, str], tmp_path: Path
    ) -> None:
        workdir, result, _ = finished
        again, _ = quiet_train(experiment(reviews, epochs=3), tmp_path)
        jax.tree.map(np.testing.assert_array_equal, parameters(tmp_path), parameters(workdir))
        assert again["test_loss"] == result["test_loss"]

    def test_a_resumed_run_is_the_run_that_was_never_stopped(
        self, reviews: Path, finished: tuple[Path, dict, str], tmp_path: Path
    ) -> None:
        workdir, result, _ = finished
        quiet_train(experiment(reviews, epochs=1), tmp_path)
        resumed, console = quiet_train(experiment(reviews, epochs=3), tmp_path, resume=True)
        assert "resumed after step 12, the end of epoch 1" in console
        jax.tree.map(np.testing.assert_array_equal, parameters(tmp_path), parameters(workdir))
        assert resumed["test_loss"] == result["test_loss"]
        records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
        assert [record["epoch"] for record in records] == [1, 2, 3]

    def test_a_schedule_an_adversary_ngrams_and_windows_go_on_where_they_were(
        self, reviews: Path, tmp_path: Path
    ) -> None:
        """The schedule is that of all epochs, wherever a run was stopped."""
        plain = experiment(reviews, epochs=2)
        config = dataclasses.replace(
            plain,
            model=dataclasses.replace(
                plain.model,
                pooling="max_mean",
                ngrams=2,
                ngram_buckets=100,
                word_dropout=0.2,
                wide_ngrams=2,
                wide_buckets=200,
            ),
            data=dataclasses.replace(plain.data, long="windows", max_length=4),
            training=dataclasses.replace(
                plain.training,
                **{"schedule": "cosine", "warmup_steps": 5, "weight_decay": 0.1},
                **{"label_smoothing": 0.1, "adversarial_norm": 0.3},
            ),
        )
        quiet_train(config, tmp_path / "whole")
        saving = CheckpointConfig(checkpoint_steps=5)
        with dying_after(STEPS + 7):
            quiet_train(config, tmp_path / "again", checkpoints=saving)
        quiet_train(config, tmp_path / "again", resume=True)
        assert_same_run(tmp_path / "again", tmp_path / "whole")
        more = dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=3))
        message = "`epochs` 3 is more than the run has, and its `schedule` cosine ends with epoch 2"
        with pytest.raises(InputError, match=message):
            quiet_train(more, tmp_path / "again", resume=True)

    def test_texts_that_are_short_are_read_alike_with_windows(
        self, reviews: Path, tmp_path: Path
    ) -> None:
        """With the same bits."""
        for long in ("tail", "windows"):
            config = experiment(reviews, epochs=1, max_length=11, long=long)
            quiet_train(config, tmp_path / long)
        assert_same_run(tmp_path / "tail", tmp_path / "windows")

    def test_another_implementation_goes_on_to_the_same_loss(
        self, reviews: Path, finished: tuple[Path, dict, str], tmp_path: Path
    ) -> None:
        """The parameters do not depend on it."""
        _, result, _ = finished
        quiet_train(experiment(reviews, epochs=2, implementation="scan"), tmp_path)
        resumed, _ = quiet_train(experiment(reviews, epochs=3), tmp_path, resume=True)
        assert resumed["test_loss"] == pytest.approx(result["test_loss"], rel=1e-3)

    def test_a_run_that_died_between_checkpoint_and_metrics_loses_no_line(
        self, reviews: Path, tmp_path: Path
    ) -> None:
        quiet_train(experiment(reviews, epochs=2), tmp_path)
        for name in ("metrics.jsonl", "result.json"):
            (tmp_path / name).unlink()
        steps = tmp_path / "steps.jsonl"
        lines = steps.read_text().splitlines(keepends=True)
        steps.write_text("".join(lines[:STEPS]))
        quiet_train(experiment(reviews, epochs=2), tmp_path, resume=True)
        records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
        assert [record["epoch"] for record in records] == [1, 2]
        assert steps.read_text() == "".join(lines)

    def test_runs_of_several_seeds_differ_and_are_summed_up(
        self, reviews: Path, tmp_path: Path
    ) -> None:
        summary, console = quiet_train(experiment(reviews, epochs=1, runs=2), tmp_path)
        assert summary["seeds"] == [7, 8]
        first, second = (parameters(tmp_path / f"seed-{seed}") for seed in (7, 8))
        assert any(
            bool((a != b).any())
            for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
        )
        np.testing.assert_allclose(summary["test_accuracy"], np.mean(summary["test_accuracies"]))
        np.testing.assert_allclose(
            summary["test_accuracy_std"], np.std(summary["test_accuracies"], ddof=1)
        )
        assert json.loads((tmp_path / "summary.json").read_text()) == summary
        assert console.endswith(f"\nAccuracy: {summary['test_accuracy']:.2%}\n")


class TestValidation:
    def test_the_best_epoch_by_validation_is_reported(self, reviews: Path, tmp_path: Path) -> None:
        config = experiment(reviews, epochs=4, validation_examples=24, train_examples=60)
        result, _ = quiet_train(config, tmp_path)
        records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
        accuracies = [record["eval_accuracy"] for record in records]
        assert {record["eval_split"] for record in records} == {"validation"}
        assert result["reported_epoch"] == 1 + int(np.argmax(accuracies))
        assert result["validation_accuracy"] == max(accuracies)
        assert (result["train_examples"], result["validation_examples"]) == (60, 24)
        loss, accuracy = load(tmp_path).evaluate()
        assert (loss, accuracy) == (result["test_loss"], result["test_accuracy"])


def stopping(reviews: Path, **settings: Any) -> ExperimentConfig:
    """An experiment with a high learning rate, so that an epoch is soon no better than another."""
    config = experiment(reviews, validation_examples=24, train_examples=60)
    given = {"epochs": 12, "patience": 2, "learning_rate": 0.05, "monitor": "macro_f1", **settings}
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **given))


class TestStoppingEarly:
    @pytest.fixture(scope="class")
    @classmethod
    def stopped(
        cls, reviews: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> tuple[Path, dict, str]:
        workdir = tmp_path_factory.mktemp("stopped")
        return workdir, *quiet_train(stopping(reviews), workdir, baseline=False)

    def test_it_stops_when_no_epoch_is_better_and_reports_the_best(
        self, stopped: tuple[Path, dict, str]
    ) -> None:
        workdir, result, console = stopped
        records = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
        values = [record["eval_macro_f1"] for record in records]
        best = int(np.argmax(values)) + 1
        assert len(values) == best + 2 < 12
        assert (result["epochs"], result["reported_epoch"]) == (len(values), best)
        assert result["stopped_early"]
        assert (
            f"stopped early, after epoch {best + 2}: none was better than epoch {best}" in console
        )
        assert load(workdir).evaluate() == (result["test_loss"], result["test_accuracy"])

    def test_one_that_stopped_is_finished(
        self, reviews: Path, stopped: tuple[Path, dict, str]
    ) -> None:
        workdir, result, _ = stopped
        for epochs in (12, 20):
            assert quiet_train(stopping(reviews, epochs=epochs), workdir, resume=True)[0] == result
        with pytest.raises(InputError, match="`patience` 5 is not what the run was started with"):
            quiet_train(stopping(reviews, patience=5), workdir, resume=True)

    def test_a_resumed_run_stops_where_one_that_was_never_stopped_does(
        self, reviews: Path, stopped: tuple[Path, dict, str], tmp_path: Path
    ) -> None:
        workdir, result, _ = stopped
        with dying_after(8 * (result["epochs"] - 1) + 5):
            quiet_train(stopping(reviews), tmp_path)
        resumed, _ = quiet_train(stopping(reviews), tmp_path, resume=True, baseline=False)
        assert_same_run(tmp_path, workdir)
        for name in ("epochs", "stopped_early", "reported_epoch", "test_loss"):
            assert resumed[name] == result[name]

    def test_patience_that_ends_with_the_last_epoch_stops_nothing(
        self, reviews: Path, stopped: tuple[Path, dict, str], tmp_path: Path
    ) -> None:
        """With more epochs it does: as it had from the beginning."""
        workdir, result, _ = stopped
        short = stopping(reviews, epochs=result["epochs"])
        assert not quiet_train(short, tmp_path, baseline=False)[0]["stopped_early"]
        resumed, _ = quiet_train(stopping(reviews), tmp_path, resume=True, baseline=False)
        assert_same_run(tmp_path, workdir)
        assert resumed["stopped_early"]

    def test_each_seed_stops_by_itself(self, reviews: Path, tmp_path: Path) -> None:
        config = dataclasses.replace(stopping(reviews), runs=2)
        summary, _ = quiet_train(config, tmp_path, baseline=False)
        assert summary["epochs"] == 12
        assert summary["epochs_by_run"] == [
            len((tmp_path / f"seed-{seed}" / "metrics.jsonl").read_text().splitlines())
            for seed in (7, 8)
        ]
        assert quiet_train(config, tmp_path, resume=True)[0] == summary

    def test_it_needs_rows_to_watch(self, reviews: Path) -> None:
        config = experiment(reviews)
        for settings, message in (
            ({"patience": 2}, "`patience` 2 needs `validation_examples`"),
            ({"monitor": "loss"}, "`monitor` loss has no effect without `validation_examples`"),
        ):
            training = dataclasses.replace(config.training, **settings)
            with pytest.raises(InputError, match=message):
                dataclasses.replace(config, training=training)
        for settings, message in (
            ({"patience": 0}, "`patience` 0 is too small: 1 or more"),
            (
                {"monitor": "f1"},
                "`monitor` f1 is unknown: one of accuracy, loss, macro_f1, roc_auc",
            ),
        ):
            with pytest.raises(InputError, match=message):
                dataclasses.replace(config.training, **settings)


class TestRefusals:
    """Nothing is written over when something is refused."""

    def untouched(self, workdir: Path) -> dict[str, bytes]:
        files = (path for path in workdir.rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in files}

    @pytest.mark.parametrize(
        ("change", "options", "message"),
        [
            ({}, {}, "already holds a run .config.json.: `resume` continues it, `overwrite`"),
            ({"arch": "lstm"}, {"resume": True}, "`arch` lstm is not what the run was started"),
            ({"epochs": 2}, {"resume": True}, "`epochs` 2 is fewer than the run has: 3 or more"),
            ({"max_length": 9}, {"resume": True}, "`max_length` 9 is not what .*with .10.:"),
            ({}, {"resume": True, "overwrite": True}, "give one of them"),
            ({}, {"overwrite": True, "device": "tpu"}, "`device` tpu is not there: JAX .* cpu"),
            ({"train_examples": 97}, {"overwrite": True}, "`train_examples` 97 is too large: 96"),
            ({"test_examples": 41}, {"overwrite": True}, "`test_examples` 41 is too large: 40"),
            ({"validation_examples": 96}, {"overwrite": True}, "leaves nothing to train on"),
            ({"data_dir": "/nowhere"}, {"overwrite": True}, "`data_dir` /nowhere is not a dir"),
        ],
    )
    def test_a_workdir_with_a_run_is_left_as_it_was(
        self,
        reviews: Path,
        finished: tuple[Path, dict, str],
        change: dict[str, Any],
        options: dict[str, Any],
        message: str,
    ) -> None:
        workdir = finished[0]
        before = self.untouched(workdir)
        config = experiment(reviews, **{"epochs": 3, **change})
        with pytest.raises(InputError, match=message) as raised:
            quiet_train(config, workdir, **options)
        assert "\n" not in str(raised.value)
        assert self.untouched(workdir) == before

    def test_a_finished_run_prints_its_result_again(
        self, reviews: Path, finished: tuple[Path, dict, str]
    ) -> None:
        workdir, result, console = finished
        before = self.untouched(workdir)
        again, printed = quiet_train(experiment(reviews, epochs=3), workdir, resume=True)
        assert again == result
        assert printed.splitlines()[-1] == console.splitlines()[-1]
        assert self.untouched(workdir) == before

    def test_resuming_on_other_reviews_is_refused(self, reviews: Path, tmp_path: Path) -> None:
        quiet_train(experiment(reviews, epochs=1), tmp_path / "run")
        before = self.untouched(tmp_path / "run")
        others = fake_reviews.write(tmp_path / "others", train=48)
        with pytest.raises(InputError, match="holds other texts than the run was trained on"):
            quiet_train(experiment(others, epochs=2), tmp_path / "run", resume=True)
        assert self.untouched(tmp_path / "run") == before

    def test_several_runs_on_other_reviews_are_refused(self, reviews: Path, tmp_path: Path) -> None:
        """Seeds on different reviews have no common mean."""
        quiet_train(experiment(reviews, epochs=1, runs=2), tmp_path / "run")
        (tmp_path / "run" / "summary.json").unlink()
        shutil.rmtree(tmp_path / "run" / "seed-8")
        before = self.untouched(tmp_path / "run")
        others = fake_reviews.write(tmp_path / "others", train=48)
        with pytest.raises(InputError, match="holds other texts than the run was trained on"):
            quiet_train(experiment(others, epochs=1, runs=2), tmp_path / "run", resume=True)
        assert self.untouched(tmp_path / "run") == before

    def test_files_that_are_not_a_runs_are_not_overwritten(
        self, reviews: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / "mine").write_text("mine")
        (tmp_path / "config.json").write_text('{"mine": 1}')
        before = self.untouched(tmp_path)
        with pytest.raises(InputError, match="is not the configuration of a run"):
            quiet_train(experiment(reviews), tmp_path, overwrite=True)
        assert self.untouched(tmp_path) == before

    @pytest.mark.parametrize("content", ["", "[]", '{"words": []}', None])
    def test_resuming_with_a_damaged_vocabulary_is_refused(
        self, reviews: Path, finished: tuple[Path, dict, str], tmp_path: Path, content: str | None
    ) -> None:
        shutil.copytree(finished[0], tmp_path / "run")
        vocabulary = tmp_path / "run" / "vocabulary.json"
        if content is None:
            vocabulary.write_bytes(b"\xff\x00")
        else:
            vocabulary.write_text(content)
        before = self.untouched(tmp_path / "run")
        with pytest.raises(InputError, match="is not a vocabulary"):
            quiet_train(experiment(reviews, epochs=4), tmp_path / "run", resume=True)
        assert self.untouched(tmp_path / "run") == before

    def test_a_run_killed_while_it_started_is_started_afresh(
        self, reviews: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "checkpoints").mkdir()
        result, _ = quiet_train(experiment(reviews, epochs=1), tmp_path, resume=True)
        assert result["epochs"] == 1

    def test_a_damaged_result_is_made_again(
        self, reviews: Path, finished: tuple[Path, dict, str], tmp_path: Path
    ) -> None:
        workdir, result, _ = finished
        shutil.copytree(workdir, tmp_path / "run")
        (tmp_path / "run" / "result.json").write_text("[]")
        again, _ = quiet_train(experiment(reviews, epochs=3), tmp_path / "run", resume=True)
        assert again["test_loss"] == result["test_loss"]

    def test_bad_input_leaves_no_workdir(self, reviews: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError):
            quiet_train(experiment(reviews, train_examples=97), tmp_path / "new")
        assert not (tmp_path / "new").exists()

    def test_overwrite_deletes_the_run_and_nothing_else(
        self, reviews: Path, tmp_path: Path
    ) -> None:
        quiet_train(experiment(reviews, epochs=1, runs=2), tmp_path)
        for name in ("notes.txt", "seed-7-copy"):
            (tmp_path / name).write_text("mine")
        quiet_train(experiment(reviews, epochs=1), tmp_path, overwrite=True)
        for name in ("notes.txt", "seed-7-copy"):
            assert (tmp_path / name).read_text() == "mine"
        assert not (tmp_path / "seed-7").exists()
        assert not (tmp_path / "summary.json").exists()

    def test_the_pictures_of_several_runs_that_go_on_are_drawn_again(
        self, reviews: Path, tmp_path: Path
    ) -> None:
        quiet_train(experiment(reviews, epochs=1, runs=2), tmp_path)
        drawn = ("seed-7/curves.png", "seed-7/report.html", "report.html")
        before = [(tmp_path / name).read_bytes() for name in drawn]
        quiet_train(experiment(reviews, epochs=2, runs=2), tmp_path, resume=True)
        for name, content in zip(drawn, before, strict=True):
            assert (tmp_path / name).read_bytes() != content

    def test_a_second_run_in_the_same_workdir_is_refused(
        self, reviews: Path, tmp_path: Path
    ) -> None:
        import fcntl

        with (tmp_path / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(InputError, match="is in use by another run"):
                quiet_train(experiment(reviews), tmp_path)

    def test_a_file_in_the_place_of_the_checkpoints_is_refused(
        self, reviews: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "checkpoints").write_text("mine")
        with pytest.raises(InputError, match="checkpoints cannot be written: File exists"):
            quiet_train(experiment(reviews), tmp_path, resume=True)

    def test_resuming_when_the_reviews_are_gone_is_refused(
        self, reviews: Path, tmp_path: Path
    ) -> None:
        moved = tmp_path / "moved"
        shutil.copytree(reviews, moved)
        quiet_train(experiment(moved, epochs=1), tmp_path / "run")
        shutil.rmtree(moved)
        before = self.untouched(tmp_path / "run")
        with pytest.raises(InputError, match=r"`data_dir` .* is not a directory"):
            quiet_train(experiment(moved, epochs=2), tmp_path / "run", resume=True)
        with pytest.raises(InputError, match=r"`data_dir` .* is not a directory"):
            load(tmp_path / "run").evaluate()
        assert self.untouched(tmp_path / "run") == before

    def test_resume_where_there_is_no_run_yet_starts_one(
        self, reviews: Path, tmp_path: Path
    ) -> None:
        result, _ = quiet_train(experiment(reviews, epochs=1), tmp_path / "new", resume=True)
        assert result["epochs"] == 1


def test_a_loss_that_is_not_finite_in_an_evaluation_ends_the_run(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Trainer, "evaluate", lambda *args: Evaluation(float("nan"), 0.5, *[np.zeros(0)] * 2)
    )
    with pytest.raises(InputError, match="the loss on the test split after epoch 1 is nan: in a"):
        quiet_train(experiment(reviews), tmp_path)


def with_vectors(reviews: Path, path: Any, runs: int = 1, **options: Any) -> ExperimentConfig:
    """An epoch with a frozen embedding from the vectors in a file, or without one."""
    config = experiment(reviews, epochs=1, runs=runs)
    options = {"embeddings": path, "freeze_embeddings": path is not None, **options}
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **options))


@pytest.fixture(scope="module")
def begun(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A file of vectors, and a run that began with it."""
    directory = tmp_path_factory.mktemp("vectors")
    path = few_vectors.write(directory / "v.txt")
    quiet_train(with_vectors(reviews, path), directory / "run")
    return path, directory / "run"


class TestWordVectors:
    """An embedding that begins with the vectors of a file."""

    def embedding(self, workdir: Path) -> dict[str, np.ndarray]:
        model = load(workdir)
        rows = np.asarray(model.state.params["embedding"]["embedding"])
        return dict(zip(model.vocabulary.words, rows[3:], strict=False))

    def test_each_seed_has_those_of_the_file_to_the_bit_and_other_words_of_its_own(
        self, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = few_vectors.write(tmp_path / "v.txt")
        config = with_vectors(reviews, path, runs=2, weight_decay=0.1)
        _, console = quiet_train(config, tmp_path / "run")
        assert f"{path}: vectors of 6 features for 7 of 11 words, which make up 5" in console
        assert "the embedding has 6 features like them, not 8" in console
        assert capsys.readouterr().err == ""
        first, second = (self.embedding(tmp_path / "run" / f"seed-{seed}") for seed in (7, 8))
        assert first.keys() > few_vectors.read(path).keys()
        for word, vector in few_vectors.read(path).items():
            np.testing.assert_array_equal(first[word], vector)
            np.testing.assert_array_equal(second[word], vector)
        for word in first.keys() - set(few_vectors.WORDS):
            assert np.all(first[word] != second[word])
            assert np.abs(first[word]).max() <= 0.05
        saved = load_config(tmp_path / "run" / "config.json")
        assert saved.model.embedding_features == 6
        assert saved.training.embeddings == str(path)
        assert saved.training.embeddings_digest == hashlib.sha256(path.read_bytes()).hexdigest()

    def test_a_run_goes_on_without_the_file(
        self, reviews: Path, begun: tuple[Path, Path], tmp_path: Path
    ) -> None:
        path = tmp_path / "v.txt"
        shutil.copy(begun[0], path)
        with dying_after(7):
            saving = CheckpointConfig(checkpoint_steps=5)
            quiet_train(with_vectors(reviews, path), tmp_path / "run", checkpoints=saving)
        path.unlink()
        quiet_train(with_vectors(reviews, path), tmp_path / "run", resume=True)
        assert_same_run(tmp_path / "run", begun[1])

    @pytest.mark.parametrize("damaged", [False, True])
    def test_a_run_without_a_good_checkpoint_begins_with_the_same_file_again(
        self, reviews: Path, begun: tuple[Path, Path], tmp_path: Path, damaged: bool
    ) -> None:
        path = tmp_path / "v.txt"
        shutil.copy(begun[0], path)
        config = with_vectors(reviews, path)
        with dying_after(7):
            saving = CheckpointConfig(checkpoint_steps=5 if damaged else None)
            quiet_train(config, tmp_path / "run", checkpoints=saving)
        if damaged:
            (tmp_path / "run" / "checkpoints" / "5" / "SHA256SUMS").write_text("")
        few_vectors.write(path, seed=1)
        with pytest.raises(InputError, match="is another file than `embeddings_digest` says"):
            quiet_train(config, tmp_path / "run", resume=True)
        shutil.copy(begun[0], path)
        quiet_train(config, tmp_path / "run", resume=True)
        assert_same_run(tmp_path / "run", begun[1])

    def test_a_run_goes_on_with_the_same_vectors_alone(
        self,
        reviews: Path,
        begun: tuple[Path, Path],
        finished: tuple[Path, dict, str],
        tmp_path: Path,
    ) -> None:
        shutil.copytree(begun[1], run := tmp_path / "run")
        others = few_vectors.write(tmp_path / "w.txt", seed=1)
        for directory, embeddings, message in (
            (run, others, r"w\.txt is another file of word vectors than .* with .*v\.txt"),
            (run, None, r"`embeddings` None is not what the run was started with .*v\.txt"),
            (run, tmp_path, r"is a directory, not a file"),
            (finished[0], others, r"w\.txt is not what the run was started with \(None\)"),
        ):
            config = with_vectors(reviews, embeddings, epochs=3)
            with pytest.raises(InputError, match=message):
                quiet_train(config, directory, resume=True)
        moved = tmp_path / "moved.txt.gz"
        moved.write_bytes(gzip.compress(begun[0].read_bytes()))
        quiet_train(with_vectors(reviews, moved, epochs=2), run, resume=True)
        assert load_config(run / "config.json").training.embeddings == str(moved)

    def test_what_covers_little_is_warned_of(
        self, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "v.txt"
        path.write_text("good 1 2\nnobody 3 4\n")
        config = with_vectors(reviews, path)
        show_word_vectors(config, load_dataset(config.data), Report(Console(quiet=True)))
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(
            "warning: only 5.0% of the words of the training texts have a vector"
        )

    def test_numeric_sequences_have_no_words(self, reviews: Path, tmp_path: Path) -> None:
        config = with_vectors(reviews, few_vectors.write(tmp_path / "v.txt"))
        dataset = load_dataset(config.data)
        with (
            mock.patch.object(DatasetInfo, "task", Task(2, features=3)),
            pytest.raises(InputError, match="has no effect: numeric sequences have no words"),
        ):
            config.read_word_vectors(dataset)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("good 1 2\nbad 1\n", "--embeddings {path}: line 2 has 1 instead of 2 numbers"),
            (None, "{path} cannot be read: No such file"),
        ],
    )
    def test_bad_ones_are_one_line_and_nothing_is_written(
        self,
        reviews: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        content: str | None,
        message: str,
    ) -> None:
        path, run = tmp_path / "v.txt", tmp_path / "run"
        if content is not None:
            path.write_text(content)
        flags = ["--data-dir", str(reviews), "--embeddings", str(path), "--workdir", str(run)]
        assert main(["train", *flags]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert message.format(path=path) in line
        assert not run.exists()

    def test_missing_ones_are_noticed_before_the_texts_are_read(
        self, reviews: Path, tmp_path: Path
    ) -> None:
        config = with_vectors(reviews, tmp_path / "v.txt")
        with (
            mock.patch("flax_imdb.experiment.load_dataset", side_effect=AssertionError),
            pytest.raises(InputError, match=r"v\.txt cannot be read: No such file"),
        ):
            quiet_train(config, tmp_path / "run")


class TestSynthetic:
    def test_every_file_says_that_the_reviews_are_synthetic(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = dataclasses.replace(
            experiment(tmp_path, epochs=1, arch="lstm"),
            data=fake_reviews.config(
                tmp_path, data_dir=None, dataset="synthetic", train_examples=16, test_examples=16
            ),
        )
        workdir = tmp_path / "run"
        result, console = quiet_train(config, workdir)
        assert result["dataset"] == "synthetic"
        assert console.count("SYNTHETIC REVIEWS") == 2
        for name in ("config.json", "metrics.jsonl", "result.json", "vocabulary.json"):
            assert "synthetic" in (workdir / name).read_text().lower()


class TestCheckpoints:
    def test_a_run_that_dies_goes_on_from_the_newest_whole_one(
        self,
        reviews: Path,
        finished: tuple[Path, dict, str],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        saving = CheckpointConfig(checkpoint_steps=5, keep_checkpoints=2)
        with dying_after(STEPS + 9):
            quiet_train(experiment(reviews, epochs=3), tmp_path, checkpoints=saving)
        steps = {int(p.name) for p in (tmp_path / "checkpoints").glob("[0-9]*")}
        assert steps == {STEPS, 15, 20}
        # A process that is killed between a checkpoint and its checksums leaves such a one.
        (tmp_path / "checkpoints" / "20" / "SHA256SUMS").unlink()
        _, console = quiet_train(experiment(reviews, epochs=3), tmp_path, resume=True)
        said = capsys.readouterr().err
        assert said.startswith("warning: the checkpoint ")
        assert said.endswith("/20 is damaged: it has no SHA256SUMS: writing it was not finished\n")
        assert "resumed after step 15, in epoch 2" in console
        assert_same_run(tmp_path, finished[0])

    def test_a_finished_run_whose_checkpoint_is_damaged_is_made_whole(
        self, reviews: Path, finished: tuple[Path, dict, str], tmp_path: Path
    ) -> None:
        config = experiment(reviews, epochs=3)
        quiet_train(config, tmp_path)
        path = tmp_path / "checkpoints" / str(3 * STEPS) / "state" / "manifest.ocdbt"
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(InputError, match=r"/36 is damaged: .*manifest.ocdbt has other bytes"):
            load(tmp_path)
        quiet_train(config, tmp_path, resume=True)
        assert_same_run(tmp_path, finished[0])

    def test_checkpoints_that_are_gone_are_missed(self, reviews: Path, tmp_path: Path) -> None:
        config = experiment(reviews, epochs=1)
        quiet_train(config, tmp_path)
        for path in (tmp_path / "checkpoints").iterdir():
            path.rename(tmp_path / f"mine-{path.name}")
        with pytest.raises(
            InputError, match=r"it is empty., but 1 epochs in metrics.jsonl had one"
        ):
            quiet_train(config, tmp_path, resume=True)
