"""A source of five reviews."""

import numpy as np

from flax_imdb.data.sources import Reviews, Split


class FewReviews(Reviews):
    """Three training and two test reviews; counts how often it is read."""

    name = "synthetic"
    fingerprint = "few"

    def __init__(self) -> None:
        self.reads = 0

    def read(self, split: Split) -> tuple[list[str], np.ndarray]:
        self.reads += 1
        if split == "train":
            return ["good good film", "bad film", "good"], np.array([1, 0, 1])
        return ["unseen good", ""], np.array([1, 0])
