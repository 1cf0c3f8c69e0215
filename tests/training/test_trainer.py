"""The loop over epochs, on one device and on several."""

import functools
from typing import Any

import jax
import numpy as np
import pytest
from epochs import epochs

from flax_imdb import models
from flax_imdb.data import (
    Batch,
    Batching,
    Dataset,
    DatasetInfo,
    Examples,
    Plan,
    Planned,
    Vocabulary,
)
from flax_imdb.devices import make_mesh
from flax_imdb.errors import InputError
from flax_imdb.training import History, TrainConfig, Trainer, averaged, create_state


def few_reviews() -> Dataset:
    rng = np.random.default_rng(0)  # of one padded length, which is compiled once
    reviews = [rng.integers(3, 30, rng.integers(11, 13)).astype(np.int32) for _ in range(52)]
    examples = Examples.build(reviews, rng.integers(0, 2, len(reviews)))
    return Dataset(
        info=DatasetInfo("synthetic", "", ("negative", "positive"), Vocabulary([])),
        location="",
        found={},
        note="",
        remarks=(),
        warnings=(),
        train=examples,
        validation=examples.take(np.arange(0)),
        calibration=examples.take(np.arange(0)),
        test=examples.take(np.arange(30)),
    )


def trained(arch: str, devices: int) -> tuple[Any, list[Any], np.ndarray]:
    """Parameters, metrics and predictions after two epochs; the last batch is half empty."""
    model_config = models.ModelConfig(arch=arch, embedding_features=4, features=6)
    state = create_state(models.build(model_config, vocab_size=30), learning_rate=1e-2, seed=0)
    trainer = Trainer(make_mesh(jax.devices()[:devices]), Batching(8, 12, multiple_of=devices))
    state = trainer.place(state)
    dataset, metrics = few_reviews(), []
    for number in range(2):
        history = History(epochs(*range(number)))
        state = trainer.train_epoch(state, dataset.train, history, TrainConfig(batch_size=8))
        assert history.unfinished is not None
        metrics.append((*history.unfinished.means, *trainer.evaluate(state, dataset.test)[:2]))
    predictions = trainer.predictor(state)(dataset.test)
    return jax.device_get((state.params, state.step)), metrics, predictions


class Poisoned(Batching):
    """In some batches of an epoch a row weighs more than a number can say."""

    poisoned: tuple[int, ...] = ()

    def plan_epoch(self, examples: Examples, *, seed: int, epoch: int) -> Plan:
        plan = super().plan_epoch(examples, seed=seed, epoch=epoch)
        self.sick.extend(plan[i] for i in self.poisoned)
        return plan

    def make(self, examples: Examples, planned: Planned, share: tuple[int, int] = (0, 1)) -> Batch:
        batch = super().make(examples, planned, share)
        if any(np.array_equal(planned.indices, sick.indices) for sick in self.sick):
            batch["weights"][0] = np.inf
        return batch

    @functools.cached_property
    def sick(self) -> list[Planned]:
        return []


class TestNotFinite:
    """A step whose loss or gradient is no number."""

    def trained(self, poisoned: tuple[int, ...], devices: int = 1, **settings: Any) -> Any:
        batching = Poisoned(8, 12, multiple_of=devices)
        object.__setattr__(batching, "poisoned", poisoned)
        trainer = Trainer(make_mesh(jax.devices()[:devices]), batching)
        model = models.build(models.ModelConfig(embedding_features=4, features=6), vocab_size=30)
        state = trainer.place(create_state(model, learning_rate=1e-2, seed=0))
        config = TrainConfig(epochs=1, batch_size=8, **settings)
        history = History()
        state = trainer.train_epoch(state, few_reviews().train, history, config)
        return jax.device_get(state.params), history.unfinished

    def test_a_step_ends_the_run_and_its_rows_are_named(self) -> None:
        with pytest.raises(InputError) as raised:
            self.trained((3,))
        rows = few_reviews().train.ids
        plan = Batching(8, 12).plan_epoch(few_reviews().train, seed=7, epoch=1)
        named = ", ".join(str(row) for row in sorted(rows[plan[3].indices]))
        assert str(raised.value) == (
            "the loss of step 4, in epoch 1, is not finite (loss nan, norm of its gradient nan): "
            "in a new run a smaller `learning_rate` or `clip_norm` may prevent it, and "
            "`resume` with `skip_nonfinite` goes on without such steps; its batch has rows "
            f"{named} of the training split"
        )

    @pytest.mark.parametrize("devices", [1, 2])
    def test_a_step_is_skipped_and_counted_where_that_is_asked_for(self, devices: int) -> None:
        params, epoch = self.trained((0, 3), devices, skip_nonfinite=True)
        assert (epoch.steps, epoch.skipped_steps) == (7, 2)
        loss, accuracy = epoch.means
        assert np.isfinite(loss)
        assert 0 <= accuracy <= 1
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))

    def test_an_epoch_of_no_other_steps_ends_the_run(self) -> None:
        with pytest.raises(InputError, match="epoch 1 had no step with a finite loss"):
            self.trained(tuple(range(7)), skip_nonfinite=True)


def test_the_averaged_parameters_are_evaluated_and_predict() -> None:
    model = models.build(models.ModelConfig(embedding_features=4, features=6), vocab_size=30)
    trainer, dataset = Trainer(make_mesh(jax.devices()[:2]), Batching(8, 12)), few_reviews()
    first = create_state(model, learning_rate=1e-2, seed=0, averaging=3)
    state = trainer.train_epoch(trainer.place(first), dataset.train, History(), TrainConfig())
    last, average = (each.replace(opt_state=()) for each in (state, averaged(state)))
    evaluated = trainer.evaluate(state, dataset.test)
    assert evaluated[:2] == trainer.evaluate(average, dataset.test)[:2]
    assert evaluated[:2] != trainer.evaluate(last, dataset.test)[:2]
    predicted, expected = (trainer.predictor(each)(dataset.test) for each in (state, average))
    np.testing.assert_array_equal(predicted, expected)


@pytest.mark.parametrize("devices", [1, 2, 4])
@pytest.mark.parametrize("classes", [2, 5])
def test_an_evaluation_has_the_prediction_of_each_example_in_order(
    classes: int, devices: int
) -> None:
    """Whatever the devices, the batches and the filling of the last."""
    config = models.ModelConfig(embedding_features=4, features=6)
    logits = 1 if classes == 2 else classes
    state = create_state(models.build(config, 30, logits), learning_rate=1e-2, seed=0)
    trainer = Trainer(make_mesh(jax.devices()[:devices]), Batching(8, 12, multiple_of=devices))
    state, test = trainer.place(state), few_reviews().test
    evaluation, probabilities = trainer.evaluate(state, test), trainer.predictor(state)(test)
    likeliest = probabilities[:, 0] > 0.5 if classes == 2 else probabilities.argmax(axis=1)
    np.testing.assert_array_equal(evaluation.predicted, likeliest)
    np.testing.assert_allclose(evaluation.probability, probabilities.max(axis=1), rtol=1e-6)
    assert evaluation.accuracy == pytest.approx(np.mean(likeliest == test.labels))


def test_epochs_on_several_devices_are_those_on_one() -> None:
    params, metrics, predictions = trained("lstm_dropout", devices=1)
    others, other_metrics, other_predictions = trained("lstm_dropout", devices=4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), others, params)
    np.testing.assert_allclose(other_predictions, predictions, atol=1e-5)
    np.testing.assert_allclose(other_metrics, metrics, rtol=1e-5)


class Recorded:
    """A hook that is due after some steps, and notes what it is called with."""

    def __init__(self, *steps: int):
        self.steps = steps
        self.asked: list[int] = []
        self.called: list[tuple[int, int]] = []

    def due(self, step: int) -> bool:
        self.asked.append(step)
        return step in self.steps

    def __call__(self, state: Any, history: History) -> None:
        assert history.unfinished is not None
        self.called.append((int(state.step), history.unfinished.steps))


def test_a_hook_is_asked_after_every_step_and_sees_state_and_history_of_the_one_it_is_due_at() -> (
    None
):
    """Not after the last one of an epoch, whose evaluation comes first."""
    model = models.build(models.ModelConfig(embedding_features=4, features=6), vocab_size=30)
    trainer = Trainer(make_mesh(jax.devices()[:1]), Batching(8, 12))
    state = trainer.place(create_state(model, learning_rate=1e-2, seed=0))
    hook = Recorded(2, 3, 7)
    trainer.train_epoch(state, few_reviews().train, History(), TrainConfig(), hooks=[hook])
    assert hook.asked == [1, 2, 3, 4, 5, 6, 7]
    assert hook.called == [(2, 2), (3, 3)]
