"""``flax-imdb evaluate``."""

import dataclasses

from flax_imdb.cli.flags import Imports, given_of, parse, warn_of_synthetic
from flax_imdb.devices import DeviceName
from flax_imdb.errors import InputError

# The settings of `DataConfig` that say where texts are and how they are read.
_READING = (
    *("dataset", "text_columns", "label_column", "columns", "delimiter"),
    *("encoding", "skip_bad_rows", "label_separator", "allow_no_labels"),
)


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """Score a run's model on its test split again, or on other texts.

    How other texts are read is as in training, unless a flag says otherwise.

    Attributes:
      workdir: The run's directory.
      dataset: Score on this file, folder or tfds:NAME. None: the run's test split.
      text_columns: The columns of its text.
      label_column: The column of its label, or several of 0 and 1.
      label_separator: What separates several labels in their column.
      allow_no_labels: An empty field of several labels says that there is none.
      columns: The names of all its columns, if it has no header.
      delimiter: What separates its columns.
      encoding: Its encoding.
      skip_bad_rows: Leave out rows without a text or a label, instead of stopping.
      device: Where to evaluate.
      abstain: Score prediction sets of this coverage, such as 0.95, too.
      data_dir: Where the reviews or tfds's datasets are now. None: as in training.
      imports: Import this module first: the one that registers the run's architecture.
    """

    workdir: str
    dataset: str | None = None
    text_columns: str | None = None
    label_column: str | None = None
    label_separator: str | None = None
    allow_no_labels: bool = False
    columns: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    skip_bad_rows: bool = False
    device: DeviceName = "auto"
    abstain: float | None = None
    data_dir: str | None = None
    imports: Imports = ()


def command(args: list[str], prog: str) -> int:
    """Score a run's model on its test split again, or on other texts."""
    from flax_imdb.data import load_examples
    from flax_imdb.predict import load
    from flax_imdb.report import ProgramConsole, Report

    options = parse(EvaluateOptions, args, prog)
    model = load(options.workdir, options.device)
    warn_of_synthetic(model.config)
    report = Report(ProgramConsole())
    if options.abstain is not None:  # Refused before anything is read.
        model.least_probability(options.abstain)
    given = given_of(options, _READING)
    if options.dataset is None:
        if given:
            raise InputError(f"`{next(iter(given))}` is of other texts: give them as `dataset`")
        examples = model.test_examples(options.data_dir)
    else:
        data_dir = options.data_dir or model.config.data.data_dir
        data = dataclasses.replace(model.config.data, **given, data_dir=data_dir)
        examples, remarks = load_examples(data, model.info, given)
        for remark in remarks:
            report.say(remark)
    scores = model.score(examples)
    report.scores(scores)
    if options.abstain is not None:
        report.set_scores(model.score_sets(examples, options.abstain))
    print(f"Loss: {scores.test_loss:.4f}")
    print(f"Accuracy: {scores.test_accuracy:.2%}")
    return 0
