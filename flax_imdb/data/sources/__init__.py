"""Sources of texts, with one file per source."""

from flax_imdb.data.sources.arrays import ArraySource
from flax_imdb.data.sources.find import REVIEWS, find_reviews, find_source
from flax_imdb.data.sources.labels import order_labels, problem_of_label
from flax_imdb.data.sources.own import read_labelled
from flax_imdb.data.sources.source import SPLITS, Reviews, Source, Split

__all__ = [
    "REVIEWS",
    "SPLITS",
    "ArraySource",
    "Reviews",
    "Source",
    "Split",
    "find_reviews",
    "find_source",
    "order_labels",
    "problem_of_label",
    "read_labelled",
]
