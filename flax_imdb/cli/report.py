"""``flax-imdb report``."""

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from flax_imdb.cli.flags import Imports, parse, warn_of_synthetic
from flax_imdb.devices import DeviceName
from flax_imdb.errors import InputError
from flax_imdb.paths import local_path, output_path, writing
from flax_imdb.workdir import Workdir

if TYPE_CHECKING:
    from flax_imdb.report import Predicted


@dataclasses.dataclass(frozen=True)
class ReportOptions:
    """Write a page about a run, or about several: report.html.

    It needs no network. It shows texts of the test split: those of the most certain mistakes.

    Attributes:
      directories: The directories of the runs.
      workdir: The directory of a run; may be repeated.
      output: The file to write. None: report.html in the run's directory, and of several in the
        current one.
      overwrite: Replace the file if it exists.
      no_texts: Show no texts.
      device: Where to compute the predictions.
      data_dir: Where the reviews or tfds's datasets are now. None: as in training.
      imports: Import this module first: the one that registers the runs' architecture.
    """

    directories: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    workdir: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    output: str | None = None
    overwrite: bool = False
    no_texts: bool = False
    device: DeviceName = "auto"
    data_dir: str | None = None
    imports: Imports = ()


def command(args: list[str], prog: str) -> int:
    """Write a page about a run, or about several: report.html."""
    options = parse(ReportOptions, args, prog)
    named = map(Workdir, (*options.workdir, *options.directories))
    directories = [*{workdir.path.absolute(): workdir for workdir in named}.values()]
    if not directories:
        raise InputError("`workdir` is missing: name the directory of a run, or of several")
    path, overwrite = _output(options, directories)
    from flax_imdb.report import names_of, read_run, render

    workdirs = [seed for directory in directories for seed in directory.seeds()]
    names = names_of([workdir.path for workdir in workdirs])
    runs = [
        read_run(
            workdir,
            _predicted(workdir, options),
            name=name,
            texts=not options.no_texts,
            data_dir=options.data_dir,
        )
        for workdir, name in zip(workdirs, names, strict=True)
    ]
    page = render(runs)
    with writing("`output`", path, overwrite) as file:
        file.write(page.encode())
    print(path)
    return 0


def _output(options: ReportOptions, directories: list[Workdir]) -> tuple[Path, bool]:
    """Where the page goes, and whether it may replace a file.

    Raises:
      InputError: it cannot go there.
    """
    own = directories[0].path / "report.html" if len(directories) == 1 else None
    if options.output is None:
        path = own or Path("report.html")
    else:
        path = local_path("`output`", options.output, "file")
    renewed = own is not None and os.path.abspath(path) == os.path.abspath(own)
    if renewed:  # Whether there is a run is to be said first.
        return path, True
    return output_path("`output`", path, options.overwrite), options.overwrite


def _predicted(workdir: Workdir, options: ReportOptions) -> "Predicted | InputError":
    """What the model of a run predicts for its test split; an error says why that is not known."""
    from flax_imdb.predict import load
    from flax_imdb.report import Predicted

    model = load(workdir.path, options.device)
    warn_of_synthetic(model.config)
    try:
        examples = model.test_examples(options.data_dir)
    except InputError as problem:
        return problem
    return Predicted(examples, model.predict_examples(examples))
