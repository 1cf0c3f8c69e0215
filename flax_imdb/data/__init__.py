"""From texts to batches of token ids, and from numeric sequences to batches of steps."""

from flax_imdb.data.batching import Batch, Batching, Plan, Planned, inputs_of
from flax_imdb.data.config import MAX_CHARACTERS, MAX_VOCAB_SIZE, OF_ROWS, DataConfig, Padding
from flax_imdb.data.dataset import (
    Dataset,
    load_dataset,
    load_examples,
    make_dataset,
    make_sequences,
    read_again,
)
from flax_imdb.data.encoder import OnRead, encode
from flax_imdb.data.examples import Examples
from flax_imdb.data.info import DatasetInfo, Task
from flax_imdb.data.numeric import are_sequences, as_sequences
from flax_imdb.data.standardizer import Standardizer
from flax_imdb.data.tokenizer import Vocabulary
from flax_imdb.data.word_vectors import (
    WordVectors,
    check_word_vectors,
    read_word_vectors,
    sha256_of,
)
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
    "Plan",
    "Planned",
    "Standardizer",
    "Task",
    "Vocabulary",
    "WordVectors",
    "are_sequences",
    "as_sequences",
    "check_word_vectors",
    "encode",
    "inputs_of",
    "load_dataset",
    "load_examples",
    "make_dataset",
    "make_sequences",
    "read_again",
    "read_word_vectors",
    "sha256_of",
    "split_words",
]
