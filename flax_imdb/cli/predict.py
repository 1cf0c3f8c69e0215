"""``flax-imdb predict``."""

import contextlib
import csv
import dataclasses
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TextIO, cast

import tyro

from flax_imdb.cli.flags import Imports, given_of, leaving_nothing, parse, say, warn_of_synthetic
from flax_imdb.devices import DeviceName
from flax_imdb.errors import InputError, warn
from flax_imdb.paths import output_path, writing

if TYPE_CHECKING:
    from flax_imdb.answers import Answer, Answers
    from flax_imdb.predict import TrainedModel
    from flax_imdb.predict_files import InputFile

# The settings of `DataConfig` that say how a file is read.
_READING = ("text_columns", "columns", "delimiter", "encoding", "skip_bad_rows")

_STANDARD_INPUT = "-"
_AT_ONCE = 2**16  # bytes

Texts = Iterable[tuple[Sequence[str], Sequence[str]]]
"""Some texts at a time, and what messages call them."""

Answered = Iterable[tuple[Sequence["Answer"], Sequence[str]]]
"""Some answers at a time, and what messages call the texts."""


@dataclasses.dataclass(frozen=True)
class PredictOptions:
    """Print a line for each text: a probability, and the likeliest class.

    Of two classes the probability is that of the second; of more that of the likeliest. Where a
    text may have several labels, the line has those above their thresholds, or -. With an input and
    an output file, the rows are written again with the answers in new columns. Of a model of
    numeric sequences the input is an .npz file, and the lines are printed or written.

    Attributes:
      texts: The texts. Without any, and without an input, the lines of standard input.
      workdir: The run's directory.
      input: A file of texts, of a format that training reads. -: the lines of standard input.
      output: Write to this file, which has the form of the input.
      overwrite: Replace the output file that is there.
      json: Print JSON: for each text an object with label (or labels) and probabilities, or with an
        error.
      probabilities: Print the probability of each class, too.
      top_k: Show so many classes, the likeliest first. None: all, or 5 if there are more than 20
        that exclude each other.
      min_probability: Show no label where no class has this probability.
      abstain: A coverage, such as 0.95: show for each text the set of classes that has the true one
        with this probability, and a label where it is one alone. For runs with
        calibration-examples.
      text_columns: The columns of the input's text. None: as in training, or found by their names.
      columns: The names of all columns of the input, if it has no header.
      delimiter: What separates the columns of the input.
      encoding: The encoding of the input.
      skip_bad_rows: Leave out rows without a text.
      device: Where to compute.
      imports: Import this module first: the one that registers the run's architecture.
    """

    texts: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    workdir: str = tyro.MISSING
    input: str | None = None
    output: str | None = None
    overwrite: bool = False
    json: bool = False
    probabilities: bool = False
    top_k: int | None = None
    min_probability: float = 0.0
    abstain: float | None = None
    text_columns: str | None = None
    columns: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    skip_bad_rows: bool = False
    device: DeviceName = "auto"
    imports: Imports = ()

    @property
    def file(self) -> str | None:
        """The input, if it is a file."""
        return None if self.input == _STANDARD_INPUT else self.input

    def given(self) -> dict[str, Any]:
        """The settings of reading that are given."""
        return given_of(self, _READING)


def command(args: list[str], prog: str) -> int:
    """Print the probability and the class of texts."""
    from flax_imdb.answers import Answers, Choice
    from flax_imdb.predict import load
    from flax_imdb.predict_files import predict_file

    options = parse(PredictOptions, args, prog)
    choice = Choice(options.top_k, options.min_probability, options.abstain)
    _check(options)
    model = load(options.workdir, options.device)
    warn_of_synthetic(model.config)
    answers = Answers(model, choice)
    with leaving_nothing():
        if model.info.task.features is not None:
            _print_answers(_of_sequences(model, answers, options), options)
        elif options.file is None:
            texts = options.texts
            if not texts:
                _print_answers(_of_texts(lines_of_input(), answers), options)
            else:
                names = [f"text {number}" for number in range(1, len(texts) + 1)]
                _print_answers(_of_texts([(texts, names)], answers), options)
        else:
            file = _open(options.file, model, options)
            if options.output is None:
                rows = ((rows.texts, rows.names) for rows in file.read())
                _print_answers(_of_texts(rows, answers), options)
            else:
                predict_file(file, options.output, answers, options.overwrite)
                if answers.problems.number:
                    say(f"error: {_note_on_problems(file.table.place, answers)}")
            if file.note:
                say(file.note)
    answers.warn()
    return 2 if answers.problems.number else 0


def _check(options: PredictOptions) -> None:
    """Raise InputError if flags contradict each other, before the model is loaded."""
    if options.texts and options.input is not None:
        raise InputError(
            f"`input` {options.input} and texts are given: one of them, or neither for standard "
            "input"
        )
    if options.file is None and (given := options.given()):
        raise InputError(f"`{next(iter(given))}` has no effect: it is for a file, given as `input`")
    if options.output is None:
        if options.overwrite:
            raise InputError("`overwrite` has no effect: it is for a file, given as `output`")
        return
    output_path("`output`", options.output, options.overwrite)
    from flax_imdb.data.sources import is_npz

    if options.file is not None and not is_npz(options.file):
        from flax_imdb.predict_files import check_form

        check_form(options.file, options.output, options.json)


def _open(place: str, model: "TrainedModel", options: PredictOptions) -> "InputFile":
    """The texts of a file, read as in training unless a flag says otherwise."""
    from flax_imdb.predict_files import InputFile

    given = options.given()
    config = dataclasses.replace(model.config.data, skip_bad_rows=False)
    return InputFile(place, dataclasses.replace(config, **given), given)


def _of_texts(texts: Texts, answers: "Answers") -> Answered:
    return ((answers(some, names), names) for some, names in texts)


def _of_sequences(model: "TrainedModel", answers: "Answers", options: PredictOptions) -> Answered:
    """The answers to the numeric sequences of the input, all of which are checked first."""
    from flax_imdb.data.sources import SequenceFile

    if options.file is None:
        raise InputError(
            "this model reads numeric sequences: give them in an .npz file, as `input`"
        )
    dataclasses.replace(model.config.data, **options.given()).check_effect(sequences=True)
    file = SequenceFile("`input`", options.file, model.config.data.layout)
    sequences, of_model = file.sequences(), model.info.standardizer
    file.check_features(sequences, of_model.features, of_model.names)
    names = [f"sequence {number}" for number in range(1, len(sequences) + 1)]
    return [(answers.of_encoded(model.encode_sequences(sequences)), names)]


def _print_answers(answered: Answered, options: PredictOptions) -> None:
    """Print a line for each answer, or write it to the output."""
    if options.output is None:
        _write_answers(answered, options, sys.stdout)
        return
    with writing("`output`", options.output, options.overwrite) as file:
        out = io.TextIOWrapper(file, "utf-8", newline="\n")
        _write_answers(answered, options, out)
        out.detach()  # It would close the file.


def _write_answers(answered: Answered, options: PredictOptions, out: TextIO) -> None:
    shows = options.probabilities or options.top_k is not None
    for some, names in answered:
        for name, answer in zip(names, some, strict=True):
            print(answer.as_json() if options.json else answer.as_line(shows), file=out)
            if answer.problem:
                say(f"error: {name}: {answer.problem}")
        out.flush()


def lines_of_input() -> Texts:
    """The lines of standard input, as they come.

    They end with a line feed, before which a carriage return is dropped, and with nothing else:
    the last one need not end. Bytes that are not UTF-8 become lone surrogates, as they do in the
    arguments.
    """
    number = 0
    for lines in _split(_standard_input()):
        texts = [line.removesuffix(b"\r").decode(errors="surrogateescape") for line in lines]
        if number == 0 and (header := _header(texts[0])):
            warn(
                f"standard input begins like a table, with the columns {header}: each line is "
                "taken for a text, and --input FILE reads a table"
            )
        yield texts, [f"text {number + n}" for n in range(1, len(texts) + 1)]
        number += len(texts)


def _split(blocks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The lines that are complete so far, without their line feeds, and the last at the end."""
    held = bytearray()
    for block in blocks:
        held += block
        # The rest of a line is waited for, so that a short text is answered in one batch.
        if block.endswith(b"\n") or (b"\n" in block and len(held) >= _AT_ONCE):
            *lines, held = held.split(b"\n")
            yield [*map(bytes, lines)]
    if held:
        yield [*map(bytes, held.split(b"\n"))]


def _standard_input() -> Iterator[bytes]:
    """What there is to read at a time: of a terminal or a slow program a line."""
    stream = cast(io.BufferedReader, sys.stdin.buffer)
    try:
        yield from iter(lambda: stream.read1(_AT_ONCE), b"")
    except OSError as error:
        raise InputError(f"standard input cannot be read: {error.strerror or error}") from None


def _header(line: str) -> str:
    """The names of the columns, if a line is the header of a table of texts."""
    from flax_imdb.data.sources import is_text_name

    for delimiter in ",;\t|":
        with contextlib.suppress(csv.Error):
            names = next(csv.reader([line[:1000]], delimiter=delimiter), [])
            if len(names) > 1 and any(map(is_text_name, names)):
                return ", ".join(names)
    return ""


def _note_on_problems(place: str, answers: "Answers") -> str:
    problems = answers.problems
    more = "; ..." if problems.number > len(problems.first) else ""
    return (
        f"{problems.number:,} of {answers.texts:,} rows of {place} cannot be classified, and have "
        f"no label ({'; '.join(problems.first)}{more})"
    )
