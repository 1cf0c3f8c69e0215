"""A run: one experiment, trained in a workdir of its own."""

import contextlib
import dataclasses
import json
import os
import statistics
from collections.abc import Iterator
from typing import Any

import jax
from rich.console import Console

from flax_imdb import environment
from flax_imdb.config import (
    MAY_CHANGE,
    ExperimentConfig,
    dump_config,
    identity,
    identity_of_old,
    settings,
)
from flax_imdb.data import Dataset, load_dataset
from flax_imdb.devices import (
    DeviceName,
    in_all,
    in_first,
    is_first,
    kind,
    make_mesh,
    select_devices,
)
from flax_imdb.environment import versions
from flax_imdb.errors import InputError, Interrupted, warn
from flax_imdb.report import (
    ProgramConsole,
    TrainingReport,
    count_parameters,
    draw_curves,
    parameter_table,
)
from flax_imdb.training import EpochRecord, History, Trainer, catch_signals, reported_epoch
from flax_imdb.training.checkpoints import (
    CheckpointConfig,
    Checkpoints,
    Identity,
    are_whole,
)
from flax_imdb.workdir import Workdir


@environment.fixed_settings()
def train(
    config: ExperimentConfig,
    workdir: str | os.PathLike[str] | Workdir,
    *,
    device: DeviceName = "auto",
    resume: bool = False,
    overwrite: bool = False,
    checkpoints: CheckpointConfig = CheckpointConfig(),
    console: Console | None = None,
) -> dict[str, Any]:
    """Train an experiment and leave its files in `workdir`.

    While it trains, SIGTERM and SIGINT make it save and stop, if this is the main thread.

    Args:
      config: the experiment.
      workdir: where the files go; created if need be.
      device: which devices to train on, all there are of that kind. After
        `flax_imdb.devices.join` those of all processes, each of which makes this same call.
      resume: continue the run in `workdir` after its newest whole checkpoint; start it where there
        is none. Its settings must be those of `config`, but for `flax_imdb.config.MAY_CHANGE`.
      overwrite: delete the run in `workdir` first.
      checkpoints: when to save, and what to keep.
      console: where progress is shown (default: standard output).

    Returns:
      The content of ``result.json``; with several runs that of ``summary.json``.

    Raises:
      InputError: something of this cannot be done, or goes wrong. Checkpoints are kept then.
      Interrupted: a signal asked it to stop; `resume` goes on.
    """
    files = workdir if isinstance(workdir, Workdir) else Workdir(workdir)
    if resume and overwrite:
        raise InputError("`resume` keeps the run and `overwrite` deletes it: give one of them")
    devices = select_devices(device, config.training.batch_size)
    console = console or ProgramConsole(quiet=not is_first())

    def settle() -> dict[str, Any]:
        nonlocal config
        if len(devices) > config.training.batch_size:
            raise InputError(
                f"`batch_size` {config.training.batch_size} is too small for {len(devices)} "
                "devices: each needs a row"
            )
        if overwrite:
            files.check_own()
        elif not resume:
            files.check_free()
        elif (started := files.config()) is not None:
            config = _continued(config, started)
        else:
            note = f"no run in {files.path} yet: starting one, with the settings that are given"
            console.print(note, highlight=False, markup=False, soft_wrap=True)
        return _agreed_on(config) | {"`resume`": resume, "`overwrite`": overwrite}

    _check_agreement(in_all(settle))
    finished = in_first(lambda: _finished(files, config) if resume else None)
    if finished is not None:
        _print_result(finished, console)
        return finished

    def check_implementation() -> None:
        with jax.default_device(devices[0]):
            jax.eval_shape(config.create_state)

    in_all(check_implementation)  # Before anything is written.
    dataset: Dataset | None = None

    def find() -> dict[str, Any]:
        nonlocal dataset
        dataset = load_dataset(config.data)
        return {"`dataset`": dataset.name, "the reviews' fingerprint": dataset.fingerprint}

    _check_agreement(in_all(find))
    assert dataset is not None
    _print_note(dataset.note, console)
    # From here on the reviews that were found are meant, whatever "auto" would find later.
    found = dataclasses.replace(
        config.data,
        dataset=dataset.name,
        data_dir=os.path.abspath(dataset.location) if dataset.location else None,
    )
    config = dataclasses.replace(config, data=found)

    def make_room() -> None:
        if overwrite:
            files.clear()
        elif not resume:
            files.check_free()  # Again: another run may have come and gone meanwhile.

    with _held(files):
        in_first(make_room)
        train_it = _train_once if config.runs == 1 else _train_several
        result = train_it(config, dataset, devices, files, checkpoints, console)
        _print_result(result, console)
        if config.runs == 1 and is_first():
            _draw(files, result)
    return result


def _agreed_on(config: ExperimentConfig) -> dict[str, Any]:
    """What all processes must have in common: the reviews may be somewhere else in each."""
    ours = versions()
    by_name = {f"`{name}`": value for name, value in settings(config).items()}
    del by_name["`data_dir`"]
    # The versions first: another one may have other settings.
    return {f"the version of {name}": ours[name] for name in ("flax_imdb", "jax")} | by_name


def _check_agreement(settings: list[dict[str, Any]]) -> None:
    """Raise InputError where the processes' settings differ."""
    for process, theirs in enumerate(settings):
        for name, ours in settings[0].items():
            if theirs.get(name) != ours:
                raise InputError(
                    f"the processes disagree: {name} is {ours} in process 0 and "
                    f"{theirs.get(name)} in process {process}"
                )


def _train_several(
    config: ExperimentConfig,
    dataset: Dataset,
    devices: list[jax.Device],
    workdir: Workdir,
    checkpoints: CheckpointConfig,
    console: Console,
) -> dict[str, Any]:
    def start() -> None:
        for _, directory in _seeds(config, workdir):
            _check_reviews(directory, dataset)
        workdir.write("config.json", dump_config(config))

    in_first(start)
    results = []
    for once, directory in _seeds(config, workdir):
        with _held(directory):
            result = in_first(lambda: _finished(directory, once))  # noqa: B023
            if result is None:
                console.print(f"seed {once.training.seed}", style="bold")
                result = _train_once(once, dataset, devices, directory, checkpoints, console)
                if is_first():
                    _draw(directory, result)
        results.append(result)
    accuracies = [result["test_accuracy"] for result in results]
    same = ("arch", "dataset", "note", "device", "devices", "epochs", "padding", "precision")
    summary = {name: results[0][name] for name in same} | {
        "runs": config.runs,
        "seeds": [result["seed"] for result in results],
        "test_accuracy": statistics.mean(accuracies),
        "test_accuracy_std": statistics.stdev(accuracies),
        "test_accuracies": accuracies,
        "test_losses": [result["test_loss"] for result in results],
        "train_seconds": [result["train_seconds"] for result in results],
        "step_ms_median": statistics.median(result["step_ms_median"] for result in results),
        "versions": results[0]["versions"],
    }
    in_first(lambda: workdir.write("summary.json", json.dumps(summary, indent=2) + "\n"))
    return summary


def _seeds(
    config: ExperimentConfig, workdir: Workdir
) -> Iterator[tuple[ExperimentConfig, Workdir]]:
    """The experiment of each seed of several runs, and where it is."""
    for seed in range(config.training.seed, config.training.seed + config.runs):
        training = dataclasses.replace(config.training, seed=seed)
        yield (
            dataclasses.replace(config, training=training, runs=1),
            Workdir(workdir.path / f"seed-{seed}"),
        )


def _train_once(
    config: ExperimentConfig,
    dataset: Dataset,
    devices: list[jax.Device],
    workdir: Workdir,
    checkpoint_config: CheckpointConfig,
    console: Console,
) -> dict[str, Any]:
    trainer = Trainer(
        make_mesh(devices), config.batching(len(devices)), config.training.microbatches
    )
    state = trainer.place(config.create_state())
    parameters = count_parameters(state.params)
    console.print(parameter_table(state.params, title=config.model.arch))
    console.print(
        f"{len(dataset.train):,} reviews to train on, {len(dataset.validation):,} to validate, "
        f"{len(dataset.test):,} to test ({dataset.name}); {len(devices)} x "
        f"{devices[0].device_kind}; {workdir.path}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )

    def start() -> int:
        _check_reviews(workdir, dataset)
        if workdir.config() is None:
            # At once: a run that dies from here on is resumed with these settings.
            workdir.write("config.json", dump_config(config))
        return workdir.finished_epochs()

    def go_on() -> None:
        # Only now: a run that cannot go on is left as it was.
        workdir.write("config.json", dump_config(config))
        vocabulary = dataset.vocabulary.dump(dataset=dataset.name, fingerprint=dataset.fingerprint)
        workdir.write("vocabulary.json", vocabulary)
        workdir.write("metrics.jsonl", _lines(history.epochs))

    def end_epoch() -> None:
        checkpoints.wait()
        workdir.write("metrics.jsonl", _lines(history.epochs))

    finished_epochs = in_first(start)
    of_run = Identity(
        identity(config),
        dataset.fingerprint,
        dataset.vocabulary.words,
        environment.describe(devices),
    )
    with (
        catch_signals() as interruption,
        Checkpoints(
            workdir.checkpoints, of_run, checkpoint_config, defaults=identity_of_old()
        ) as checkpoints,
    ):
        state, history, refused = checkpoints.resume(state, finished_epochs)
        state = trainer.place(state)
        if is_first():
            for line in (*refused, *([checkpoints.elsewhere] if checkpoints.elsewhere else [])):
                warn(line)
        if refused or int(state.step):
            console.print(_where(int(state.step), history), highlight=False)
        in_first(go_on)
        with TrainingReport(console, config.training.epochs) as report:
            states = trainer.train(
                state,
                dataset,
                config.training,
                history,
                due=checkpoints.due,
                interruption=interruption,
                on_step=report.step,
            )
            try:
                for state, history in states:
                    if is_first():
                        workdir.check_held()
                    checkpoints.save(state, history)
                    if history.unfinished is None:
                        in_first(end_epoch)
                        report.epoch(history.epochs[-1])
            except Interrupted:
                in_first(checkpoints.wait)  # Where one process ends, others may be made to.
                raise
            record = reported_epoch(history.epochs)
            if record["eval_split"] == "test":
                test_loss, test_accuracy = record["eval_loss"], record["eval_accuracy"]
            else:
                if record is not history.epochs[-1]:
                    state = trainer.place(checkpoints.reported(state, history))
                test_loss, test_accuracy = trainer.evaluate(state, dataset.test, interruption)
    interruption.check()  # Another seed may be next.

    result = {
        "arch": config.model.arch,
        "dataset": dataset.name,
        "note": dataset.note,
        "device": kind(devices[0]),
        "device_kind": devices[0].device_kind,
        "devices": len(devices),
        "processes": jax.process_count(),
        "cpus": os.cpu_count(),
        "epochs": config.training.epochs,
        "reported_epoch": record["epoch"],
        "reported_step": record["step"],
        "skipped_steps": sum(record["skipped_steps"] for record in history.epochs),
        "seed": config.training.seed,
        "padding": config.data.padding,
        "precision": config.model.precision,
        "batch_size": config.training.batch_size,
        "train_examples": len(dataset.train),
        "validation_examples": len(dataset.validation),
        "test_examples": len(dataset.test),
        "parameters": parameters,
        "test_accuracy": test_accuracy,
        "test_loss": test_loss,
        "validation_accuracy": (
            record["eval_accuracy"] if record["eval_split"] == "validation" else None
        ),
        "train_seconds": sum(record["seconds"] for record in history.epochs),
        "compile_seconds": sum(record["compile_seconds"] for record in history.epochs),
        "step_ms_median": statistics.median(record["step_ms_median"] for record in history.epochs),
        "versions": versions(),
    }
    in_first(lambda: workdir.write("result.json", json.dumps(result, indent=2) + "\n"))
    return result


def _draw(workdir: Workdir, result: dict[str, Any]) -> None:
    """Leave the picture of a finished run, if it can be drawn: the result does not depend on it."""
    title = f"{result['arch']} on {result['dataset']}: test accuracy {result['test_accuracy']:.2%}"
    if result["note"]:
        title += "\nSYNTHETIC REVIEWS: accuracy means nothing for IMDB"
    try:
        lines = (workdir.path / "metrics.jsonl").read_text().splitlines()
        workdir.write("curves.png", draw_curves([json.loads(line) for line in lines], title))
    except Exception as error:  # Of matplotlib's, any.
        warn(f"no curves.png in {workdir.path}: {type(error).__name__}: {error}")


@contextlib.contextmanager
def _held(workdir: Workdir) -> Iterator[None]:
    """The first process holds the directory, and all learn if it cannot."""
    with contextlib.ExitStack() as stack:
        in_first(lambda: stack.enter_context(workdir.hold()))
        yield


def _finished(workdir: Workdir, config: ExperimentConfig) -> dict[str, Any] | None:
    """What a finished run came to; None where it has not, or what it came to is damaged."""
    result = workdir.result(config)
    if result is None:
        return None
    if config.runs > 1:
        whole = all(_finished(directory, once) for once, directory in _seeds(config, workdir))
    else:
        whole = workdir.vocabulary() is not None and are_whole(
            workdir.checkpoints, result["reported_step"]
        )
    return result if whole else None


def _continued(config: ExperimentConfig, saved: ExperimentConfig) -> ExperimentConfig:
    """The experiment to go on with: `saved`, but for what `config` may have another value of."""
    if config.training.epochs < saved.training.epochs:
        raise InputError(
            f"`epochs` {config.training.epochs} is fewer than the run has: "
            f"{saved.training.epochs} or more is needed to `resume` it"
        )
    data = config.data
    if data.dataset == "auto":
        data = dataclasses.replace(data, dataset=saved.data.dataset)
    if data.data_dir is None:
        data = dataclasses.replace(data, data_dir=saved.data.data_dir)
    config = dataclasses.replace(config, data=data)
    theirs = identity(saved)
    for name, value in identity(config).items():
        if value != theirs[name]:
            may_change = ", ".join(f"`{name}`" for name in MAY_CHANGE)
            raise InputError(
                f"`{name}` {value} is not what the run was started with ({theirs[name]}): `resume` "
                f"may only change {may_change}, `device` and how checkpoints are kept"
            )
    return config


def _where(step: int, history: History) -> str:
    """Where a run goes on."""
    if not step:
        return "no checkpoint is left, and no epoch was finished: starting afresh"
    if history.unfinished is None:
        return f"resumed after step {step}, the end of epoch {len(history.epochs)}"
    return f"resumed after step {step}, in epoch {len(history.epochs) + 1}"


def _lines(epochs: list[EpochRecord]) -> str:
    return "".join(json.dumps(record) + "\n" for record in epochs)


def _print_result(result: dict[str, Any], console: Console) -> None:
    _print_note(result["note"], console)
    if "test_accuracies" in result:
        console.print(
            f"{result['runs']} runs: "
            + ", ".join(f"{accuracy:.2%}" for accuracy in result["test_accuracies"])
            + f"; standard deviation {100 * result['test_accuracy_std']:.2f} points; mean:",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"Accuracy: {result['test_accuracy']:.2%}", highlight=False)


def _print_note(note: str, console: Console) -> None:
    if note:
        console.print(note, style="bold red", highlight=False, markup=False, soft_wrap=True)


def _check_reviews(workdir: Workdir, dataset: Dataset) -> None:
    """Raise InputError where a run in `workdir` was started on other reviews."""
    if (vocabulary := workdir.vocabulary()) is not None:
        dataset.check_same(vocabulary[1])
