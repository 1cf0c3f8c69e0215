"""A tiny dataset whose sentiment is in one word, which any classifier learns.

All reviews are as long as `config` lets them be: one shape of batch, compiled once.
"""

from pathlib import Path

import numpy as np

from flax_imdb.data import DataConfig
from flax_imdb.data.sources import LABELS


def write(directory: Path, train: int = 96, test: int = 40) -> Path:
    """Write an ``aclImdb`` folder of so many reviews per split."""
    rng = np.random.default_rng(0)
    filler = np.array(["the", "film", "was", "a", "story", "of", "people", "and", "time"])
    for split, examples in (("train", train), ("test", test)):
        for i in range(examples):
            label = LABELS[i % 2]
            words = list(rng.choice(filler, 9))
            words.insert(rng.integers(len(words)), "good" if label == "pos" else "bad")
            path = directory / "aclImdb" / split / label / f"{i}_5.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(" ".join(words))
    return directory


def config(directory: Path, **settings: object) -> DataConfig:
    """Small enough to train on in a moment."""
    return DataConfig(
        **{"data_dir": str(directory), "vocab_size": 20, "max_length": 10, **settings}
    )  # type: ignore[arg-type]
