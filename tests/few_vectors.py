"""A file of word vectors for the words of `fake_reviews`."""

from pathlib import Path

import numpy as np

WORDS = ("the", "good", "bad", "film", "was", "a", "story")


def write(path: Path, width: int = 6, seed: int = 0) -> Path:
    """Write random vectors of seven of the eleven words, in GloVe's form."""
    vectors = np.random.default_rng(seed).normal(size=(len(WORDS), width))
    lines = (
        " ".join([word, *map(repr, row)]) for word, row in zip(WORDS, vectors.tolist(), strict=True)
    )
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def read(path: Path) -> dict[str, np.ndarray]:
    """The vectors by word, float32."""
    lines = map(str.split, path.read_text().splitlines())
    return {word: np.array(numbers, np.float32) for word, *numbers in lines}
