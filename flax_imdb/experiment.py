"""An experiment, from its configuration to its result."""

import contextlib
import dataclasses
import functools
import os
import statistics
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

import jax
import optax
from rich.console import Console

from flax_imdb import distributed, environment
from flax_imdb.config import (
    MAY_CHANGE,
    ExperimentConfig,
    dump_config,
    identity,
    identity_of_old,
    settings,
)
from flax_imdb.data import (
    DataConfig,
    Dataset,
    DatasetInfo,
    Examples,
    WordVectors,
    check_word_vectors,
    load_dataset,
    sha256_of,
)
from flax_imdb.devices import DeviceName, kind, select_devices
from flax_imdb.errors import InputError, warn
from flax_imdb.paths import absolute_path, local_path, names_in
from flax_imdb.report import (
    Predicted,
    ProgramConsole,
    Report,
    draw_curves,
    draw_scores,
    read_run,
    render,
)
from flax_imdb.results import Result, Summary
from flax_imdb.scores import MAX_BASELINE_EXAMPLES, Scores, baseline_accuracy, score
from flax_imdb.start import Start, absolute, is_inside, read_start, started
from flax_imdb.training import (
    Evaluation,
    History,
    Predictor,
    Preemption,
    TrainState,
    UnfinishedEpoch,
    catch_signals,
    check_finite,
    check_monitor,
    choose_thresholds,
    conformity,
    decide,
)
from flax_imdb.training.checkpoint_store import are_intact
from flax_imdb.training.checkpoints import CheckpointConfig, Checkpoints, Identity
from flax_imdb.training.metrics import of_each_class
from flax_imdb.tuning import release_memory
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
    baseline: bool | None = None,
    tensorboard: bool = False,
    console: Console | None = None,
) -> Result | Summary:
    """Train an experiment and write its files to `workdir`.

    During training SIGTERM, SIGINT and SIGHUP make it save and stop, if this is the main thread.

    Args:
      config: the experiment.
      workdir: the directory for the files; created if it does not exist.
      device: train on all devices of this kind. After `flax_imdb.distributed.join` these are the
        devices of all processes, each of which must make this same call.
      resume: continue the run in `workdir` from its newest intact checkpoint, or start it if there
        is none. The settings must be those of the run, except for `flax_imdb.config.MAY_CHANGE`.
      overwrite: delete the run in `workdir` first.
      checkpoints: when to save, and what to keep.
      baseline: also report the accuracy of logistic regression on word counts. None: with at most
        `flax_imdb.scores.MAX_BASELINE_EXAMPLES` training texts.
      tensorboard: write event files for TensorBoard, to ``tensorboard`` in `workdir`.
      console: where to show progress (default: standard output).

    Returns:
      The content of ``result.json``, or with several runs that of ``summary.json``.

    Raises:
      InputError: this cannot be done, or something went wrong. Checkpoints are kept.
      Preempted: a signal asked the run to stop; `resume` continues it.
    """
    files = workdir if isinstance(workdir, Workdir) else Workdir(workdir)
    devices = select_devices(device, config.training.batch_size)
    console = console or ProgramConsole(quiet=not distributed.is_main())
    report = Report(console, tensorboard=tensorboard)
    _check_agreement(config, resume=resume, overwrite=overwrite)
    config = _settle(config, files, report, resume=resume, overwrite=overwrite)
    if resume and (finished := _finished(files, config)) is not None:
        _check_moved(files, config)
        report.result(finished)
        if isinstance(finished, Result) and not _drawn(files):
            with files.hold():
                _draw(files, finished, _NOT_KNOWN)
        return finished
    distributed.everywhere(_check, config, devices)  # Before anything is written.

    config, dataset, begin = _prepare(config, files, report, resume=resume)
    if baseline:
        dataset.info.check_texts("`baseline`")
    elif baseline is None:
        of_texts = dataset.info.task.features is None
        baseline = of_texts and len(dataset.train) <= MAX_BASELINE_EXAMPLES

    @functools.cache  # The same for all seeds.
    def compare() -> float | None:
        return _baseline(config, dataset) if baseline else None

    with files.hold():
        if overwrite:
            files.clear()
        elif not resume:
            files.check_free()  # Again: another run may have come and gone meanwhile.
        if config.runs > 1:
            summary, predicted = _train_several(
                config, dataset, devices, files, checkpoints, report, compare, begin
            )
            report.result(summary)
            _write_report(files, predicted)
            return summary
        result, test = _train_once(
            config, dataset, devices, files, checkpoints, report, compare, begin
        )
        report.result(result)
        _draw(files, result, test)
    return result


class Prepared(NamedTuple):
    """What the training of an experiment needs.

    Attributes:
      config: the experiment, with what was found of its texts and of what it starts from.
      dataset: its examples.
      begin: the state before the first step, from one whose parameters are drawn at random.
    """

    config: ExperimentConfig
    dataset: Dataset
    begin: Callable[[ExperimentConfig, TrainState], TrainState]


def _prepare(config: ExperimentConfig, files: Workdir, report: Report, *, resume: bool) -> Prepared:
    embeddings = config.training.embeddings
    if embeddings is not None and resume and _have_checkpoints(files, config):
        embeddings = None  # They are in the checkpoint.
    if embeddings is not None:  # Before the texts are read, which may take long.
        distributed.on_main(check_word_vectors)(embeddings)
    start = functools.cache(lambda: read_start(config))
    config, known = _begun(config, files, start, resume=resume)
    with report.reading() as progress:
        dataset = distributed.everywhere(load_dataset, config.data, progress, known)
    release_memory()  # Encoding takes more than is left of it.
    distributed.check_agreement(
        {"`dataset`": dataset.info.name, "the fingerprint of the texts": dataset.info.fingerprint}
    )
    report.dataset(dataset)
    monitor = config.training.monitor_of(dataset.info.multi_label)
    check_monitor(monitor, dataset.validation.labels, len(dataset.info.classes))
    vectors = None
    if embeddings is not None:
        vectors = show_word_vectors(config, dataset, report)
        config = config.with_vectors(vectors)
    if config.training.class_weights == "balanced":
        dataset = dataclasses.replace(dataset, train=dataset.train.balanced())
    # Some settings do not go with so many classes: before anything is deleted.
    jax.eval_shape(functools.partial(config.create_state, dataset.info.task))
    config = _found(config, dataset)

    def begin(config: ExperimentConfig, state: TrainState) -> TrainState:
        return _first_state(config, state, dataset, start, vectors, report)

    return Prepared(config, dataset, begin)


def prepare_again(config: ExperimentConfig, run: Workdir, report: Report) -> Prepared:
    """What the repetition of a run needs, from `config`, its own or one whose texts have moved.

    Raises:
      InputError: the texts, or what else it was made of, are not there, or are others.
    """
    prepared = _prepare(config, run, report, resume=True)
    _check_same(run, prepared.dataset)
    return prepared


def train_again(
    prepared: Prepared,
    devices: list[jax.Device],
    workdir: Workdir,
    report: Report,
    *,
    keep: Collection[int] = (),
    until: tuple[int, int] | None = None,
    baseline: bool = False,
) -> Result | None:
    """Train a run again in another directory, or go on with what is there.

    No signals are caught, and no pictures drawn.

    Args:
      prepared: from `prepare_again`.
      devices: train on these.
      workdir: the directory.
      report: shows how far it is.
      keep: steps after which to save; these checkpoints are kept, whatever else is.
      until: stop where so many steps are done and so many epochs finished, and save.
      baseline: see `train`.

    Returns:
      The result; None if it has stopped before.
    """
    config, dataset, begin = prepared
    _check(config, devices)
    with workdir.hold():
        try:
            return _train_once(
                config,
                dataset,
                devices,
                workdir,
                CheckpointConfig(keep_checkpoints=1),
                report,
                lambda: _baseline(config, dataset) if baseline else None,
                begin,
                _Again(keep, until),
            )[0]
        except _Stopped:
            return None


class _Again(NamedTuple):
    """Where a repetition saves, and where it stops (see `train_again`)."""

    keep: Collection[int] = ()
    until: tuple[int, int] | None = None


class _Stopped(Exception):  # noqa: N818 - nothing went wrong
    """A repetition is where it is to stop."""


def _train_once(
    config: ExperimentConfig,
    dataset: Dataset,
    devices: list[jax.Device],
    workdir: Workdir,
    checkpoint_config: CheckpointConfig,
    report: Report,
    baseline: Callable[[], float | None],
    begin: Callable[[ExperimentConfig, TrainState], TrainState],
    again: _Again | None = None,
) -> tuple[Result, Predicted]:
    training = config.training
    keep, until = again or _Again()
    trainer = config.trainer(devices)
    state = config.create_state(dataset.info.task, training.steps(len(dataset.train)))
    report.start(config, dataset, devices, state, workdir)
    _begin(workdir, config, dataset)
    of_run = Identity(
        identity(config),
        dataset.info.fingerprint,
        dataset.info.settled,
        environment.describe(devices),
    )
    with (
        contextlib.nullcontext(Preemption()) if again else catch_signals() as preemption,
        Checkpoints(
            workdir.checkpoints,
            of_run,
            checkpoint_config,
            defaults=identity_of_old(),
            always=keep,
        ) as checkpoints,
        report.epochs(training.epochs),
    ):
        state, history, *_ = restored = checkpoints.resume(state, workdir.finished_epochs())
        new = history == History()
        if new:  # Otherwise it is in the checkpoint.
            state = begin(config, state)
        state = trainer.place(state)
        report.resumed(restored)
        history.go_on(int(state.step), of_run.environment, config.model.implementation)
        _go_on(workdir, config, dataset, history)
        report.before(workdir, history)
        saving = _Saving(checkpoints, workdir, preemption, until)
        if new and config.init_from is not None:  # From now on it needs that directory no more.
            history.unfinished = UnfinishedEpoch()
            saving.save(state, history)
            checkpoints.wait()

        def evaluated(state: TrainState, history: History, done: int, batches: int) -> None:
            report.evaluated(done, batches)
            saving.check(state, history)

        def tested(done: int, batches: int) -> None:
            report.evaluated(done, batches)
            preemption.check()

        test: Evaluation | None = None
        # The tutorial shows the test split after each epoch. Other recipes see it once.
        shown = dataset if config.recipe in (None, "tutorial") else dataset.without_test()
        epochs = trainer.train_epochs(
            state,
            shown,
            history,
            training,
            hooks=[saving],
            on_step=report.step,
            on_evaluated=evaluated,
        )
        for state, evaluation in epochs:
            saving.save(state, history)
            checkpoints.wait()
            _write_history(workdir, history)
            report.epoch(history.epochs[-1])
            preemption.check()
            saving.end(state, history)
            test = evaluation if history.epochs[-1].eval_split == "test" else None
        best = history.best()
        assert best is not None
        if best is not history.epochs[-1]:
            state = trainer.place(checkpoints.restore(state, best.step))
        if test is None:
            test = trainer.evaluate(state, dataset.test, tested)
            check_finite(test, "test", best.epoch)
        info = _with_thresholds(
            dataset, lambda: trainer.evaluate(state, dataset.validation, tested)
        )
        info = calibrated(info, dataset.calibration, lambda: trainer.predictor(state))
    preemption.check()  # A signal since the last check must stop the other seeds, too.
    if info.multi_label:
        test = decide(test, dataset.test.labels, info.threshold_of.values())
    if info != dataset.info:
        workdir.write("vocabulary.json", info.dump())
    scores = score(test, dataset.test.labels, info.classes, info.threshold_of)
    result = _result(config, dataset, devices, state, history, scores, baseline())
    workdir.write("result.json", result.dump())
    return result, Predicted(dataset.test, test)


def _first_state(
    config: ExperimentConfig,
    state: TrainState,
    dataset: Dataset,
    start: Callable[[], Start],
    vectors: WordVectors | None,
    report: Report,
) -> TrainState:
    """The state before the first step, from one whose parameters are drawn at random."""
    if config.init_from is not None:
        report.say(_start_of(config, dataset))
        state = started(state, start().variables, config.new_head)
        return config.count_ngrams(state, dataset.train) if config.new_head else state
    if vectors is None and config.training.embeddings is not None:
        # A run that had a checkpoint, but no intact one.
        vectors = distributed.on_main(config.read_word_vectors)(dataset)
    return config.begin(state, dataset.train, vectors)


def _start_of(config: ExperimentConfig, dataset: Dataset) -> str:
    """What is said of a run that starts from another one."""
    line = f"starting from the parameters in {config.init_from}, with a new optimizer"
    if dataset.info.task.features is None:
        known = dataset.train.known_share(len(dataset.info.vocabulary))
        line += f"; its vocabulary has {known:.1%} of the words to train on"
    return line


def _with_thresholds(dataset: Dataset, evaluate: Callable[[], Evaluation]) -> DatasetInfo:
    """What the run keeps of its dataset, with thresholds by an evaluation of validation rows."""
    if not dataset.info.multi_label or not len(dataset.validation):
        return dataset.info
    thresholds = choose_thresholds(evaluate().probability, dataset.validation.labels)
    return dataclasses.replace(dataset.info, thresholds=thresholds)


def calibrated(
    info: DatasetInfo, examples: Examples, predictor: Callable[[], Predictor]
) -> DatasetInfo:
    """What a run keeps of its dataset, with the conformity of the examples to calibrate with."""
    if not len(examples):
        return info
    probabilities = of_each_class(predictor()(examples))
    return dataclasses.replace(info, conformity=conformity(probabilities, examples.labels))


class _Saving:
    """A hook that saves the state: from time to time, and when the run is preempted."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        workdir: Workdir,
        preemption: Preemption,
        until: tuple[int, int] | None = None,
    ):
        self._until = until
        self._checkpoints = checkpoints
        self._workdir = workdir
        self._preemption = preemption
        self._stop = False

    def due(self, step: int) -> bool:
        """Whether to save; called in all processes, which agree on a preemption."""
        self._stop = self._preemption.requested()
        ends = self._until is not None and step == self._until[0]
        return self._checkpoints.due(step) or self._stop or ends

    def __call__(self, state: TrainState, history: History) -> None:
        """Save, and stop if the run is preempted."""
        self.save(state, history)
        if self._stop:  # Not asked again: not all processes are here if it is only time to save.
            self._preemption.stop()
        self.end(state, history)

    def check(self, state: TrainState, history: History) -> None:
        """Save and stop if the run is preempted; called after each batch of an evaluation."""
        if self._preemption.requested():
            self.save(state, history)
            self._preemption.stop()
        if self._is_there(state, history):
            self.save(state, history)
            self.end(state, history)

    def _is_there(self, state: TrainState, history: History) -> bool:
        """Whether the run is where it is to stop."""
        return self._until is not None and (int(state.step), len(history.epochs)) == self._until

    def end(self, state: TrainState, history: History) -> None:
        """Stop if the run, which is saved, is where it is to stop."""
        if self._is_there(state, history):
            self._checkpoints.wait()
            raise _Stopped

    def save(self, state: TrainState, history: History) -> None:
        """Save, if the directory is still this run's."""
        if distributed.is_main():
            self._workdir.check_held()
        self._checkpoints.save(state, history)


def _train_several(
    config: ExperimentConfig,
    dataset: Dataset,
    devices: list[jax.Device],
    workdir: Workdir,
    checkpoints: CheckpointConfig,
    report: Report,
    baseline: Callable[[], float | None],
    begin: Callable[[ExperimentConfig, TrainState], TrainState],
) -> tuple[Summary, list[Predicted | InputError]]:
    for _, directory in _seeds(config, workdir):
        _check_same(directory, dataset)
    workdir.write("config.json", dump_config(config))
    results, predicted = [], []
    for once, directory in _seeds(config, workdir):
        with directory.hold():
            result = _finished(directory, once)
            drawn = result is not None and _drawn(directory)
            test: Predicted | InputError = _NOT_KNOWN
            if result is None:
                report.seed(once.training.seed)
                result, test = _train_once(
                    once, dataset, devices, directory, checkpoints, report, baseline, begin
                )
            assert isinstance(result, Result)
            if not drawn:
                _draw(directory, result, test)
        results.append(result)
        predicted.append(test)
    summary = summarize(config, results)
    workdir.write("summary.json", summary.dump())
    return summary, predicted


def summarize(config: ExperimentConfig, results: Sequence[Result]) -> Summary:
    """The summary of an experiment of several runs, from the result of each."""
    accuracies = [result.test_accuracy for result in results]
    same = (
        *("arch", "dataset", "note", "device", "devices", "padding", "precision"),
        "baseline_accuracy",
    )
    return Summary(
        **{name: getattr(results[0], name) for name in same},
        epochs=config.training.epochs,
        runs=config.runs,
        seeds=[result.seed for result in results],
        test_accuracy=statistics.mean(accuracies),
        test_accuracy_std=statistics.stdev(accuracies),
        test_accuracies=accuracies,
        test_losses=[result.test_loss for result in results],
        train_seconds=[result.train_seconds for result in results],
        step_ms_median=statistics.median(result.step_ms_median for result in results),
        versions=results[0].versions,
        epochs_by_run=[result.epochs for result in results],
    )


def _drawn(workdir: Workdir) -> bool:
    return all(map(workdir.has, ("curves.png", "scores.png", "report.html")))


def _seeds(
    config: ExperimentConfig, workdir: Workdir
) -> Iterator[tuple[ExperimentConfig, Workdir]]:
    """The experiment and the directory of each seed."""
    for seed in range(config.training.seed, config.training.seed + config.runs):
        training = dataclasses.replace(config.training, seed=seed)
        once = dataclasses.replace(config, training=training, runs=1)
        yield once, Workdir(workdir.path / f"seed-{seed}")


def _check_agreement(config: ExperimentConfig, **options: bool) -> None:
    """Raise InputError if the processes differ; only the place of the texts may."""
    here = environment.versions()
    by_name = settings(config) | options
    for name in ("dataset", "test_dataset", "data_dir"):
        del by_name[name]
    distributed.check_agreement(
        # The versions first: another one may have other settings.
        {f"the version of {name}": here[name] for name in ("flax_imdb", "jax")}
        | {f"`{name}`": value for name, value in by_name.items()}
    )


def _settle(
    config: ExperimentConfig, workdir: Workdir, report: Report, *, resume: bool, overwrite: bool
) -> ExperimentConfig:
    """The experiment to train: `config`, or that of the run to resume with what may change.

    Raises:
      InputError: `workdir` does not allow it.
    """
    if resume and overwrite:
        raise InputError("`resume` keeps the run and `overwrite` deletes it: give one of them")
    config = absolute(config)
    if config.init_from is not None and is_inside(config.init_from, workdir):
        raise InputError(
            f"`init_from` {config.init_from} is in `workdir`, {workdir.path}: give the new run a "
            "directory of its own"
        )
    if overwrite:
        workdir.check_own()
    elif not resume:
        workdir.check_free()
    elif (started := workdir.config()) is not None:
        return _continued(config, started)
    else:
        report.say(f"no run in {workdir.path} yet: starting one, with the settings that are given")
    if config.init_from is not None and config.data.dataset == DataConfig.dataset:
        raise InputError("`init_from` needs `dataset`: the texts to go on with")
    return config


def _continued(config: ExperimentConfig, saved: ExperimentConfig) -> ExperimentConfig:
    """The experiment to continue: `saved`, with the settings that may change from `config`."""
    if config.training.epochs < saved.training.epochs:
        raise InputError(
            f"`epochs` {config.training.epochs} is fewer than the run has: "
            f"{saved.training.epochs} or more is needed to `resume` it"
        )
    if config.training.epochs > saved.training.epochs and saved.training.schedule != "constant":
        raise InputError(
            f"`epochs` {config.training.epochs} is more than the run has, and its `schedule` "
            f"{saved.training.schedule} ends with epoch {saved.training.epochs}: start a new run"
        )
    config = _with_start(config, saved)
    # What was not given was found when the run began, and is the same now.
    defaults = DataConfig()
    found = {
        name: getattr(saved.data, name)
        for name in (
            *("dataset", "test_dataset", "data_dir", "text_columns", "label_column"),
            "label_separator",
        )
        if getattr(config.data, name) == getattr(defaults, name)
    }
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, **found))
    config = with_saved_vectors(config, saved, "the run was started with")
    theirs = identity(saved)
    for name, value in identity(config).items():
        if value != theirs[name]:
            may_change = ", ".join(f"`{name}`" for name in MAY_CHANGE)
            raise InputError(
                f"`{name}` {value} is not what the run was started with ({theirs[name]}): `resume` "
                f"may only change {may_change}, `device` and how checkpoints are kept"
            )
    return config


def with_saved_vectors(
    config: ExperimentConfig, saved: ExperimentConfig, those: str
) -> ExperimentConfig:
    """The experiment to continue, with what was found of its word vectors when it began.

    Args:
      config: the experiment.
      saved: the same, as it began.
      those: what its word vectors are called in messages.

    Raises:
      InputError: it names another file than `saved`, in which is something else.
    """
    path, digest = saved.training.embeddings, saved.training.embeddings_digest
    if config.training.embeddings is None or path is None:
        if config.training.embeddings != path:
            raise InputError(
                f"`embeddings` {config.training.embeddings} is not what {those} ({path})"
            )
        return config
    given = absolute_path("`embeddings`", local_path("`embeddings`", config.training.embeddings))
    if given != path and distributed.on_main(sha256_of)(given) != digest:
        raise InputError(
            f"`embeddings` {given} is another file of word vectors than {those} ({path}): none is "
            "needed any more"
        )
    model = dataclasses.replace(config.model, embedding_features=saved.model.embedding_features)
    training = dataclasses.replace(
        config.training,
        embeddings=given,
        embeddings_digest=config.training.embeddings_digest or digest,
    )
    return dataclasses.replace(config, model=model, training=training)


def show_word_vectors(config: ExperimentConfig, dataset: Dataset, report: Report) -> WordVectors:
    """Read the word vectors that the embedding begins with, and show what they cover.

    Raises:
      InputError: they cannot be read, or have none of the dataset's words.
    """
    with report.reading() as progress:
        vectors = distributed.on_main(config.read_word_vectors)(dataset, progress)
    assert vectors is not None
    report.word_vectors(vectors, config, dataset)
    return vectors


@distributed.on_main
def _have_checkpoints(workdir: Workdir, config: ExperimentConfig) -> bool:
    """Whether the run, or each of its seeds, has a checkpoint, and with it what it began with."""
    runs = [run for _, run in _seeds(config, workdir)] if config.runs > 1 else [workdir]
    return all(any(map(str.isdecimal, names_in(run.checkpoints))) for run in runs)


def _with_start(config: ExperimentConfig, saved: ExperimentConfig) -> ExperimentConfig:
    """The experiment with what `saved` started from, which may have moved."""
    if config.init_from is None:
        names = ("init_from", "init_fingerprint", "new_head")
        return dataclasses.replace(config, **{name: getattr(saved, name) for name in names})
    moved = any(distributed.all_gather(config.init_from != saved.init_from))
    if moved and read_start(config).fingerprint != saved.init_fingerprint:
        raise InputError(
            f"`init_from` {config.init_from} is not what the run was started with "
            f"({saved.init_from})"
        )
    fingerprint = config.init_fingerprint or saved.init_fingerprint
    return dataclasses.replace(config, init_fingerprint=fingerprint)


def _begun(
    config: ExperimentConfig,
    workdir: Workdir,
    start: Callable[[], Start],
    *,
    resume: bool,
) -> tuple[ExperimentConfig, DatasetInfo | None]:
    """The experiment with what it starts from, and what its model knows of the texts."""
    if config.init_from is None:
        return config, None
    each = [directory for _, directory in _seeds(config, workdir)] if config.runs > 1 else [workdir]
    for directory in each if resume else []:
        if (info := directory.dataset_info()) is not None:
            return config, info
    known, fingerprint, _ = start()
    if config.new_head:
        known = dataclasses.replace(known, classes=())
    return dataclasses.replace(config, init_fingerprint=fingerprint), known


def _check(config: ExperimentConfig, devices: list[jax.Device]) -> None:
    """Raise InputError unless the experiment can be computed on these devices."""
    if len(devices) > config.training.batch_size:
        raise InputError(
            f"`batch_size` {config.training.batch_size} is too small for {len(devices)} devices: "
            "each needs a row"
        )
    with jax.default_device(devices[0]):
        jax.eval_shape(config.create_state)


def _found(config: ExperimentConfig, dataset: Dataset) -> ExperimentConfig:
    """The experiment with the place of its texts, so that `resume` uses the same anywhere."""
    data = dataclasses.replace(config.data, **dataset.found)  # type: ignore[arg-type]
    return dataclasses.replace(config, data=data)


def _check_moved(workdir: Workdir, config: ExperimentConfig) -> None:
    """Raise InputError if `config` has another place of the texts, with other texts."""
    saved = workdir.config()
    moved = saved is None or any(
        getattr(saved.data, place) != getattr(config.data, place)
        for place in ("dataset", "test_dataset", "data_dir")
    )
    if any(distributed.all_gather(moved)):
        _, known = _begun(config, workdir, lambda: read_start(config), resume=True)
        dataset = distributed.everywhere(load_dataset, config.data, known=known)
        for _, directory in _seeds(config, workdir) if config.runs > 1 else [(config, workdir)]:
            _check_same(directory, dataset)


def _check_same(workdir: Workdir, dataset: Dataset) -> None:
    """Raise InputError if the run in `workdir` was started on other texts."""
    if (info := workdir.dataset_info()) is not None:
        info.check_same(dataset.info, dataset.location)


def _begin(workdir: Workdir, config: ExperimentConfig, dataset: Dataset) -> None:
    _check_same(workdir, dataset)
    if workdir.config() is None:
        # At once: a run that dies from here on is resumed with these settings.
        workdir.write("config.json", dump_config(config))


def _go_on(workdir: Workdir, config: ExperimentConfig, dataset: Dataset, history: History) -> None:
    # Only now: a run that cannot be continued stays as it was.
    workdir.write("config.json", dump_config(config))
    workdir.write("vocabulary.json", dataset.info.dump())
    _write_history(workdir, history)


def _write_history(workdir: Workdir, history: History) -> None:
    workdir.write_records(history.epochs)
    workdir.write_steps(len(history.epochs), history.last_steps)


def _finished(workdir: Workdir, config: ExperimentConfig) -> Result | Summary | None:
    """The result of a run; None if it has not finished, or its files are damaged."""
    result = workdir.result() if config.runs == 1 else workdir.summary()
    if result is None:
        return None
    stopped_early = isinstance(result, Result) and result.stopped_early
    if result.epochs != config.training.epochs and not stopped_early:
        return None
    if isinstance(result, Summary):
        intact = all(_finished(directory, once) for once, directory in _seeds(config, workdir))
    else:
        intact = workdir.dataset_info() is not None and distributed.on_main(are_intact)(
            workdir.checkpoints, result.reported_step
        )
    return result if intact else None


def _result(
    config: ExperimentConfig,
    dataset: Dataset,
    devices: list[jax.Device],
    state: TrainState,
    history: History,
    scores: Scores,
    baseline: float | None,
) -> Result:
    best, epochs = history.best(), history.epochs
    assert best is not None
    return Result(
        **dataclasses.asdict(scores),
        arch=config.model.arch,
        dataset=dataset.info.name,
        note=dataset.note,
        device=kind(devices[0]),
        device_kind=devices[0].device_kind,
        devices=len(devices),
        processes=jax.process_count(),
        cpus=os.cpu_count(),
        epochs=len(epochs),
        stopped_early=len(epochs) < config.training.epochs,
        reported_epoch=best.epoch,
        reported_step=best.step,
        skipped_steps=sum(record.skipped_steps for record in epochs),
        seed=config.training.seed,
        padding=config.data.padding,
        precision=config.model.precision,
        batch_size=config.training.batch_size,
        train_examples=len(dataset.train),
        validation_examples=len(dataset.validation),
        calibration_examples=len(dataset.calibration),
        test_examples=len(dataset.test),
        parameters=optax.tree.size(state.params),
        baseline_accuracy=baseline,
        validation_accuracy=best.eval_accuracy if best.eval_split == "validation" else None,
        train_seconds=sum(record.seconds for record in epochs),
        compile_seconds=sum(record.compile_seconds for record in epochs),
        step_ms_median=statistics.median(record.step_ms_median for record in epochs),
        versions=environment.versions(),
        segments=[dataclasses.asdict(segment) for segment in history.segments],
    )


@distributed.on_main
def _baseline(config: ExperimentConfig, dataset: Dataset) -> float | None:
    """The word-count baseline, or a warning: the result does not depend on it."""
    try:
        goes_on = config.init_from is not None and not config.new_head
        known = dataset.info.classes if goes_on else ()
        return baseline_accuracy(config.data, dataset.train.weights, known)
    except Exception as error:  # Any of scikit-learn's, or too little memory.
        warn(f"no comparison with word counts: {type(error).__name__}: {error}")
        return None


# Of a run that finished before.
_NOT_KNOWN = InputError("flax-imdb report computes the predictions that they need")


@distributed.on_main
def _draw(workdir: Workdir, result: Result, predicted: Predicted | InputError) -> None:
    """Draw what shows a finished run, or warn: the result does not depend on it."""
    title = f"{result.arch} on {result.dataset}: test accuracy {result.test_accuracy:.2%}"
    if result.note:
        title += "\nSYNTHETIC REVIEWS: accuracy means nothing for IMDB"
    _try_to_write(workdir, "curves.png", lambda: draw_curves(workdir.records(), title))
    _try_to_write(workdir, "scores.png", lambda: draw_scores(result, title))
    _write_report(workdir, [predicted])


@distributed.on_main
def _write_report(workdir: Workdir, predicted: Sequence[Predicted | InputError]) -> None:
    """Write the page on a run, or on those of several seeds."""
    each = list(zip(workdir.seeds(), predicted, strict=True))
    _try_to_write(workdir, "report.html", lambda: render([read_run(*run) for run in each]))


def _try_to_write(workdir: Workdir, name: str, draw: Callable[[], str | bytes]) -> None:
    try:
        workdir.write(name, draw())
    except Exception as error:  # Any of matplotlib's.
        warn(f"no {name} in {workdir.path}: {type(error).__name__}: {error}")
