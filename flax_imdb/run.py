"""A run: one experiment, trained in a workdir of its own."""

import contextlib
import dataclasses
import fcntl
import functools
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

import flax_imdb
from flax_imdb.config import ExperimentConfig, flags, load_config, save_config
from flax_imdb.data import Dataset, Vocabulary, load_dataset
from flax_imdb.devices import (
    DeviceName,
    in_all,
    in_first,
    is_first,
    kind,
    make_mesh,
    select_devices,
)
from flax_imdb.errors import InputError
from flax_imdb.report import TrainingReport, count_parameters, parameter_table, save_curves
from flax_imdb.training import EpochRecord, Trainer, reported_epoch
from flax_imdb.training.checkpoints import Checkpoints

# What a run leaves in its workdir; with --runs there is a folder seed-N for each.
_LEFT_BY_A_RUN = (
    "config.json",
    "vocabulary.json",
    "checkpoints",
    "metrics.jsonl",
    "curves.png",
    "result.json",
    "summary.json",
    "seed-[0-9]*",
)


def train(
    config: ExperimentConfig,
    workdir: str | os.PathLike[str],
    *,
    device: DeviceName = "auto",
    resume: bool = False,
    overwrite: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Train an experiment and leave its files in `workdir`.

    Args:
      config: the experiment.
      workdir: where the files go; created if need be.
      device: which devices to train on, all there are of that kind. After
        `flax_imdb.devices.join` those of all processes, each of which makes this same call.
      resume: continue the run in `workdir` after its last finished epoch; start it where there is
        none. Its settings must be those of `config`, except that `config` may ask for more epochs.
      overwrite: delete the run in `workdir` first.
      console: where progress is shown (default: standard output).

    Returns:
      The content of ``result.json``; with several runs that of ``summary.json``.

    Raises:
      InputError: something of this cannot be done. Nothing was written over then.
    """
    workdir = Path(workdir)
    if resume and overwrite:
        raise InputError("--resume keeps the run and --overwrite deletes it: give one of them")
    devices = select_devices(device, config.training.batch_size)
    if len(devices) > config.training.batch_size:
        raise InputError(
            f"--batch-size {config.training.batch_size} is too small for {len(devices)} devices: "
            "each needs a row"
        )
    console = console or Console(quiet=not is_first())
    started = workdir / "config.json"

    def settle() -> dict[str, Any]:
        nonlocal config
        if resume:
            if started.exists():
                config = _continued(config, load_config(started))
        elif not overwrite:
            _check_free(workdir)
        elif _left_by_a_run(workdir):
            load_config(started)  # or these are not a run's files, and stay
        return _agreed_on(config) | {"--resume": resume, "--overwrite": overwrite}

    _check_agreement(in_all(settle))
    finished = in_first(lambda: _read_result(workdir, config) if resume else None)
    if finished is not None:
        _print_result(finished, console)
        return finished

    dataset: Dataset | None = None

    def find() -> dict[str, Any]:
        nonlocal dataset
        dataset = load_dataset(config.data)
        return {"--dataset": dataset.name, "the reviews' fingerprint": dataset.fingerprint}

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
            for path in _left_by_a_run(workdir):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        elif not resume:
            _check_free(workdir)  # again: another run may have come and gone meanwhile

    with _locked(workdir):
        in_first(make_room)
        train_it = _train_once if config.runs == 1 else _train_several
        result = train_it(config, dataset, devices, workdir, console)
    _print_result(result, console)
    return result


def _agreed_on(config: ExperimentConfig) -> dict[str, Any]:
    """What all processes must have in common: the reviews may be somewhere else in each."""
    settings = flags(config)
    del settings["--data-dir"]
    versions = _versions()
    # The versions first: another one may have other settings.
    return {f"the version of {name}": versions[name] for name in ("flax_imdb", "jax")} | settings


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
    workdir: Path,
    console: Console,
) -> dict[str, Any]:
    seeds = range(config.training.seed, config.training.seed + config.runs)

    def start() -> None:
        for seed in seeds:
            _check_reviews(workdir / f"seed-{seed}", dataset)
        save_config(config, workdir / "config.json")

    in_first(start)
    results = []
    for seed in seeds:
        training = dataclasses.replace(config.training, seed=seed)
        once = dataclasses.replace(config, training=training, runs=1)
        directory = workdir / f"seed-{seed}"
        with _locked(directory):
            result = in_first(functools.partial(_read_result, directory, once))
            if result is None:
                console.print(f"seed {seed}", style="bold")
                result = _train_once(once, dataset, devices, directory, console)
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
    _write(workdir / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


def _train_once(
    config: ExperimentConfig,
    dataset: Dataset,
    devices: list[jax.Device],
    workdir: Path,
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
        f"{devices[0].device_kind}; {workdir}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )

    def start() -> None:
        _check_reviews(workdir, dataset)
        if not (workdir / "config.json").exists():
            save_config(config, workdir / "config.json")

    def go_on() -> None:
        # Only now: a run that cannot go on is left as it was.
        save_config(config, workdir / "config.json")
        dataset.vocabulary.save(
            workdir / "vocabulary.json", dataset=dataset.name, fingerprint=dataset.fingerprint
        )

    in_first(start)
    history: list[EpochRecord] = []
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        if (latest := checkpoints.latest()) is not None:
            state, history = checkpoints.restore(latest, state)
            state = trainer.place(state)
            console.print(f"resumed after epoch {latest}")
            _write_metrics(workdir, history)
        in_first(go_on)
        with TrainingReport(console, config.training.epochs) as report:
            epochs = trainer.train(state, dataset, config.training, history, report.step)
            for state, record in epochs:
                history = [*history, record]
                checkpoints.save(record["epoch"], state, history, keep=reported_epoch(history))
                _write_metrics(workdir, history)
                report.epoch(record)
        epoch = reported_epoch(history)
        record = history[epoch - 1]
        if record["eval_split"] == "test":
            test_loss, test_accuracy = record["eval_loss"], record["eval_accuracy"]
        else:
            if epoch != history[-1]["epoch"]:
                state, _ = checkpoints.restore(epoch, state)
                state = trainer.place(state)
            test_loss, test_accuracy = trainer.evaluate(state, dataset.test)

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
        "reported_epoch": epoch,
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
        "train_seconds": sum(record["seconds"] for record in history),
        "compile_seconds": sum(record["compile_seconds"] for record in history),
        "step_ms_median": statistics.median(record["step_ms_median"] for record in history),
        "versions": _versions(),
    }
    title = f"{config.model.arch} on {dataset.name}: test accuracy {test_accuracy:.2%}"
    if dataset.note:
        title += "\nSYNTHETIC REVIEWS: accuracy means nothing for IMDB"
    in_first(lambda: save_curves(history, title, workdir / "curves.png"))
    _write(workdir / "result.json", json.dumps(result, indent=2) + "\n")
    return result


def _continued(config: ExperimentConfig, saved: ExperimentConfig) -> ExperimentConfig:
    """The experiment to go on with: `saved`, with the epochs and the data directory of `config`."""
    if config.training.epochs < saved.training.epochs:
        raise InputError(
            f"--epochs {config.training.epochs} is fewer than the run has: "
            f"{saved.training.epochs} or more is needed to --resume it"
        )
    data = config.data
    if data.dataset == "auto":
        data = dataclasses.replace(data, dataset=saved.data.dataset)
    if data.data_dir is None:
        data = dataclasses.replace(data, data_dir=saved.data.data_dir)
    config = dataclasses.replace(config, data=data)
    ours, theirs = flags(config), flags(saved)
    for flag, value in ours.items():
        if value != theirs[flag] and flag not in ("--epochs", "--data-dir"):
            raise InputError(
                f"{flag} {value} is not what the run was started with ({theirs[flag]}): --resume "
                "may only raise --epochs and change --device and --data-dir"
            )
    return config


def _read_result(workdir: Path, config: ExperimentConfig) -> dict[str, Any] | None:
    """What a finished run of `config` came to; None where it has not finished."""
    path = workdir / ("result.json" if config.runs == 1 else "summary.json")
    if not path.exists():
        return None
    try:
        result: dict[str, Any] = json.loads(path.read_text())
        finished = result["epochs"] == config.training.epochs
        float(result["test_accuracy"]), result["note"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it is made again from the checkpoints
    return result if finished else None


def _print_result(result: dict[str, Any], console: Console) -> None:
    _print_note(result["note"], console)
    if "runs" in result:
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


def _check_reviews(workdir: Path, dataset: Dataset) -> None:
    """Raise InputError where a run in `workdir` was started on other reviews."""
    if (workdir / "vocabulary.json").exists():
        _, fingerprint = Vocabulary.load(workdir / "vocabulary.json")
        dataset.check_same(fingerprint)


def _check_free(workdir: Path) -> None:
    if left := _left_by_a_run(workdir):
        raise InputError(
            f"--workdir {workdir} already holds a run ({left[0].name}): --resume continues it, "
            "--overwrite deletes it"
        )


def _left_by_a_run(workdir: Path) -> list[Path]:
    return [path for pattern in _LEFT_BY_A_RUN for path in workdir.glob(pattern)]


@contextlib.contextmanager
def _locked(workdir: Path) -> Iterator[None]:
    """Create the directory and hold it against other runs; the lock ends with the process."""
    with contextlib.ExitStack() as stack:

        def lock() -> None:
            try:
                workdir.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context((workdir / ".lock").open("w"))
            except OSError as error:
                reason = error.strerror
                raise InputError(f"--workdir {workdir} cannot be written: {reason}") from None
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"--workdir {workdir} is in use by another run") from None

        in_first(lock)
        yield


def _write_metrics(workdir: Path, history: list[EpochRecord]) -> None:
    _write(workdir / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in history))


def _write(path: Path, text: str) -> None:
    """Write all of a file or nothing; the first process does."""
    if not is_first():
        return
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(text)
    unfinished.replace(path)


def _versions() -> dict[str, str]:
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {
        "flax_imdb": flax_imdb.__version__,
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
    }
