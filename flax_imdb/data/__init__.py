"""From texts to batches of token ids."""

from flax_imdb.data.batching import Batch, Batching, Plan, Planned
from flax_imdb.data.config import MAX_CHARACTERS, MAX_VOCAB_SIZE, DataConfig, Padding
from flax_imdb.data.dataset import Dataset, load_dataset, load_examples, make_dataset, read_again
from flax_imdb.data.encoder import OnRead, encode
from flax_imdb.data.examples import Examples
from flax_imdb.data.info import DatasetInfo, Task
from flax_imdb.data.tokenizer import Vocabulary
from flax_imdb.data.words import split_words

__all__ = [
    "MAX_CHARACTERS",
    "MAX_VOCAB_SIZE",
    "Batch",
    "Batching",
    "DataConfig",
    "Dataset",
    "DatasetInfo",
    "Examples",
    "OnRead",
    "Padding",
    "Plan",
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
