"""Whether a finished run can be repeated: with the same bits, or where it differs first."""

import contextlib
import dataclasses
import itertools
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from flax_imdb import environment
from flax_imdb.config import ExperimentConfig, dump_config, identity, identity_of_old, settings
from flax_imdb.data import DatasetInfo
from flax_imdb.data.sources import IMPORTED
from flax_imdb.devices import (
    DeviceName,
    devices_like,
    number_of_cpus,
    select_devices,
    set_cpu_devices,
)
from flax_imdb.errors import InputError, is_number
from flax_imdb.experiment import prepare_again, summarize, train_again
from flax_imdb.paths import names_in
from flax_imdb.report import ProgramConsole, Report
from flax_imdb.results import Result, Summary
from flax_imdb.stored import for_any_device
from flax_imdb.training import EpochRecord, History, Segment, StepRecord, empty_state, saved_arrays
from flax_imdb.training.checkpoint_store import RefusedError
from flax_imdb.training.checkpoints import Checkpoints, Identity
from flax_imdb.workdir import Workdir

MOVED = ("dataset", "test_dataset", "data_dir", "embeddings", "init_from")
"""The settings that say where something is, and not what."""

Kind = Literal["steps", "parameters", "figures"]

# A directory may say anything, and JAX would make as many devices.
_MOST_CPUS = 4096

# No repetition gives them again.
_TIMES = {
    *("seconds", "step_ms", "step_ms_median", "examples_per_second"),
    *("train_seconds", "compile_seconds"),
}

# Compared as the environment is, by name.
_ENVIRONMENT = {"versions", "cpus", "segments"}
_DEVICES = {"device", "device_kind", "devices", "processes"}


@dataclasses.dataclass(frozen=True)
class Difference:
    """Something in the files of a run that its repetition has otherwise.

    Attributes:
      file: where it is in the run's directory, such as ``"steps.jsonl"`` or ``"checkpoints/24"``.
      name: what differs.
      recorded: its value; None of an array, and if there is none.
      repeated: its value in the repetition.
      by: how far the numbers are apart: absolutely, or above 1 relative to what was recorded. None
        if it is no matter of size.
      step: the training step; None of what belongs to no step.
    """

    file: str
    name: str
    recorded: Any = None
    repeated: Any = None
    by: float | None = None
    step: int | None = None

    def __str__(self) -> str:
        what = f"{self.file}: {self.name}"
        if self.recorded is not None or self.repeated is not None:
            what += f" was {self.recorded} and is {self.repeated}"
        return what if self.by is None else f"{what}: a difference of {self.by:.3g}"


@dataclasses.dataclass(frozen=True)
class Verification:
    """What the repetition of a run has shown.

    Attributes:
      identical: whether all bits are the same.
      differences: of those beyond the tolerance the first one among the steps, the checkpoints, and
        in each file of figures; of several seeds, for each.
      tolerance: how large a difference may be (see `Difference.by`).
      largest: the largest difference of the steps' numbers, of parameters and of figures.
      steps: number of steps that were compared.
      checkpoints: number of checkpoints that were compared.
      environment: what differs here of machine, versions and settings, by name: then and now.
      notes: what is not known of the run.
      seconds: wall-clock time.
    """

    identical: bool
    differences: tuple[Difference, ...]
    tolerance: float
    largest: Mapping[Kind, float]
    steps: int
    checkpoints: int
    environment: Mapping[str, tuple[str, str]]
    notes: tuple[str, ...]
    seconds: float

    @property
    def same(self) -> bool:
        """Whether nothing differs beyond the tolerance."""
        return not self.differences

    def lines(self) -> list[str]:
        """All of it in words: first whether it is the same, or what differs first."""
        largest = max(self.largest.values())
        if self.identical:
            lines = ["the same bits"]
        elif self.same:
            lines = [f"the same within {self.tolerance:g}: no difference is above {largest:.3g}"]
        else:
            lines = [str(each) for each in self.differences]
            lines += [
                f"the largest difference of {kind}: {most:.3g}"
                for kind, most in self.largest.items()
                if most
            ]
        lines.append(
            f"repeated {self.steps:,} steps, and compared {self.checkpoints:,} "
            f"checkpoint{'s' * (self.checkpoints != 1)}, in {self.seconds:.1f} s"
        )
        if self.environment:
            lines.append(f"other than recorded: {environment.listed(self.environment)}")
            if not self.same:
                lines.append("so it may round differently: `tolerance` says how much may differ")
        return [*lines, *(f"not known: {note}" for note in self.notes)]

    def content(self) -> dict[str, Any]:
        """The attributes for JSON, with `same`."""
        return {"same": self.same, **dataclasses.asdict(self)}


@environment.fixed_settings()
def verify(
    workdir: str | os.PathLike[str],
    *,
    last_epoch: bool = False,
    tolerance: float = 0.0,
    device: DeviceName | None = None,
    moved: Mapping[str, str] = MappingProxyType({}),
    console: Console | None = None,
) -> Verification:
    """Repeat a finished run from its recorded settings, and compare.

    Nothing in its directory is changed. The repetition is in a temporary directory.

    Args:
      workdir: the directory of the run.
      last_epoch: repeat only the last epoch, from the checkpoint that it began with.
      tolerance: how large a difference may be (see `Difference.by`).
      device: repeat on all devices of this kind, as `flax_imdb.train` does. None: on the recorded
        ones; a run that went on elsewhere changes them where it did.
      moved: the settings of `MOVED` that are others now, by name.
      console: where to show progress (default: standard error).

    Raises:
      InputError: it cannot be repeated: it is none, has not finished, its texts are gone or others,
        or there are no such devices.
    """
    files = Workdir(workdir)
    if not is_number(tolerance) or not 0 <= tolerance < math.inf:
        raise InputError(
            f"`tolerance` {tolerance} makes no sense: a finite number from 0 is needed"
        )
    config = files.config()
    if config is None:
        raise InputError(
            f"{files.setting} {files.path} holds no run: name a directory that train.py made"
        )
    runs = [_read(of_seed, last_epoch) for of_seed in files.seeds()]
    summary = files.summary()
    if config.runs > 1 and summary is None:
        raise _unfinished(files, "summary.json")
    cpus = max(number_of_cpus(part.devices) for run in runs for part in run.parts)
    set_cpu_devices(min(cpus, _MOST_CPUS))  # Before JAX starts.
    for part in itertools.chain.from_iterable(run.parts for run in runs):
        _devices(part, config, device)  # Before the texts are read, which may take long.
    report = Report(console or ProgramConsole(stderr=True), bar_only=True)
    begun, comparison = time.perf_counter(), _Comparison(float(tolerance))
    options = _Options(last_epoch, device, moved)
    results = [_repeat(run, options, comparison, report, _place(run, files)) for run in runs]
    if config.runs > 1 and summary is not None:
        _compare_several(comparison, config, runs, summary, results, options)
    return comparison.verification(time.perf_counter() - begun)


class _Options(NamedTuple):
    """See `verify`."""

    last_epoch: bool
    device: DeviceName | None
    moved: Mapping[str, str]

    @property
    def left_out(self) -> set[str]:
        """What is not compared."""
        # The name of a dataset is that of its file.
        renamed = {"dataset"} if self.moved.keys() & {"dataset", "test_dataset"} else set()
        return (
            _TIMES | _ENVIRONMENT | renamed | ({"baseline_accuracy"} if self.last_epoch else set())
        )


class _Part(NamedTuple):
    """A part of a run that is repeated on one set of devices."""

    begin: tuple[int, int]  # See `Segment`.
    environment: Mapping[str, str]
    implementation: str

    @property
    def devices(self) -> str:
        return self.environment["devices"]


class _Run(NamedTuple):
    """What was recorded of a run, or of one of several."""

    files: Workdir
    config: ExperimentConfig
    info: DatasetInfo
    result: Result
    epochs: list[EpochRecord]
    steps: list[StepRecord]  # Those that are to be repeated.
    first_step: int  # Of the steps before it the losses are not known.
    saved: list[int]  # The steps of its checkpoints.
    parts: list[_Part]  # What is to be repeated; of the last epoch alone, the first begins there.
    notes: list[str]

    @property
    def since(self) -> tuple[int, int]:
        """Where the repetition begins."""
        return self.parts[0].begin


def _read(files: Workdir, last_epoch: bool) -> _Run:
    """Read what was recorded.

    Raises:
      InputError: the run has not finished, or cannot be repeated.
    """
    config, info, result = files.config(), files.dataset_info(), files.result()
    if config is not None and (files.has("estimator.json") or config.data.dataset == IMPORTED):
        raise InputError(
            f"{files.setting} {files.path} holds a model that was saved from Python, and no run: "
            "nothing says how it was trained"
        )
    epochs = files.records()
    if config is None or result is None:
        raise _unfinished(files, "result.json")
    if info is None or not epochs:
        name = "vocabulary.json" if info is None else "metrics.jsonl"
        raise InputError(f"{files.path} has no {name} any more, which is needed to verify it")
    done = max(len(epochs), result.epochs)
    if done < config.training.epochs and not result.stopped_early:
        raise _unfinished(files)
    saved = sorted(int(name) for name in names_in(files.checkpoints) if name.isdecimal())
    segments, notes = _segments(files, config, result)
    begin = (0, 0)
    if last_epoch and len(epochs) > 1:
        begin = epochs[-2].step, len(epochs) - 1
        if begin[0] not in saved:
            raise InputError(
                f"{files.path} has no checkpoint of step {begin[0]}, the end of epoch {begin[1]}: "
                "`last_epoch` cannot begin there, and without it the whole run is repeated"
            )
    index = max(i for i, part in enumerate(segments) if part.begin <= begin or i == 0)
    parts = [segments[index]._replace(begin=begin), *segments[index + 1 :]]
    steps, first = files.steps(), 1
    if notes:  # Of what an older version made, the losses may not be known, either.
        known = (step.step for step in steps if step.loss is not None)
        first = next(known, epochs[-1].step + 1)
        if first > 1:
            notes = [*notes, f"it did not record the losses of the first {first - 1:,} steps"]
    steps = [step for step in steps if step.step >= max(first, begin[0] + 1)]
    return _Run(files, config, info, result, epochs, steps, first, saved, parts, notes)


def _unfinished(files: Workdir, name: str = "") -> InputError:
    """The error for a run without a result, or with one in this file that says nothing."""
    if name and (text := files.read(name)) is not None:
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(json.loads(text), dict):
                return InputError(
                    f"{files.path / name} lacks figures, as those of older versions do: there is "
                    "too little to verify"
                )
        return InputError(f"{files.path / name} is damaged: what it said cannot be verified")
    return InputError(
        f"{files.setting} {files.path} holds a run that has not finished: `resume` it first"
    )


def _segments(
    files: Workdir, config: ExperimentConfig, result: Result
) -> tuple[list[_Part], list[str]]:
    """Where the run went on elsewhere, and what is not known of it."""
    if not result.segments:
        known = {
            **result.versions,
            "devices": f"{result.devices} x {result.device_kind}",
            "processes": str(result.processes),
        }
        note = (
            "an older version made the run, and did not record whether it went on elsewhere: it is "
            f"repeated in one go, on {known['devices']}"
        )
        return [_Part((0, 0), known, config.model.implementation)], [note]
    try:
        segments = [Segment(**content) for content in result.segments]
        parts = [_Part(each.begin, each.environment, each.implementation) for each in segments]
        begins = [part.begin for part in parts]
        if sorted(begins) != begins or not all(isinstance(n, int) for n in sum(begins, ())):
            raise ValueError("they do not follow each other")
        for part in parts:
            number_of_cpus(part.devices)
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(
            f"{files.path / 'result.json'} is damaged: its segments make no sense ({error})"
        ) from None
    notes = []
    if parts[0].begin != (0, 0):
        notes.append(
            f"an older version made the first {parts[0].begin[0]:,} steps, and did not record "
            f"where: they are repeated on {parts[0].devices}"
        )
        parts[0] = parts[0]._replace(begin=(0, 0))
    return parts, notes


class _Comparison:
    """Collects differences."""

    def __init__(self, tolerance: float):
        self.tolerance = tolerance
        self.identical = True
        self.beyond: list[Difference] = []
        self.largest: dict[Kind, float] = {"steps": 0.0, "parameters": 0.0, "figures": 0.0}
        self.steps = self.checkpoints = 0
        self.environment: dict[str, tuple[list[str], str]] = {}
        self.notes: list[str] = []

    def add(self, kind: Kind, differences: Iterable[Difference]) -> None:
        """Add differences, in order; the first one beyond the tolerance is kept."""
        kept = False
        for each in differences:
            self.identical = False
            if each.by is not None:
                self.largest[kind] = max(self.largest[kind], each.by)
            beyond = each.by is None or self.tolerance == 0 or each.by > self.tolerance
            if beyond and not kept:
                self.beyond.append(each)
                kept = True

    def changed(self, changes: Mapping[str, tuple[str, str]]) -> None:
        """Add what differs of the environment."""
        for name, (then, now) in changes.items():
            values, _ = self.environment.setdefault(name, ([], now))
            if then not in values:
                values.append(then)

    def verification(self, seconds: float) -> Verification:
        """All of it."""
        environment = {
            name: (", ".join(then), now) for name, (then, now) in self.environment.items()
        }
        return Verification(
            self.identical,
            tuple(self.beyond),
            self.tolerance,
            self.largest,
            self.steps,
            self.checkpoints,
            environment,
            tuple(dict.fromkeys(self.notes)),
            seconds,
        )


def _place(run: _Run, files: Workdir) -> str:
    """How the names of a run's files begin: with the folder of one of several seeds."""
    return "" if run.files.path == files.path else f"{run.files.path.name}/"


def _repeat(
    run: _Run, options: _Options, comparison: _Comparison, report: Report, place: str
) -> Result:
    """Train a run again, compare, and return the result of the repetition."""
    comparison.notes += run.notes
    prepared = prepare_again(_with_moved(run.config, options.moved), run.files, report)
    config = prepared.config
    changed: set[str] = set()
    with _temporary_directory() as directory:
        there = Workdir(directory, setting="TMPDIR")
        _put(run, config, there)
        result = None
        for part, after in itertools.zip_longest(run.parts, run.parts[1:]):
            devices = _devices(part, config, options.device)
            changes = environment.changes(part.environment, environment.describe(devices))
            comparison.changed(changes)
            changed |= changes.keys()
            model = dataclasses.replace(config.model, implementation=part.implementation)
            result = train_again(
                prepared._replace(config=dataclasses.replace(config, model=model)),
                devices,
                there,
                report,
                keep=run.saved,
                until=after.begin if after else None,
                baseline=run.result.baseline_accuracy is not None and not options.last_epoch,
            )
        assert result is not None
        if run.result.cpus not in (None, result.cpus):
            comparison.changed({"cpus": (str(run.result.cpus), str(result.cpus))})
        _compare_steps(comparison, run, there, place)
        comparison.add("parameters", _of_checkpoints(comparison, run, there, place))
        # What ran elsewhere says so in other words.
        elsewhere = _DEVICES if changed & {"devices", "processes"} else set()
        _compare_figures(comparison, run, there, place, options.left_out | elsewhere)
    return result


def _devices(part: _Part, config: ExperimentConfig, device: DeviceName | None) -> list[jax.Device]:
    """The devices that a part of a run is repeated on."""
    if device is None:
        return devices_like(part.devices)
    return select_devices(device, config.training.batch_size)


def _with_moved(config: ExperimentConfig, moved: Mapping[str, str]) -> ExperimentConfig:
    """The experiment with what is elsewhere now."""
    recorded = settings(config)
    for name, value in moved.items():
        if recorded[name] is None and name != "data_dir":
            raise InputError(f"`{name}` {value} has no effect: the run had none")
    data = {name: value for name, value in moved.items() if hasattr(config.data, name)}
    training = {name: value for name, value in moved.items() if hasattr(config.training, name)}
    rest = {name: value for name, value in moved.items() if name not in {**data, **training}}
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, **data),  # type: ignore[arg-type]
        training=dataclasses.replace(config.training, **training),  # type: ignore[arg-type]
        **rest,  # type: ignore[arg-type]
    )


@contextlib.contextmanager
def _temporary_directory() -> Iterator[str]:
    """Context manager for a directory that is deleted at the end."""
    try:
        directory = tempfile.TemporaryDirectory(
            prefix="flax_imdb-verify-", ignore_cleanup_errors=True
        )
    except OSError as error:
        raise InputError(
            f"the repetition needs a temporary directory: {error.strerror or error}; TMPDIR may "
            "name another place"
        ) from None
    with directory as path:
        yield path


def _put(run: _Run, config: ExperimentConfig, there: Workdir) -> None:
    """Write what the repetition begins with."""
    epochs = run.since[1]
    with there.hold():
        there.write("config.json", dump_config(config))
        there.write("vocabulary.json", run.info.dump())
        if epochs == 0:
            return
        there.write_records(run.epochs[:epochs])
    best = History(run.epochs).best(run.since[0])
    assert best is not None
    for step in {run.since[0], best.step}:
        try:
            with _states(run.files, run.config) as read:
                read(step)
        except RefusedError as error:
            raise InputError(f"`last_epoch` has nothing to begin with: {error}") from None
        _copy(run.files.checkpoints / str(step), there.checkpoints / str(step))


def _copy(source: Path, target: Path) -> None:
    """Copy files, and not who may write them."""
    try:
        for path in source.rglob("*"):
            if path.is_file():
                copy = target / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
    except OSError as error:
        raise InputError(f"{source} cannot be copied to {target}: {error.strerror}") from None


def _compare_steps(comparison: _Comparison, run: _Run, there: Workdir, place: str) -> None:
    """Compare the losses, accuracies and gradient norms of the steps."""
    file = f"{place}steps.jsonl"
    first = max(run.first_step, run.since[0] + 1)
    repeated = [step for step in there.steps() if step.step >= first]
    comparison.steps += min(len(run.steps), len(repeated))
    differences = (
        dataclasses.replace(each, step=now.step)
        for then, now in zip(run.steps, repeated, strict=False)
        for each in _differences(
            file, then._asdict(), now._asdict(), _TIMES, f"{{}} of step {now.step}"
        )
    )
    counts = _differences(file, {"steps": len(run.steps)}, {"steps": len(repeated)})
    comparison.add("steps", itertools.chain(differences, counts))


def _of_checkpoints(
    comparison: _Comparison, run: _Run, there: Workdir, place: str
) -> Iterator[Difference]:
    """The differences of the kept checkpoints."""
    needed = {run.result.reported_step, run.epochs[-1].step}
    # The last epoch began with one of them.
    steps = [step for step in run.saved if run.since == (0, 0) or step > run.since[0]]
    for step in sorted({*steps, *(needed - set(run.saved))}):
        file = f"{place}checkpoints/{step}"
        if step not in run.saved:
            yield Difference(file, "the checkpoint is missing", step=step)
            continue
        try:
            with _states(run.files, run.config) as read:
                recorded = read(step)
        except RefusedError as error:
            path = run.files.checkpoints.absolute() / str(step)
            reason = str(error).removeprefix(f"the checkpoint {path} ")
            yield Difference(file, f"the checkpoint {reason}", step=step)
            continue
        try:
            with _states(there, run.config) as read:
                repeated = read(step)
        except InputError:
            yield Difference(file, "the repetition has no such checkpoint", step=step)
            continue
        comparison.checkpoints += 1
        yield from _of_arrays(file, step, recorded, repeated)


@contextlib.contextmanager
def _states(
    files: Workdir, config: ExperimentConfig
) -> Iterator[Callable[[int], dict[str, np.ndarray]]]:
    """Context manager for what reads the arrays of a checkpoint, by name, parameters first."""
    info = files.dataset_info()
    assert info is not None
    create = for_any_device(config).state_creator(info.task)
    like = empty_state(create, config.training.seed)
    of_run = Identity(identity(config), info.fingerprint, info.settled)
    defaults = identity_of_old()
    with Checkpoints(files.checkpoints, of_run, defaults=defaults, read_only=True) as checkpoints:

        def read(step: int) -> dict[str, np.ndarray]:
            saved = saved_arrays(checkpoints.restore(like, step))
            return {
                f"{part}/{jax.tree_util.keystr(path, simple=True, separator='/')}": leaf
                for part in ("params", "opt_state", "constants")
                for path, leaf in jax.tree_util.tree_flatten_with_path(saved.get(part, {}))[0]
            }

        yield read


def _of_arrays(
    file: str, step: int, recorded: Mapping[str, np.ndarray], repeated: Mapping[str, np.ndarray]
) -> Iterator[Difference]:
    """The differences of the arrays of a checkpoint."""
    for name, then in recorded.items():
        now = repeated[name]
        if then.dtype != now.dtype or then.shape != now.shape or then.tobytes() != now.tobytes():
            yield Difference(file, f"{name} has other bits", by=_apart(then, now), step=step)


def _compare_figures(
    comparison: _Comparison, run: _Run, there: Workdir, place: str, left_out: set[str]
) -> None:
    """Compare the epochs, the result, and what was kept of the texts."""
    result, info = there.result(), there.dataset_info()
    assert result is not None
    assert info is not None
    file = f"{place}metrics.jsonl"
    epochs = there.records()
    by_epoch = (
        each
        for then, now in zip(run.epochs, epochs, strict=False)
        for each in _differences(
            file,
            dataclasses.asdict(then),
            dataclasses.asdict(now),
            left_out,
            f"{{}} of epoch {then.epoch}",
        )
    )
    counts = _differences(file, {"epochs": len(run.epochs)}, {"epochs": len(epochs)})
    comparison.add("figures", itertools.chain(by_epoch, counts))
    then, now = (json.loads(each.dump()) for each in (run.info, info))
    comparison.add("figures", _differences(f"{place}vocabulary.json", then, now, left_out))
    then, now = _figures(run.result), _figures(result)
    comparison.add("figures", _differences(f"{place}result.json", then, now, left_out))


def _figures(result: Result | Summary) -> dict[str, Any]:
    """The attributes of a result, with shares of the examples for the counts of the matrix."""
    content = dataclasses.asdict(result)
    if isinstance(result, Result):
        content["confusion_matrix"] = [
            [count / max(1, result.test_examples) for count in row]
            for row in result.confusion_matrix
        ]
    return content


def _compare_several(
    comparison: _Comparison,
    config: ExperimentConfig,
    runs: Sequence[_Run],
    summary: Summary,
    results: Sequence[Result],
    options: _Options,
) -> None:
    """Compare what is there of several runs together."""
    for number, run in enumerate(runs):
        training = dataclasses.replace(config.training, seed=config.training.seed + number)
        once = dataclasses.replace(config, training=training, runs=1)
        file = f"{run.files.path.name}/config.json"
        comparison.add("figures", _differences(file, settings(run.config), settings(once)))
    comparison.add(
        "figures",
        _differences(
            "summary.json",
            _figures(summary),
            _figures(summarize(config, results)),
            options.left_out | _DEVICES,
        ),
    )


def _differences(
    file: str,
    recorded: Mapping[str, Any],
    repeated: Mapping[str, Any],
    left_out: Collection[str] = (),
    name: str = "{}",
) -> Iterator[Difference]:
    """The differences of two JSON objects; `name` says how to name their members."""
    then, now = (
        _flat({k: v for k, v in of.items() if k not in left_out}) for of in (recorded, repeated)
    )
    for key in {**then, **now}:
        old, new = then.get(key), now.get(key)
        if type(old) is not type(new) or old != new:
            numbers = isinstance(old, float) and isinstance(new, float)
            by = _apart(np.array(old), np.array(new)) if numbers else None
            yield Difference(file, name.format(key), old, new, by)


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """The leaves of nested objects and lists, by their path."""
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        return {name: value}
    return {
        path: leaf
        for key, each in value.items()
        for path, leaf in _flat(each, f"{name}.{key}" if name else str(key)).items()
    }


def _apart(recorded: np.ndarray, repeated: np.ndarray) -> float | None:
    """The largest difference of two arrays (see `Difference.by`)."""
    same_kind = recorded.shape == repeated.shape and recorded.dtype == repeated.dtype
    if not same_kind or not jnp.issubdtype(recorded.dtype, jnp.floating):
        return None
    then, now = recorded.astype(np.float64), repeated.astype(np.float64)
    with np.errstate(invalid="ignore"):
        largest = float(np.max(np.abs(now - then) / np.maximum(1, np.abs(then)), initial=0))
    return largest if math.isfinite(largest) else None
