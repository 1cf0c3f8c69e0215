"""LSTM sequence classifiers in Flax, and their training on the IMDB reviews."""

__version__ = "0.1.0"
