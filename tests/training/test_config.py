"""The learning rate's schedule."""

import math

import numpy as np
import pytest

from flax_imdb.errors import InputError
from flax_imdb.training import TrainConfig


def rates(config: TrainConfig, steps: int) -> list[float]:
    rate = config.rate(steps)
    return [float(rate(step)) if callable(rate) else float(rate) for step in range(steps + 2)]


class TestRate:
    def test_is_constant_unless_it_is_told_otherwise(self) -> None:
        assert TrainConfig(learning_rate=0.5).rate(100) == 0.5

    def test_falls_to_zero_in_a_line(self) -> None:
        expected = [1, 0.75, 0.5, 0.25, 0, 0]
        np.testing.assert_allclose(
            rates(TrainConfig(learning_rate=1, schedule="linear"), 4), expected
        )

    def test_falls_to_zero_along_half_a_cosine(self) -> None:
        expected = [(1 + math.cos(math.pi * min(step / 4, 1))) / 2 for step in range(6)]
        config = TrainConfig(learning_rate=1, schedule="cosine")
        np.testing.assert_allclose(rates(config, 4), expected, atol=1e-7)

    @pytest.mark.parametrize(
        ("schedule", "after"), [("constant", [1, 1, 1, 1, 1]), ("linear", [1, 0.5, 0, 0])]
    )
    def test_rises_in_a_line_first(self, schedule: str, after: list[float]) -> None:
        config = TrainConfig(learning_rate=1, schedule=schedule, warmup_steps=4)  # type: ignore[arg-type]
        steps = 4 + len(after) - 2
        np.testing.assert_allclose(rates(config, steps), [0, 0.25, 0.5, 0.75, *after])

    def test_a_warmup_longer_than_the_training_is_cut_short(self) -> None:
        config = TrainConfig(learning_rate=1, schedule="cosine", warmup_steps=10)
        np.testing.assert_allclose(rates(config, 3), [0, 0.1, 0.2, 0.3, 0.4], rtol=1e-6)

    def test_steps_are_those_of_all_epochs(self) -> None:
        assert TrainConfig(epochs=3, batch_size=8).steps(17) == 9


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"schedule": "exponential"}, "`schedule` exponential is unknown: one of constant, linear"),
        ({"warmup_steps": -1}, "`warmup_steps` -1"),
        ({"weight_decay": -0.1}, "`weight_decay` -0.1 makes no sense: a finite number from 0 is"),
        ({"weight_decay": math.nan}, "`weight_decay` nan"),
        ({"adversarial_norm": math.inf}, "`adversarial_norm` inf"),
        ({"label_smoothing": 1.0}, "`label_smoothing` 1.0 makes no sense: .* from 0 to below 1"),
    ],
)
def test_what_makes_no_sense_is_refused(setting: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(InputError, match=message):
        TrainConfig(**setting)
