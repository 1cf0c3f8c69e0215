"""Small states and batches for a training step."""

import numpy as np

from flax_imdb import models
from flax_imdb.data import Batch, Batching, Examples
from flax_imdb.training import TrainState, create_state

VOCAB_SIZE = 30


def new_state(arch: str, seed: int = 0) -> TrainState:
    config = models.ModelConfig(arch=arch, embedding_features=4, features=6)
    return create_state(models.build(config, VOCAB_SIZE), learning_rate=1e-2, seed=seed)


def batches(count: int, batch_size: int = 8, real: int = 8) -> list[Batch]:
    """Random reviews in batches of `batch_size` rows, of which `real` are not filler rows."""
    rng = np.random.default_rng(0)
    reviews = [
        rng.integers(3, VOCAB_SIZE, rng.integers(1, 13)).astype(np.int32)
        for _ in range(count * real)
    ]
    examples = Examples.build(reviews, rng.integers(0, 2, len(reviews)))
    batching = Batching(real, 12, multiple_of=batch_size)
    plan = batching.plan_epoch(examples, seed=0, epoch=1)
    return [batching.make(examples, planned._replace(time=12)) for planned in plan]
