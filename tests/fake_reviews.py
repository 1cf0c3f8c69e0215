"""A tiny dataset in which one word decides the sentiment, so any classifier learns it.

All reviews have the maximum length of `config`, so there is one batch shape to compile.
"""

from pathlib import Path

import numpy as np

from flax_imdb.data import DataConfig
from flax_imdb.data.sources.imdb_folder import LABELS


def write(directory: Path, train: int = 96, test: int = 40) -> Path:
    """Write an ``aclImdb`` folder with this many reviews per split."""
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
    """The configuration of the dataset, with `settings` changed."""
    return DataConfig(
        **{"data_dir": str(directory), "vocab_size": 20, "max_length": 10, **settings}
    )  # type: ignore[arg-type]
