"""From texts to batches of token ids."""

from flax_imdb.data.batching import Batch, Batching, Planned
from flax_imdb.data.config import MAX_CHARACTERS, MAX_VOCAB_SIZE, OF_ROWS, DataConfig, Padding
from flax_imdb.data.dataset import Dataset, load_dataset, load_examples, make_dataset, read_again
from flax_imdb.data.examples import Examples, OnRead, encode
from flax_imdb.data.info import DatasetInfo, Task
from flax_imdb.data.tokenizer import Vocabulary
from flax_imdb.data.words import split_words

__all__ = [
    "MAX_CHARACTERS",
    "MAX_VOCAB_SIZE",
    "OF_ROWS",
    "Batch",
    "Batching",
    "DataConfig",
    "Dataset",
    "DatasetInfo",
    "Examples",
    "OnRead",
    "Padding",
    "Planned",
    "Task",
    "Vocabulary",
    "encode",
    "load_dataset",
    "load_examples",
    "make_dataset",
    "read_again",
    "split_words",
]
