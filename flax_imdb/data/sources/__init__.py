"""Sources of texts, with one file per source."""

from flax_imdb.data.sources.find import REVIEWS, find_reviews, find_source
from flax_imdb.data.sources.source import SPLITS, Reviews, Source, Split

__all__ = ["REVIEWS", "SPLITS", "Reviews", "Source", "Split", "find_reviews", "find_source"]
