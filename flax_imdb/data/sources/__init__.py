"""Sources of reviews, with one file per source."""

from flax_imdb.data.sources.find import DatasetName, find_reviews
from flax_imdb.data.sources.reviews import LABELS, SPLITS, Reviews, Split

__all__ = ["LABELS", "SPLITS", "DatasetName", "Reviews", "Split", "find_reviews"]
