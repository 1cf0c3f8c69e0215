"""Sources of texts, with one file per source."""

from flax_imdb.data.sources.arrays import ArraySequences, ArraySource
from flax_imdb.data.sources.columns import choose_texts, is_text_name
from flax_imdb.data.sources.find import IMPORTED, REVIEWS, find_reviews, find_source
from flax_imdb.data.sources.labels import order_labels, problem_of_label
from flax_imdb.data.sources.npz import SequenceFile, is_npz, read_labelled_sequences
from flax_imdb.data.sources.own import open_unlabelled, read_labelled
from flax_imdb.data.sources.source import (
    SPLITS,
    Origin,
    Reviews,
    Scanned,
    SequenceSource,
    Source,
    Split,
)
from flax_imdb.data.sources.table import Added, Bad, FileTable, listed, shown

__all__ = [
    "IMPORTED",
    "REVIEWS",
    "SPLITS",
    "Added",
    "ArraySequences",
    "ArraySource",
    "Bad",
    "FileTable",
    "Origin",
    "Reviews",
    "Scanned",
    "SequenceFile",
    "SequenceSource",
    "Source",
    "Split",
    "choose_texts",
    "find_reviews",
    "find_source",
    "is_npz",
    "is_text_name",
    "listed",
    "open_unlabelled",
    "order_labels",
    "problem_of_label",
    "read_labelled",
    "read_labelled_sequences",
    "shown",
]
