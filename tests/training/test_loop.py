"""The loop over epochs, on one device and on several."""

from typing import Any

import jax
import numpy as np

from flax_imdb import models
from flax_imdb.data import Batching, Dataset, Examples, Vocabulary
from flax_imdb.devices import make_mesh
from flax_imdb.training import History, TrainConfig, Trainer, create_state


def few_reviews() -> Dataset:
    rng = np.random.default_rng(0)  # of one padded length, which is compiled once
    reviews = [rng.integers(3, 30, rng.integers(11, 13)).astype(np.int32) for _ in range(52)]
    examples = Examples.build(reviews, rng.integers(0, 2, len(reviews)))
    return Dataset(
        name="synthetic",
        location="",
        fingerprint="",
        note="",
        vocabulary=Vocabulary([]),
        train=examples,
        validation=examples.take(np.arange(0)),
        test=examples.take(np.arange(30)),
    )


def trained(arch: str, devices: int) -> tuple[Any, list[Any], np.ndarray]:
    """Parameters, records and predictions after two epochs; the last batch is half empty."""
    model_config = models.ModelConfig(arch=arch, embedding_features=4, features=6)
    state = create_state(models.build(model_config, vocab_size=30), learning_rate=1e-2, seed=0)
    trainer = Trainer(make_mesh(jax.devices()[:devices]), Batching(8, 12, multiple_of=devices))
    state = trainer.place(state)
    dataset, records = few_reviews(), []
    config = TrainConfig(epochs=2, batch_size=8)
    states = trainer.train(state, dataset, config, History())
    for state, history in states:
        records.append(history.epochs[-1])
        params, predictions = jax.device_get(state.params), trainer.predict(state, dataset.test)
    return params, records, predictions


def test_a_plan_of_no_batches_is_no_step() -> None:
    model = models.build(models.ModelConfig(embedding_features=4, features=6), vocab_size=30)
    trainer = Trainer(make_mesh(jax.devices()[:1]), Batching(8, 12))
    state = trainer.place(create_state(model, learning_rate=1e-2, seed=0))
    assert list(trainer.steps(state, few_reviews().train, [])) == []


def test_epochs_on_several_devices_are_those_on_one() -> None:
    params, records, predictions = trained("lstm_dropout", devices=1)
    others, other_records, other_predictions = trained("lstm_dropout", devices=4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), others, params)
    np.testing.assert_allclose(other_predictions, predictions, atol=1e-5)
    for ours, theirs in zip(records, other_records, strict=True):
        assert ours["step"] == theirs["step"]
        for name in ("train_loss", "train_accuracy", "eval_loss", "eval_accuracy"):
            np.testing.assert_allclose(theirs[name], ours[name], rtol=1e-5)  # type: ignore[literal-required]
