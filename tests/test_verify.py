"""Whether a run repeats: what is compared, what is found, and what cannot be repeated."""

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import few_vectors
import jax
import numpy as np
import pytest
import verification
from permissions import denied
from small_runs import dying_after, experiment, quiet_train

from flax_imdb import cli
from flax_imdb import experiment as experiments
from flax_imdb import verify as module
from flax_imdb.config import ExperimentConfig
from flax_imdb.data import DataConfig
from flax_imdb.errors import InputError, Preempted
from flax_imdb.models import ModelConfig
from flax_imdb.start import start_from
from flax_imdb.training import Trainer
from flax_imdb.training.checkpoints import CheckpointConfig
from flax_imdb.verify import Difference, Verification, verify

OFTEN = CheckpointConfig(checkpoint_steps=5)


@pytest.fixture(scope="module")
def run(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs of 12 steps, with a checkpoint within the second."""
    run = tmp_path_factory.mktemp("verified") / "run"
    quiet_train(experiment(reviews), run, checkpoints=OFTEN, baseline=True)
    return run


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def content(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


class TestVerify:
    def test_a_run_has_the_same_bits_and_is_left_as_it_is(
        self, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        before = content(run)
        with denied(run / "checkpoints", 0o500), denied(run, 0o500):
            found = verify(run)
        assert found.identical
        assert found.same
        assert (found.steps, found.checkpoints) == (24, 4)  # 12, 15, 20 and 24.
        assert found.lines()[0] == "the same bits"
        assert not found.environment
        assert content(run) == before
        assert list(tmp_path.iterdir()) == []

    def test_the_last_epoch_alone_begins_with_its_checkpoint(self, copy: Path) -> None:
        shutil.rmtree(copy / "checkpoints" / "15")
        found = verify(copy, last_epoch=True)
        assert found.identical
        assert (found.steps, found.checkpoints) == (12, 2)

    def test_what_was_changed_is_named_with_the_first_place(self, copy: Path) -> None:
        for name in (
            "the last digit of a loss in `steps.jsonl`",
            "that of a loss in `metrics.jsonl`",
            "the test accuracy in `result.json`",
            "a bit of a parameter, with right checksums",
        ):
            verification.ALTERATIONS[name](copy)
        found = verify(copy)
        assert [(each.file, each.name, each.step) for each in found.differences] == [
            ("steps.jsonl", "loss of step 11", 11),
            ("checkpoints/24", "params/head/bias has other bits", 24),
            ("metrics.jsonl", "eval_loss of epoch 1", None),
            ("result.json", "test_accuracy", None),
        ]
        loss, parameter, _, accuracy = found.differences
        recorded = json.loads((copy / "steps.jsonl").read_text().splitlines()[10])["loss"]
        assert loss.recorded == recorded == np.nextafter(loss.repeated, 1)
        assert parameter.by is not None
        assert 0 < parameter.by < 1e-6
        assert accuracy.by == pytest.approx(0.001)
        assert found.largest["figures"] == accuracy.by
        assert not found.identical

    def test_within_the_tolerance_it_is_the_same_but_not_in_bits(
        self, copy: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Also of a version that did not record where it was trained."""

        def older(result: dict[str, Any]) -> None:
            del result["segments"]
            result["versions"]["jax"] = "0.9.9"

        verification.ALTERATIONS["that of a loss in `metrics.jsonl`"](copy)
        verification.ALTERATIONS["a bit of a parameter, with right checksums"](copy)
        verification.in_json(copy / "result.json", older)
        args = ["verify", "--workdir", str(copy), "--last-epoch", "--tolerance", "1e-6"]
        assert cli.main([*args, "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["same"]
        assert not said["identical"]
        assert said["environment"] == {"jax": ["0.9.9", jax.__version__]}
        assert said["differences"] == []
        assert 0 < said["largest"]["parameters"] < 1e-6
        assert said["notes"] == [
            "an older version made the run, and did not record whether it went on elsewhere: it is "
            "repeated in one go, on 1 x cpu"
        ]

    @pytest.mark.long
    def test_a_run_that_went_on_elsewhere_is_repeated_there(
        self, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = experiment(reviews, epochs=1)
        on(monkeypatch, 1)
        with dying_after(8):
            quiet_train(config, tmp_path / "run", checkpoints=OFTEN)
        on(monkeypatch, 2)
        quiet_train(config, tmp_path / "run", resume=True)
        monkeypatch.undo()
        segments = json.loads((tmp_path / "run" / "result.json").read_text())["segments"]
        assert [(each["step"], each["environment"]["devices"]) for each in segments] == [
            (0, "1 x cpu"),
            (5, "2 x cpu"),
        ]
        assert verify(tmp_path / "run").identical

    @pytest.mark.long
    def test_a_run_that_was_cut_anywhere_is_repeated_part_by_part(
        self,
        reviews: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Within an epoch, in its evaluation, between two epochs, and in the final test."""
        config = experiment(reviews, epochs=3, validation_examples=24)  # 9 steps an epoch.
        run = tmp_path / "run"
        on(monkeypatch, 1)
        with dying_after(8):
            quiet_train(config, run, checkpoints=OFTEN)
        for devices, examples, number in ((2, 24, 1), (4, 24, 2), (2, 40, 1)):
            with monkeypatch.context() as patch:
                on(patch, devices)
                stop_in_evaluation(patch, examples, number)
                with pytest.raises(Preempted):
                    quiet_train(config, run, resume=True)
        on(monkeypatch, 1)
        quiet_train(config, run, resume=True)
        monkeypatch.undo()
        segments = json.loads((run / "result.json").read_text())["segments"]
        assert [
            (each["step"], each["epochs"], each["environment"]["devices"]) for each in segments
        ] == [
            (0, 0, "1 x cpu"),
            (5, 0, "2 x cpu"),
            (9, 0, "4 x cpu"),
            (18, 1, "2 x cpu"),
            (27, 3, "1 x cpu"),
        ]
        capsys.readouterr()
        assert verify(run).identical
        assert verify(run, last_epoch=True).identical
        assert "warning" not in capsys.readouterr().err
        one_go = verify(run, device="cpu")
        assert one_go.differences[0].step in range(6, 10)  # Roundings may agree for a while.
        assert one_go.environment == {"devices": ("2 x cpu, 4 x cpu", "1 x cpu")}
        assert verify(run, device="cpu", tolerance=0.05).same

    @pytest.mark.long
    def test_each_of_several_seeds_is_repeated(self, reviews: Path, tmp_path: Path) -> None:
        run = tmp_path / "run"
        quiet_train(experiment(reviews, epochs=1, runs=2), run)
        moved = shutil.copytree(reviews, tmp_path / "moved")
        assert verify(run, moved={"data_dir": str(moved)}).identical
        verification.in_json(
            run / "summary.json", verification.set_to("test_accuracy_std", lambda _: 0.25)
        )
        verification.in_json(
            run / "seed-8" / "steps.jsonl",
            verification.set_to("gradient_norm", lambda norm: 2 * norm),
            line=3,
        )
        found = verify(run, last_epoch=True)
        assert [(each.file, each.name) for each in found.differences] == [
            ("seed-8/steps.jsonl", "gradient_norm of step 4"),
            ("summary.json", "test_accuracy_std"),
        ]

    @pytest.mark.long
    def test_another_seed_and_a_damaged_checkpoint_differ(self, copy: Path) -> None:
        verification.ALTERATIONS["the seed in `config.json`"](copy)
        found = verify(copy)
        assert found.differences[0].step == 1
        assert "`seed` is 7 in it and 8 here" in found.differences[1].name


def on(patch: pytest.MonkeyPatch, number: int) -> None:
    """Train on so many devices."""
    patch.setattr(experiments, "select_devices", lambda *_: jax.devices()[:number])


def stop_in_evaluation(patch: pytest.MonkeyPatch, examples: int, number: int) -> None:
    """Send SIGTERM when a split of so many examples is evaluated for this time."""
    evaluate, count = Trainer.evaluate, 0

    def stop(self: Trainer, state: Any, split: Any, *after: Any) -> Any:
        nonlocal count
        count += len(split) == examples
        if len(split) == examples and count == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(self, state, split, *after)

    patch.setattr(Trainer, "evaluate", stop)


class TestWhatCannotBeRepeated:
    def refused(self, run: Path, match: str, **options: Any) -> None:
        with pytest.raises(InputError, match=match):
            verify(run, **options)

    def test_is_what_is_no_finished_run(self, copy: Path, tmp_path: Path) -> None:
        self.refused(tmp_path / "none", "holds no run: name a directory that train.py made")
        config = (copy / "config.json").read_text()
        (copy / "config.json").write_text(config.replace('"epochs": 2', '"epochs": 3'))
        self.refused(copy, "holds a run that has not finished: `resume` it first")
        (copy / "config.json").write_text(config)
        result = (copy / "result.json").read_text()
        for text, reason in (
            ("{", "is damaged: what it said cannot be verified"),
            ("{}", "lacks figures, as those of older versions do"),
            (result.replace('"step": 0', '"step": "x"'), "its segments make no sense"),
            (result.replace('"devices": "1 x cpu"', '"devices": "cpu"'), "make no sense"),
        ):
            (copy / "result.json").write_text(text)
            self.refused(copy, reason)
        (copy / "result.json").unlink()
        self.refused(copy, "has not finished")

    def test_is_a_run_whose_texts_are_gone_or_others(self, run: Path, tmp_path: Path) -> None:
        import fake_reviews

        others = fake_reviews.write(tmp_path, train=95)
        self.refused(run, "holds other texts than", moved={"data_dir": str(others)})
        self.refused(run, "none", moved={"data_dir": str(tmp_path / "none")})
        self.refused(run, "`init_from` x has no effect: the run had none", moved={"init_from": "x"})

    def test_is_a_last_epoch_without_the_checkpoint_that_it_began_with(self, copy: Path) -> None:
        checkpoint = copy / "checkpoints" / "12"
        (checkpoint / "SHA256SUMS").write_text("x")
        self.refused(copy, "`last_epoch` has nothing to begin with: the check", last_epoch=True)
        shutil.rmtree(checkpoint)
        self.refused(copy, "no checkpoint of step 12, the end of epoch 1", last_epoch=True)

    def test_is_a_run_on_devices_that_are_not_here(self, copy: Path) -> None:
        result = (copy / "result.json").read_text()
        for there, here in (
            ("9 x cpu", "4 x cpu"),
            ("0 x cpu", "4 x cpu"),
            ("1 x TPU v4", "none but CPUs"),
        ):
            (copy / "result.json").write_text(result.replace("1 x cpu", there))
            self.refused(copy, f"on {there}, and JAX .* has {here} here")

    def test_is_a_tolerance_that_is_none(self, run: Path) -> None:
        for tolerance in (-1, float("nan"), float("inf"), True):
            self.refused(run, "makes no sense: a finite number from 0", tolerance=tolerance)


class TestCommand:
    @pytest.mark.parametrize(
        ("found", "status", "said"),
        [
            (
                Verification(True, (), 0.0, {"steps": 0.0}, 3, 1, {}, ("a",), 1.0),
                0,
                ["the same bits", "repeated 3 steps, and compared 1 checkpoint, in 1.0 s"],
            ),
            (
                Verification(
                    False,
                    (Difference("steps.jsonl", "loss of step 2", 0.5, 0.75, 0.25, 2),),
                    0.0,
                    {"steps": 0.25, "figures": 0.0},
                    steps=3,
                    checkpoints=1,
                    environment={"jax": ("1", "2")},
                    notes=(),
                    seconds=1.0,
                ),
                1,
                [
                    "steps.jsonl: loss of step 2 was 0.5 and is 0.75: a difference of 0.25",
                    "the largest difference of steps: 0.25",
                    "repeated 3 steps, and compared 1 checkpoint, in 1.0 s",
                    "other than recorded: jax 2 (was 1)",
                    "so it may round differently: --tolerance says how much may differ",
                ],
            ),
            (
                Verification(False, (), 0.1, {"steps": 0.01}, 3, 1, {}, (), 1.0),
                0,
                ["the same within 0.1: no difference is above 0.01"],
            ),
        ],
    )
    def test_the_first_line_says_it_and_the_status(
        self,
        found: Verification,
        status: int,
        said: list[str],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def verify(*_: Any, **__: Any) -> Verification:
            print("what a library prints")
            return found

        monkeypatch.setattr(module, "verify", verify)
        assert cli.main(["verify", "--workdir", "x"]) == status
        assert capsys.readouterr().out.splitlines()[: len(said)] == said
        assert cli.main(["verify", "--workdir", "x", "--json"]) == status
        assert json.loads(capsys.readouterr().out)["same"] == (status == 0)

    @pytest.mark.parametrize(
        ("flags", "reason"),
        [
            ([], "--workdir none holds no run"),
            (["--tolerance", "-1"], "--tolerance -1.0 makes no sense"),
            (["--device", "abacus"], "invalid choice"),
        ],
    )
    def test_bad_input_is_one_line(
        self, flags: list[str], reason: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["verify", "--workdir", "none", *flags]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert reason in said
        assert said.count("\n") == 1


def early(config: ExperimentConfig, directory: Path) -> ExperimentConfig:
    """It stops after the second epoch, and reports the first."""
    training = dataclasses.replace(config.training, epochs=9, patience=1, learning_rate=1e-9)
    data = dataclasses.replace(config.data, validation_examples=24)
    return dataclasses.replace(config, data=data, training=training)


def several_labels(config: ExperimentConfig, directory: Path) -> ExperimentConfig:
    """With thresholds, n-grams, adversarial training, a schedule and weight decay."""
    rng = np.random.default_rng(0)
    file = directory / "several.csv"
    rows = [rng.permutation(["calm", "dark", "film"])[: 1 + i % 3].tolist() for i in range(90)]
    lines = (f"{' '.join(words)},{'|'.join({*words} - {'film'} or ['none'])}" for words in rows)
    file.write_text("text,label\n" + "".join(f"{line}\n" for line in lines))
    data = DataConfig(dataset=str(file), multi_label=True, validation_examples=16, max_length=8)
    training = dataclasses.replace(
        config.training, adversarial_norm=0.1, schedule="cosine", weight_decay=0.01
    )
    model = dataclasses.replace(config.model, wide_ngrams=2, wide_buckets=100, word_dropout=0.1)
    return dataclasses.replace(config, model=model, data=data, training=training)


def sequences(config: ExperimentConfig, directory: Path) -> ExperimentConfig:
    """Numeric, in windows, with weights of the classes."""
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(60, 9, 2)), np.arange(60) % 3 // 2
    np.savez(directory / "a.npz", inputs=inputs, labels=labels)
    data = DataConfig(dataset=str(directory / "a.npz"), max_length=6, long="windows")
    training = dataclasses.replace(config.training, class_weights="balanced", averaging=None)
    model = ModelConfig("bilstm", features=8)
    return dataclasses.replace(config, model=model, data=data, training=training)


def vectors(config: ExperimentConfig, directory: Path) -> ExperimentConfig:
    """From word vectors, frozen."""
    file = few_vectors.write(directory / "vectors.txt", width=8)
    training = dataclasses.replace(config.training, embeddings=str(file), freeze_embeddings=True)
    return dataclasses.replace(config, training=training)


def going_on(config: ExperimentConfig, directory: Path) -> ExperimentConfig:
    """From another run, with new heads and a recipe's name."""
    config = dataclasses.replace(config, recipe="tutorial")
    quiet_train(config, directory / "old")
    data = dataclasses.replace(config.data, dataset="imdb_reviews", train_examples=64)
    return dataclasses.replace(
        start_from(directory / "old"), data=data, training=config.training, new_head=True
    )


@pytest.mark.long
@pytest.mark.parametrize("kind", [early, several_labels, sequences, vectors, going_on])
def test_a_run_of_any_kind_is_repeated(
    kind: Callable[[ExperimentConfig, Path], ExperimentConfig], reviews: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    quiet_train(kind(experiment(reviews), tmp_path), run, checkpoints=OFTEN)
    assert verify(run).identical
    assert verify(run, last_epoch=True).identical
