"""Predictions in batches of few shapes."""

import threading

import jax
import numpy as np
import pytest

from flax_imdb import models
from flax_imdb.data import Batching, Examples
from flax_imdb.devices import make_mesh
from flax_imdb.training import Predictor, create_state

RNG = np.random.default_rng(0)
TEXTS = [RNG.integers(3, 30, RNG.integers(1, 13)).astype(np.int32) for _ in range(40)]
BATCHING = Batching(16, 12)


def predictor(devices: int = 1, batching: Batching = BATCHING) -> Predictor:
    config = models.ModelConfig(embedding_features=4, features=6)
    state = create_state(models.build(config, vocab_size=30), learning_rate=1e-2, seed=0)
    return Predictor(make_mesh(jax.devices()[:devices]), batching, state)


def examples(texts: list[np.ndarray]) -> Examples:
    return Examples.build(texts, np.zeros(len(texts)))


@pytest.fixture(scope="module")
def alone() -> np.ndarray:
    """The probabilities of each text, asked for alone."""
    predict = predictor()
    return np.concatenate([predict(examples([text])) for text in TEXTS])


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_a_text_has_one_answer_whatever_its_batch(devices: int, alone: np.ndarray) -> None:
    """Of 1, of 8 or of 16 rows, on any number of devices, up to rounding."""
    predict = predictor(devices)
    for texts in (1, 2, 8, 9, 16, 40):
        found = predict(examples(TEXTS[:texts]))
        np.testing.assert_allclose(found, alone[:texts], rtol=0, atol=1e-5)


@pytest.mark.parametrize("texts", [1, 8, 16])
def test_in_batches_of_one_shape_a_text_has_the_same_bits(texts: int) -> None:
    """Whatever the others are."""
    predict = predictor()
    text = np.full(9, 5, np.int32)
    answers = set()
    for seed in range(5):
        others = np.random.default_rng(seed).permutation(len(TEXTS))[: texts - 1]
        # All are padded to one length.
        batch = [text, *(np.resize(TEXTS[other], 9) for other in others)]
        answers.add(predict(examples(batch))[0].tobytes())
    assert len(answers) == 1


@pytest.mark.parametrize(("rows", "shapes"), [(1, 4), (8, 8), (None, 12)])
def test_what_was_compiled_ahead_is_all_that_is_needed(rows: int | None, shapes: int) -> None:
    predict = predictor()
    predict.compile(rows)
    assert predict.shapes == shapes
    for length in range(1, 13):
        for texts in (rows or 40, 1):
            predict(examples([np.full(length, 5, np.int32)] * texts))
    assert predict.shapes == shapes


def test_each_shape_is_compiled_once_by_however_many_threads(alone: np.ndarray) -> None:
    predict, answers = predictor(), {}

    def ask(name: int) -> None:
        answers[name] = [predict(examples([text])) for text in TEXTS]

    threads = [threading.Thread(target=ask, args=[name]) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    for answer in answers.values():
        np.testing.assert_array_equal(np.concatenate(answer), alone)
    assert predict.shapes == len(BATCHING.padded_lengths)


def test_microbatches_and_keras_padding_change_no_size() -> None:
    """A text does not take the four rows that a training step would split."""
    batching = Batching(16, 12, "keras", multiple_of=4)
    predict = predictor(batching=batching)
    predict.compile()
    assert predict.shapes == 3
    np.testing.assert_allclose(
        predict(examples(TEXTS[:3])),
        np.concatenate([predict(examples([text])) for text in TEXTS[:3]]),
        atol=1e-5,
    )
