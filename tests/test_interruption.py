"""Signals: a run saves and stops, and goes on as if nothing had been."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_reviews
import jax
import numpy as np
import pytest
from fake_reviews import quiet_train
from faults import untimed

from flax_imdb.config import ExperimentConfig
from flax_imdb.errors import InputError, Interrupted
from flax_imdb.models import ModelConfig
from flax_imdb.predict import load
from flax_imdb.report import TrainingReport
from flax_imdb.training import Progress, TrainConfig, Trainer, catch_signals
from flax_imdb.training.checkpoints import CheckpointConfig

STEPS = 12  # of an epoch
CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_reviews.write(tmp_path_factory.mktemp("reviews"))


def experiment(reviews: Path, epochs: int = 3, **training: Any) -> ExperimentConfig:
    return ExperimentConfig(
        model=ModelConfig("lstm_dropout", embedding_features=8, features=8),
        data=fake_reviews.config(reviews, validation_examples=0),
        training=TrainConfig(epochs=epochs, batch_size=8, learning_rate=0.02, **training),
    )


@pytest.fixture(scope="module")
def never_stopped(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("never") / "run"
    quiet_train(experiment(reviews), workdir)
    return workdir


def assert_same_run(workdir: Path, other: Path) -> None:
    ours, theirs = load(workdir).state, load(other).state
    jax.tree.map(
        np.testing.assert_array_equal,
        (ours.step, ours.params, ours.opt_state),
        (theirs.step, theirs.params, theirs.opt_state),
    )
    assert untimed(workdir) == untimed(other)


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[[signal.Signals, int], None]:
    """Send a signal to this process after so many steps of a run."""

    def arrange(number: signal.Signals, step: int) -> None:
        count = 0
        before = TrainingReport.step

        def after_step(self: TrainingReport, progress: Progress) -> None:
            nonlocal count
            count += 1
            if count == step:
                os.kill(os.getpid(), number)
            before(self, progress)

        monkeypatch.setattr(TrainingReport, "step", after_step)

    return arrange


class TestASignal:
    @pytest.mark.parametrize(
        ("number", "step", "saved"),
        [
            (signal.SIGTERM, 5, 6),
            (signal.SIGINT, STEPS - 1, STEPS),
            (signal.SIGTERM, STEPS, STEPS),
            (signal.SIGHUP, 2 * STEPS + 3, 2 * STEPS + 4),
        ],
    )
    def test_saves_the_step_and_the_run_goes_on_as_if_it_had_not_come(
        self,
        reviews: Path,
        never_stopped: Path,
        interrupt: Callable[[signal.Signals, int], None],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        number: signal.Signals,
        step: int,
        saved: int,
    ) -> None:
        """The step that has been started when it comes is finished, and saved.

        After the last step of an epoch its evaluation is given up, and made when the run goes on.
        """
        interrupt(number, step)
        handlers = [signal.getsignal(each) for each in CAUGHT]
        with pytest.raises(Interrupted) as raised:
            quiet_train(experiment(reviews), tmp_path)
        assert raised.value.signal == number
        assert str(raised.value) == f"stopped by {number.name}"
        assert [signal.getsignal(each) for each in CAUGHT] == handlers
        assert max(int(p.name) for p in (tmp_path / "checkpoints").glob("[0-9]*")) == saved
        finished = (saved - 1) // STEPS if saved % STEPS == 0 else saved // STEPS
        assert len(untimed(tmp_path)) == finished
        monkeypatch.undo()
        _, console = quiet_train(experiment(reviews), tmp_path, resume=True)
        assert f"resumed after step {saved}, in epoch {finished + 1}" in console
        assert_same_run(tmp_path, never_stopped)

    def test_of_a_run_with_nothing_left_but_its_test(
        self, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With validation rows the test split is looked at once, at the end."""
        config = experiment(reviews, epochs=1)
        config = type(config)(
            model=config.model,
            data=fake_reviews.config(reviews, validation_examples=24),
            training=config.training,
        )
        evaluate = Trainer.evaluate

        def evaluate_test(self: Trainer, state: Any, examples: Any, interruption: Any) -> Any:
            if len(examples) == 40:
                os.kill(os.getpid(), signal.SIGTERM)
            return evaluate(self, state, examples, interruption)

        monkeypatch.setattr(Trainer, "evaluate", evaluate_test)
        with pytest.raises(Interrupted):
            quiet_train(config, tmp_path)
        assert not (tmp_path / "result.json").exists()
        monkeypatch.undo()
        result, _ = quiet_train(config, tmp_path, resume=True)
        assert load(tmp_path).evaluate() == (result["test_loss"], result["test_accuracy"])

    def test_on_another_number_of_devices(
        self,
        reviews: Path,
        interrupt: Callable[[signal.Signals, int], None],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        """The batches are the same, and their sums but for rounding."""
        from flax_imdb import devices

        config = experiment(reviews, epochs=1)
        quiet_train(config, tmp_path / "one")
        interrupt(signal.SIGTERM, 5)
        with pytest.raises(Interrupted):
            quiet_train(config, tmp_path / "both")
        monkeypatch.undo()
        monkeypatch.setattr(devices, "_ROWS_PER_CPU", 2)
        result, _ = quiet_train(config, tmp_path / "both", resume=True)
        assert result["devices"] == 4
        (ours,), (theirs,) = untimed(tmp_path / "both"), untimed(tmp_path / "one")
        assert ours.keys() == theirs.keys()
        np.testing.assert_allclose(ours["train_loss"], theirs["train_loss"], rtol=1e-5)
        np.testing.assert_allclose(ours["eval_loss"], theirs["eval_loss"], rtol=1e-4)

    def test_another_one_ends_the_process_at_once(self) -> None:
        code = """
import os, signal
from flax_imdb.training import catch_signals
with catch_signals() as interruption:
    os.kill(os.getpid(), signal.SIGINT)
    assert interruption.requested()
    print("first", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    print("second")
"""
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == -signal.SIGTERM
        assert done.stdout == "first\n"
        assert done.stderr == "\nSIGINT: saving; once more ends it at once\n"

    def test_nobody_may_be_listening(self) -> None:
        """As where a pipe's other end got the Ctrl-C, too."""
        code = """
import os, signal
from flax_imdb.training import catch_signals
os.dup2(os.open("/dev/full", os.O_WRONLY), 2)
with catch_signals() as interruption:
    os.kill(os.getpid(), signal.SIGINT)
    assert interruption.requested()
"""
        subprocess.run([sys.executable, "-c", code], check=True)

    @pytest.mark.parametrize("number", CAUGHT)
    def test_that_is_ignored_stays_ignored(self, number: signal.Signals) -> None:
        """As SIGHUP is under nohup, and SIGINT in a shell script's `command &`."""
        before = signal.signal(number, signal.SIG_IGN)
        try:
            with catch_signals() as interruption:
                os.kill(os.getpid(), number)
                assert not interruption.requested()
                assert signal.getsignal(number) == signal.SIG_IGN
                os.kill(os.getpid(), next(each for each in CAUGHT if each != number))
                assert interruption.requested()
                assert signal.getsignal(number) == signal.SIG_IGN
        finally:
            signal.signal(number, before)

    def test_nothing_is_caught_outside_the_main_thread(self) -> None:
        requested: list[bool] = []

        def in_thread() -> None:
            with catch_signals() as interruption:
                requested.append(interruption.requested())

        handler = signal.getsignal(signal.SIGTERM)
        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()
        assert requested == [False]
        assert signal.getsignal(signal.SIGTERM) == handler


class TestCheckpointsWithinAnEpoch:
    def test_a_run_that_dies_goes_on_from_the_newest(
        self,
        reviews: Path,
        never_stopped: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        step, count = TrainingReport.step, 0

        def die(self: TrainingReport, progress: Progress) -> None:
            nonlocal count
            count += 1
            if count == STEPS + 9:
                raise ZeroDivisionError
            step(self, progress)

        monkeypatch.setattr(TrainingReport, "step", die)
        saving = CheckpointConfig(checkpoint_steps=5, keep_checkpoints=2)
        with pytest.raises(ZeroDivisionError):
            quiet_train(experiment(reviews), tmp_path, checkpoints=saving)
        monkeypatch.undo()
        steps = {int(p.name) for p in (tmp_path / "checkpoints").glob("[0-9]*")}
        assert steps == {STEPS, 15, 20}
        # A process that is killed between a checkpoint and its digests leaves such a one.
        (tmp_path / "checkpoints" / "20" / "SHA256SUMS").unlink()
        _, console = quiet_train(experiment(reviews), tmp_path, resume=True)
        said = capsys.readouterr().err
        assert said.startswith("warning: the checkpoint ")
        assert said.endswith("/20 is damaged: it has no SHA256SUMS: writing it was not finished\n")
        assert "resumed after step 15, in epoch 2" in console
        assert_same_run(tmp_path, never_stopped)

    def test_a_finished_run_whose_checkpoint_is_damaged_is_made_whole(
        self, reviews: Path, never_stopped: Path, tmp_path: Path
    ) -> None:
        config = experiment(reviews)
        quiet_train(config, tmp_path)
        path = tmp_path / "checkpoints" / str(3 * STEPS) / "state" / "manifest.ocdbt"
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(InputError, match=r"/36 is damaged: .*manifest.ocdbt has other bytes"):
            load(tmp_path)
        quiet_train(config, tmp_path, resume=True)
        assert_same_run(tmp_path, never_stopped)

    def test_checkpoints_that_are_gone_are_missed(self, reviews: Path, tmp_path: Path) -> None:
        config = experiment(reviews, epochs=1)
        quiet_train(config, tmp_path)
        for path in (tmp_path / "checkpoints").iterdir():
            path.rename(tmp_path / f"mine-{path.name}")
        with pytest.raises(
            InputError, match=r"it is empty., but 1 epochs in metrics.jsonl had one"
        ):
            quiet_train(config, tmp_path, resume=True)

    def test_nothing_that_is_read_is_executed(self, never_stopped: Path) -> None:
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
        subprocess.run([sys.executable, "-c", code, str(never_stopped)], check=True)
