"""``flax-imdb check``."""

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from flax_imdb.cli.flags import given_of, leaving_nothing, parse
from flax_imdb.data import DataConfig
from flax_imdb.errors import InputError, warn
from flax_imdb.paths import output_path, writing

if TYPE_CHECKING:
    from rich.console import Console

    from flax_imdb.check import Checked

# The settings of `DataConfig` that say where texts are and how they are read.
_READING = (
    *("data_dir", "test_dataset", "test_fraction", "text_columns", "label_column", "multi_label"),
    *("label_separator", "allow_no_labels", "columns", "delimiter", "encoding", "skip_bad_rows"),
)


@dataclasses.dataclass(frozen=True)
class CheckOptions:
    """Look for what may be wrong with texts and labels, before training.

    Probable wrong labels, duplicates, texts that are in both splits, labels that differ by case or
    blanks, broken characters, what a model might learn instead of the meaning, and whether more
    texts would help. No model is needed, and nothing is changed.

    Attributes:
      dataset: A file, a folder, tfds:NAME, or imdb_reviews, as train's dataset.
      output: Write the doubtful rows to this CSV file, with their lines, the most doubtful first.
      json: Print all that was found as JSON, on one line.
      picture: Draw the classes, the lengths, the doubts and the learning curve to this PNG file.
      overwrite: Replace the files that are there.
      data_dir: A tfds data directory or an extracted aclImdb folder.
      test_dataset: The test split. None: a part of dataset.
      test_fraction: The part that is the test split. None: 0.2.
      text_columns: The columns of the text. None: found by their names.
      label_column: The column of the label, or several of 0 and 1. None: found by its name.
      multi_label: A text has any number of labels.
      label_separator: What separates several labels in their column.
      allow_no_labels: An empty field of several labels says that there is none.
      columns: The names of all columns, if there is no header.
      delimiter: What separates the columns.
      encoding: The encoding of text files.
      skip_bad_rows: Leave out rows without a text or a label, instead of stopping.
    """

    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    output: str | None = None
    json: bool = False
    picture: str | None = None
    overwrite: bool = False
    data_dir: str | None = None
    test_dataset: str | None = None
    test_fraction: float | None = None
    text_columns: str | None = None
    label_column: str | None = None
    multi_label: bool = False
    label_separator: str | None = None
    allow_no_labels: bool = False
    columns: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    skip_bad_rows: bool = False


def command(args: list[str], prog: str) -> int:
    """Look for what may be wrong with texts and labels, before training."""
    from flax_imdb.report.checked import draw_checked, show_checked
    from flax_imdb.report.console import ProgramConsole

    options = parse(CheckOptions, args, prog)
    files = {name: getattr(options, name) for name in ("output", "picture")}
    for name, path in files.items():
        if path is not None:
            _check_apart(name, output_path(f"`{name}`", path, options.overwrite), options)
    if None not in files.values() and len({*map(os.path.realpath, files.values())}) == 1:
        raise InputError(f"`output` and `picture` are both {options.output}: give one another name")
    if options.overwrite and not any(files.values()):
        raise InputError("`overwrite` has no effect: it is for a file, `output` or `picture`")
    console = ProgramConsole(highlight=False, stderr=options.json)
    with leaving_nothing():
        checked = _checked(options, console)
        for warning in checked.texts.source.warnings:
            warn(warning)
        if options.json:
            print(json.dumps(checked.content(), allow_nan=False))
        else:
            show_checked(checked, console)
        if options.output is not None:
            with writing("`output`", options.output, options.overwrite) as file:
                checked.write(file)
            if not options.json:
                print(f"{len(checked.findings):,} rows written to {options.output}")
        if options.picture is not None:
            with writing("`picture`", options.picture, options.overwrite) as file:
                file.write(draw_checked(checked))
    return 0


def _check_apart(name: str, file: Path, options: CheckOptions) -> None:
    """Raise InputError if a file to write is one of those to read, or in their folder."""
    inputs = {"the dataset": options.dataset, "`test_dataset`": options.test_dataset}
    for what, path in inputs.items():
        if path is not None and os.path.exists(path):
            within = (file, *Path(os.path.realpath(file)).parents)
            if any(place.exists() and os.path.samefile(place, path) for place in within):
                raise InputError(f"`{name}` {file} is part of {what}, {path}: give another name")


def _checked(options: CheckOptions, console: "Console") -> "Checked":
    """What is found, while a bar shows how far it is."""
    from flax_imdb.check import check_dataset
    from flax_imdb.report.console import Bar

    try:
        config = DataConfig(dataset=options.dataset, **given_of(options, _READING))
        with Bar(console, "reading") as bar:
            return check_dataset(
                config,
                lambda what, done, total: bar.show(what, done, total, f"{done:,}" if done else ""),
            )
    except InputError as error:  # It is no flag here.
        raise InputError(str(error).replace("`dataset`", "FILE")) from None
