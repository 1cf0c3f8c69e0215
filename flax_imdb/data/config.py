"""The configuration of the data."""

import csv
import dataclasses
import os
from typing import Literal, get_args

from flax_imdb.data.tokenizer import SPECIAL_TOKENS
from flax_imdb.data.words import TextRules
from flax_imdb.errors import InputError, check_between, is_number

Padding = Literal["masked", "keras"]
Long = Literal["tail", "head", "windows"]
Layout = Literal["channels-last", "channels-first"]

# Far longer than any review (IMDB's longest has 14,000): a text of this size is a mistake.
MAX_CHARACTERS = 1_000_000

# More words than any training split has: an embedding of this size is a mistake.
MAX_VOCAB_SIZE = 10_000_000

# The settings that have no effect on numeric sequences, and those that have none on texts.
_OF_TEXTS = (
    *("data_dir", "text_columns", "label_column", "columns", "delimiter", "encoding"),
    *("skip_bad_rows", "text", "padding", "vocab_size"),
    *("multi_label", "label_separator", "allow_no_labels"),
)
_OF_SEQUENCES = ("layout",)


MAX_WINDOWS = 8
"""Of a text: 4.5 times as much as one window. The time and memory of a batch are bounded."""


OF_ROWS = (
    *("dataset", "data_dir", "test_dataset", "test_fraction", "text_columns", "label_column"),
    *("label_separator", "allow_no_labels"),
    *("columns", "delimiter", "encoding", "skip_bad_rows", "layout"),
    *("train_examples", "test_examples", "validation_examples", "calibration_examples"),
)
"""The settings of `DataConfig` that say which rows there are. The others say what a model reads."""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The texts or numeric sequences and their labels, and how they become a model's inputs.

    Attributes:
      dataset: A file or folder of your own, or an .npz file of numeric sequences;
        tfds:NAME[/CONFIG]; imdb_reviews; synthetic; or auto: imdb_reviews if available, else
        synthetic.
      data_dir: A tfds data directory or an extracted aclImdb folder. None: $TFDS_DATA_DIR, else
        ~/tensorflow_datasets.
      test_dataset: The test split of a dataset of your own. None: a part of dataset.
      test_fraction: The part of a dataset of your own to test on, if it has no test split.
      text_columns: The columns of the text, such as title,body. None: found by their names.
      label_column: The column of the label; with multi_label it may be several columns of 0 and 1,
        such as a,b,c, whose names are the labels. None: found by its name.
      multi_label: A text has any number of labels, instead of one.
      label_separator: What separates the labels of a text in their column. None: found (| or ; or
        a comma).
      allow_no_labels: An empty field of labels is a text without labels, instead of a bad row.
      columns: The names of all columns, such as label,title,text, of a file without a header.
      delimiter: What separates the columns. None: a comma, in .tsv a tab.
      encoding: The encoding of text files.
      skip_bad_rows: Leave out rows without a text or a label, instead of stopping.
      text: Which words a text has: unicode normalizes it first (typography, markup, scripts); keras
        splits it as Keras's Tokenizer does, as in the tutorial.
      layout: The axes of numeric sequences: channels-last is [time, features], channels-first
        [features, time], as in aeon and sktime.
      padding: masked ignores padding. keras pads at the front to max-length and processes padding
        like any token, as in the tutorial.
      vocab_size: Number of token ids, including <pad>, <start> and <unk>.
      max_length: Longer texts and sequences are read as long says.
      long: Of a text or sequence of more than max-length tokens or steps, tail reads the last and
        head the first; windows reads up to 8 windows of max-length tokens, each half in the one
        before, and averages their logits.
      train_examples: Train on a fixed random subset of this many texts. None: all.
      test_examples: Test on a fixed random subset of this many texts. None: all.
      validation_examples: Hold out this many training texts to select the best epoch.
      calibration_examples: Hold out this many other training texts, which select nothing, so that
        predictions can abstain.
    """

    dataset: str = "auto"
    data_dir: str | None = None
    test_dataset: str | None = None
    test_fraction: float = 0.2
    text_columns: str | None = None
    label_column: str | None = None
    multi_label: bool = False
    label_separator: str | None = None
    allow_no_labels: bool = False
    columns: str | None = None
    delimiter: str | None = None
    encoding: str = "utf-8"
    skip_bad_rows: bool = False
    text: TextRules = "unicode"
    layout: Layout = "channels-last"
    padding: Padding = "masked"
    vocab_size: int = 5000
    max_length: int = 500
    long: Long = "tail"
    train_examples: int | None = None
    test_examples: int | None = None
    validation_examples: int = 0
    calibration_examples: int = 0

    def __post_init__(self) -> None:
        for setting, value, choices in (
            ("text", self.text, get_args(TextRules)),
            ("layout", self.layout, get_args(Layout)),
            ("padding", self.padding, get_args(Padding)),
            ("long", self.long, get_args(Long)),
        ):
            if value not in choices:
                raise InputError(f"`{setting}` {value} is unknown: one of {', '.join(choices)}")
        check_between("vocab_size", self.vocab_size, len(SPECIAL_TOKENS) + 1, MAX_VOCAB_SIZE)
        check_between("max_length", self.max_length, 1, MAX_CHARACTERS)
        if self.long == "windows" and self.padding == "keras":
            raise InputError(
                "`long` windows needs `padding` masked: with keras every text has one length"
            )
        for setting in ("dataset", "test_dataset", "data_dir"):
            place = getattr(self, setting)
            if isinstance(place, os.PathLike):
                object.__setattr__(self, setting, place := os.fspath(place))
            if not isinstance(place, str) and (place is not None or setting == "dataset"):
                raise InputError(f"`{setting}` {place!r} is not a path")
        for setting in ("label_separator", "allow_no_labels"):
            value = getattr(self, setting)
            if not self.multi_label and value not in (None, False):
                raise InputError(f"`{setting}` {value} has no effect without `multi_label`")
        if self.label_separator == "":
            raise InputError("`label_separator` is empty: a character such as | is needed")
        if not is_number(self.test_fraction) or not 0 < self.test_fraction < 1:
            raise InputError(
                f"`test_fraction` {self.test_fraction} makes no sense: a number between 0 and 1 is "
                "needed"
            )
        check_between("validation_examples", self.validation_examples, 0)
        check_between("calibration_examples", self.calibration_examples, 0)
        if self.multi_label and self.calibration_examples:
            raise InputError(
                f"`calibration_examples` {self.calibration_examples} has no effect with "
                "`multi_label`: each label has its threshold, by `validation_examples`"
            )
        for setting, examples in (
            ("train_examples", self.train_examples),
            ("test_examples", self.test_examples),
        ):
            if examples is not None:
                check_between(setting, examples, 1)

    @property
    def stride(self) -> int | None:
        """Windows of long texts start so many tokens after each other; None: there are none."""
        return -(-self.max_length // 2) if self.long == "windows" else None

    @property
    def longest(self) -> int:
        """Number of tokens that are kept of a longer text, `end` of it."""
        return self.max_length + (MAX_WINDOWS - 1) * (self.stride or 0)

    @property
    def end(self) -> Literal["first", "last"]:
        """Which tokens are kept of a text that is too long."""
        return "first" if self.long == "head" else "last"

    def check_effect(self, *, sequences: bool) -> None:
        """Raise InputError if a setting has no effect on numeric sequences, or on texts."""
        are, others = ("numeric sequences", "texts") if sequences else ("texts", "sequences")
        for setting in _OF_TEXTS if sequences else _OF_SEQUENCES:
            if (value := getattr(self, setting)) != getattr(DataConfig, setting):
                raise InputError(f"`{setting}` {value} is for {others}, and these are {are}")


def column_names(setting: str | None) -> list[str] | None:
    """The names in a setting such as ``title,body``; one with a comma is quoted as in CSV."""
    try:
        return None if setting is None else next(csv.reader([setting]), [])
    except csv.Error:
        raise InputError(f"{setting!r} is no list of columns, such as title,body") from None
