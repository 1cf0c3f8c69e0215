"""The configuration of the data."""

import csv
import dataclasses
import os
from typing import Literal, get_args

from flax_imdb.data.tokenizer import SPECIAL_TOKENS
from flax_imdb.data.words import TextRules
from flax_imdb.errors import InputError, check_between, is_number

Padding = Literal["masked", "keras"]

# Far longer than any review (IMDB's longest has 14,000): a text of this size is a mistake.
MAX_CHARACTERS = 1_000_000

# More words than any training split has: an embedding of this size is a mistake.
MAX_VOCAB_SIZE = 10_000_000


OF_ROWS = (
    *("dataset", "data_dir", "test_dataset", "test_fraction", "text_columns", "label_column"),
    *("columns", "delimiter", "encoding", "skip_bad_rows"),
    *("train_examples", "test_examples", "validation_examples"),
)
"""The settings of `DataConfig` that say which rows there are. The others say what a model reads."""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The texts and their labels, and how they become tokens.

    Attributes:
      dataset: A file or folder of your own; tfds:NAME[/CONFIG]; imdb_reviews; synthetic; or auto:
        imdb_reviews if available, else synthetic.
      data_dir: A tfds data directory or an extracted aclImdb folder. None: $TFDS_DATA_DIR, else
        ~/tensorflow_datasets.
      test_dataset: The test split of a dataset of your own. None: a part of dataset.
      test_fraction: The part of a dataset of your own to test on, if it has no test split.
      text_columns: The columns of the text, such as title,body. None: found by their names.
      label_column: The column of the label. None: found by its name.
      columns: The names of all columns, such as label,title,text, of a file without a header.
      delimiter: What separates the columns. None: a comma, in .tsv a tab.
      encoding: The encoding of text files.
      skip_bad_rows: Leave out rows without a text or a label, instead of stopping.
      text: Which words a text has: unicode normalizes it first (typography, markup, scripts); keras
        splits it as Keras's Tokenizer does, as in the tutorial.
      padding: masked ignores padding. keras pads at the front to max-length and processes padding
        like any token, as in the tutorial.
      vocab_size: Number of token ids, including <pad>, <start> and <unk>.
      max_length: Longer texts keep their last max-length tokens.
      train_examples: Train on a fixed random subset of this many texts. None: all.
      test_examples: Test on a fixed random subset of this many texts. None: all.
      validation_examples: Hold out this many training texts to select the best epoch.
    """

    dataset: str = "auto"
    data_dir: str | None = None
    test_dataset: str | None = None
    test_fraction: float = 0.2
    text_columns: str | None = None
    label_column: str | None = None
    columns: str | None = None
    delimiter: str | None = None
    encoding: str = "utf-8"
    skip_bad_rows: bool = False
    text: TextRules = "unicode"
    padding: Padding = "masked"
    vocab_size: int = 5000
    max_length: int = 500
    train_examples: int | None = None
    test_examples: int | None = None
    validation_examples: int = 0

    def __post_init__(self) -> None:
        for setting, value, choices in (
            ("text", self.text, get_args(TextRules)),
            ("padding", self.padding, get_args(Padding)),
        ):
            if value not in choices:
                raise InputError(f"`{setting}` {value} is unknown: one of {', '.join(choices)}")
        check_between("vocab_size", self.vocab_size, len(SPECIAL_TOKENS) + 1, MAX_VOCAB_SIZE)
        check_between("max_length", self.max_length, 1, MAX_CHARACTERS)
        for setting in ("dataset", "test_dataset", "data_dir"):
            place = getattr(self, setting)
            if isinstance(place, os.PathLike):
                object.__setattr__(self, setting, place := os.fspath(place))
            if not isinstance(place, str) and (place is not None or setting == "dataset"):
                raise InputError(f"`{setting}` {place!r} is not a path")
        if not is_number(self.test_fraction) or not 0 < self.test_fraction < 1:
            raise InputError(
                f"`test_fraction` {self.test_fraction} makes no sense: a number between 0 and 1 is "
                "needed"
            )
        check_between("validation_examples", self.validation_examples, 0)
        for setting, examples in (
            ("train_examples", self.train_examples),
            ("test_examples", self.test_examples),
        ):
            if examples is not None:
                check_between(setting, examples, 1)


def column_names(setting: str | None) -> list[str] | None:
    """The names in a setting such as ``title,body``; one with a comma is quoted as in CSV."""
    try:
        return None if setting is None else next(csv.reader([setting]), [])
    except csv.Error:
        raise InputError(f"{setting!r} is no list of columns, such as title,body") from None
