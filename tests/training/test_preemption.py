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
import numpy as np
import pytest
from faults import untimed
from small_runs import STEPS, assert_same_run, experiment, quiet_train

from flax_imdb.errors import Preempted
from flax_imdb.predict import load
from flax_imdb.report import TrainingReport
from flax_imdb.training import Progress, Trainer, catch_signals

CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(scope="module")
def never_stopped(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("never") / "run"
    quiet_train(experiment(reviews, epochs=3), workdir)
    return workdir


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


class TestSignals:
    @pytest.mark.parametrize(
        ("number", "step", "saved"),
        [
            (signal.SIGTERM, 5, 6),
            (signal.SIGINT, STEPS - 1, STEPS),
            (signal.SIGTERM, STEPS, STEPS),
            (signal.SIGHUP, 2 * STEPS + 3, 2 * STEPS + 4),
        ],
    )
    def test_a_signal_saves_the_step_and_the_run_goes_on_as_if_it_had_not_come(
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
        with pytest.raises(Preempted) as raised:
            quiet_train(experiment(reviews, epochs=3), tmp_path)
        assert raised.value.signal == number
        assert str(raised.value) == f"stopped by {number.name}"
        assert [signal.getsignal(each) for each in CAUGHT] == handlers
        assert max(int(p.name) for p in (tmp_path / "checkpoints").glob("[0-9]*")) == saved
        finished = (saved - 1) // STEPS if saved % STEPS == 0 else saved // STEPS
        assert len(untimed(tmp_path)) == finished
        monkeypatch.undo()
        _, console = quiet_train(experiment(reviews, epochs=3), tmp_path, resume=True)
        assert f"resumed after step {saved}, in epoch {finished + 1}" in console
        assert_same_run(tmp_path, never_stopped)

    def test_a_run_stopped_in_its_test_is_tested_when_it_goes_on(
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

        def evaluate_test(self: Trainer, state: Any, examples: Any, after_batch: Any) -> Any:
            if len(examples) == 40:
                os.kill(os.getpid(), signal.SIGTERM)
            return evaluate(self, state, examples, after_batch)

        monkeypatch.setattr(Trainer, "evaluate", evaluate_test)
        with pytest.raises(Preempted):
            quiet_train(config, tmp_path)
        assert not (tmp_path / "result.json").exists()
        monkeypatch.undo()
        result, _ = quiet_train(config, tmp_path, resume=True)
        assert load(tmp_path).evaluate() == (result["test_loss"], result["test_accuracy"])

    def test_a_stopped_run_goes_on_with_another_number_of_devices(
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
        with pytest.raises(Preempted):
            quiet_train(config, tmp_path / "both")
        monkeypatch.undo()
        monkeypatch.setattr(devices, "_ROWS_PER_CPU", 2)
        result, _ = quiet_train(config, tmp_path / "both", resume=True)
        assert result["devices"] == 4
        (ours,), (theirs,) = untimed(tmp_path / "both"), untimed(tmp_path / "one")
        assert ours.keys() == theirs.keys()
        np.testing.assert_allclose(ours["train_loss"], theirs["train_loss"], rtol=1e-5)
        np.testing.assert_allclose(ours["eval_loss"], theirs["eval_loss"], rtol=1e-4)

    def test_a_second_signal_ends_the_process_at_once(self) -> None:
        code = """
import os, signal
from flax_imdb.training import catch_signals
with catch_signals() as preemption:
    os.kill(os.getpid(), signal.SIGINT)
    assert preemption.requested()
    print("first", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    print("second")
"""
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == -signal.SIGTERM
        assert done.stdout == "first\n"
        assert done.stderr == "\nSIGINT: saving; a second signal quits at once\n"

    def test_a_signal_is_caught_where_nothing_can_be_said(self) -> None:
        """As where a pipe's other end got the Ctrl-C, too."""
        code = """
import os, signal
from flax_imdb.training import catch_signals
os.dup2(os.open("/dev/full", os.O_WRONLY), 2)
with catch_signals() as preemption:
    os.kill(os.getpid(), signal.SIGINT)
    assert preemption.requested()
"""
        subprocess.run([sys.executable, "-c", code], check=True)

    @pytest.mark.parametrize("number", CAUGHT)
    def test_a_signal_that_is_ignored_stays_ignored(self, number: signal.Signals) -> None:
        """As SIGHUP is under nohup, and SIGINT in a shell script's `command &`."""
        before = signal.signal(number, signal.SIG_IGN)
        try:
            with catch_signals() as preemption:
                os.kill(os.getpid(), number)
                assert not preemption.requested()
                assert signal.getsignal(number) == signal.SIG_IGN
                os.kill(os.getpid(), next(each for each in CAUGHT if each != number))
                assert preemption.requested()
                assert signal.getsignal(number) == signal.SIG_IGN
        finally:
            signal.signal(number, before)

    def test_nothing_is_caught_outside_the_main_thread(self) -> None:
        requested: list[bool] = []

        def in_thread() -> None:
            with catch_signals() as preemption:
                requested.append(preemption.requested())

        handler = signal.getsignal(signal.SIGTERM)
        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()
        assert requested == [False]
        assert signal.getsignal(signal.SIGTERM) == handler
