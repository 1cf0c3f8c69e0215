"""``flax-imdb train`` and ``train.py``."""

import dataclasses
import datetime
import signal
from pathlib import Path

from flax_imdb.cli.flags import Imports, first_of, parse, say
from flax_imdb.config import ExperimentConfig, recipe, settings
from flax_imdb.devices import DeviceName
from flax_imdb.distributed import Processes, end_together, join
from flax_imdb.errors import InputError, Preempted, as_flags
from flax_imdb.start import start_from
from flax_imdb.training.checkpoints import CheckpointConfig
from flax_imdb.workdir import Workdir


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Train a classifier on the IMDB reviews, or on texts of your own.

    Attributes:
      experiment: what to train.
      processes: of a run on several hosts.
      imports: Import this module first, such as one that registers an architecture.
      device: Train on all devices of this kind; auto: what JAX prefers.
      checkpoints: when to save, and what to keep.
      baseline: Compare with logistic regression on word counts; without this and the next flag, up
        to 200,000 texts are.
      no_baseline: Do not compare with it.
      tensorboard: Write event files for TensorBoard, to workdir's folder tensorboard.
      workdir: Where the run's files go. None: runs/ARCH-DATE-TIME.
      resume: Continue the run in workdir after its newest checkpoint.
      overwrite: Delete the run in workdir first.
    """

    experiment: ExperimentConfig = dataclasses.field(default_factory=ExperimentConfig)
    processes: Processes = dataclasses.field(default_factory=Processes)
    checkpoints: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    imports: Imports = ()
    device: DeviceName = "auto"
    baseline: bool = False
    no_baseline: bool = False
    tensorboard: bool = False
    workdir: str | None = None
    resume: bool = False
    overwrite: bool = False


def command(args: list[str], prog: str) -> int:
    """Train a classifier on the IMDB reviews, or on texts of your own."""
    # A flag that is not given has the value of the run that is resumed or started from, or of the
    # recipe.
    first = first_of(args)
    saved = None
    if first.resume and first.workdir is not None:
        saved = Workdir(first.workdir).config()
    if saved is not None:  # What it started from may be gone.
        experiment = saved
    elif first.init_from not in (None, "None"):
        experiment = start_from(first.init_from)
    else:
        experiment = ExperimentConfig() if first.recipe in (None, "None") else recipe(first.recipe)
    # Of a flag that is on already tyro knows the one alone that turns it off.
    on = {as_flags(f"`{name}`") for name, value in settings(experiment).items() if value is True}
    args = [arg for arg in args if arg.replace("_", "-") not in on]
    default = TrainOptions(experiment=experiment)
    options = parse(TrainOptions, args, prog, default=default)
    if options.workdir is None:
        if options.resume:
            raise InputError("--resume needs --workdir: the directory of the run to continue")
        now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        workdir = Workdir(Path("runs", f"{options.experiment.model.arch}-{now}"), new=True)
    else:
        workdir = Workdir(options.workdir)
    from flax_imdb.experiment import train

    join(options.processes)
    try:
        train(
            options.experiment,
            workdir,
            device=options.device,
            resume=options.resume,
            overwrite=options.overwrite,
            checkpoints=options.checkpoints,
            baseline=None if options.baseline == options.no_baseline else options.baseline,
            tensorboard=options.tensorboard,
        )
    except Preempted as stop:
        end_together()
        say(f"{stop}: continue with --resume --workdir {workdir.path}")
        return 128 + stop.signal
    except KeyboardInterrupt:
        say("stopped by SIGINT before there was anything new to save")
        return 128 + signal.SIGINT
    return 0
