"""The configuration of an experiment, and its file."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flax_imdb.config import (
    RECIPES,
    ExperimentConfig,
    dump_config,
    load_config,
    recipe,
    settings,
)
from flax_imdb.data import DataConfig
from flax_imdb.errors import InputError
from flax_imdb.training import TrainConfig
from flax_imdb.workdir import Workdir


class TestConfig:
    def test_it_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        config = ExperimentConfig(training=TrainConfig(clip_norm=0.1, learning_rate=1 / 3))
        (tmp_path / "config.json").write_text(dump_config(config))
        assert Workdir(tmp_path).config() == config
        assert Workdir(tmp_path / "new").config() is None

    def test_a_run_of_a_version_without_averaging_goes_on_without_it(self, tmp_path: Path) -> None:
        content = json.loads(dump_config(ExperimentConfig()))
        del content["training"]["averaging"]
        (tmp_path / "config.json").write_text(json.dumps(content))
        assert load_config(tmp_path / "config.json").training.averaging is None

    def test_a_run_of_a_version_that_read_the_tails_of_texts_goes_on_so(
        self, tmp_path: Path
    ) -> None:
        content = json.loads(dump_config(ExperimentConfig()))
        del content["data"]["long"]
        (tmp_path / "config.json").write_text(json.dumps(content))
        assert load_config(tmp_path / "config.json").data.long == "tail"

    @pytest.mark.parametrize(
        ("long", "longest", "end"),
        [("tail", 101, "last"), ("head", 101, "first"), ("windows", 101 + 7 * 51, "last")],
    )
    def test_so_much_is_kept_of_a_long_text(self, long: Any, longest: int, end: str) -> None:
        data = DataConfig(max_length=101, long=long)
        assert (data.longest, data.end) == (longest, end)
        window = ExperimentConfig(data=data).classifier().window
        assert window == ((101, 51) if long == "windows" else None)

    @pytest.mark.parametrize(
        "content", [b"", b"[]", b"\xff", b"[" * 99_999, b'{"model": {"a": 1}}']
    )
    def test_a_damaged_one_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "config.json").write_bytes(content)
        with pytest.raises(InputError, match=r"config.json is not the configuration of a run"):
            load_config(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training": {"epochs": 1.5}}, "`epochs` 1.5 is not an integer"),
        ({"training": {"epochs": True}}, "`epochs` True is not an integer"),
        ({"data": {"padding": "left"}}, "`padding` left is unknown: one of masked, keras"),
        ({"data": {"long": "middle"}}, "`long` middle is unknown: one of tail, head, windows"),
        (
            {"data": {"long": "windows", "padding": "keras"}},
            "`long` windows needs `padding` masked: with keras every text has one length",
        ),
        ({"data": {"data_dir": 3}}, "`data_dir` 3 is not a path"),
        (
            {"training": {"schedule": "exponential"}},
            "`schedule` exponential is unknown: one of constant, linear",
        ),
        ({"training": {"warmup_steps": -1}}, "`warmup_steps` -1"),
        (
            {"training": {"weight_decay": -0.1}},
            "`weight_decay` -0.1 makes no sense: a finite number from 0 is",
        ),
        ({"model": {"wide_weight": 1.5}}, "`wide_weight` 1.5 makes no sense: .* from 0 to 1"),
        ({"training": {"weight_decay": math.nan}}, "`weight_decay` nan"),
        ({"training": {"adversarial_norm": math.inf}}, "`adversarial_norm` inf"),
        (
            {"training": {"label_smoothing": 1.0}},
            "`label_smoothing` 1.0 makes no sense: .* from 0 to below 1",
        ),
        ({"training": {"embeddings": 3}}, "`embeddings` 3 is not a path"),
        (
            {"training": {"freeze_embeddings": True}},
            "`freeze_embeddings` has no effect: `embeddings` must name a file of word vectors, or "
            "`init_from` a run",
        ),
        ({"training": {"embeddings_digest": "0" * 64}}, "`embeddings_digest` has no effect"),
        (
            {"training": {"embeddings": "v.txt", "embeddings_digest": "ABC"}},
            "`embeddings_digest` ABC makes no sense: 64 hexadecimal digits are needed",
        ),
    ],
)
def test_a_configuration_of_values_that_make_no_sense_is_refused(
    tmp_path: Path, settings: dict[str, dict[str, object]], message: str
) -> None:
    content = json.loads(dump_config(ExperimentConfig()))
    for part, values in settings.items():
        content[part].update(values)
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        load_config(tmp_path / "config.json")


class TestRecipe:
    @pytest.mark.parametrize("name", RECIPES)
    def test_it_is_the_defaults_but_for_its_settings(self, name: str) -> None:
        ours, defaults = settings(recipe(name)), settings(ExperimentConfig())
        assert ours == defaults | RECIPES[name].settings | {"recipe": name}

    def test_the_tutorials_has_the_words_and_the_optimizer_of_keras(self) -> None:
        config = recipe("tutorial")
        assert (config.data.text, config.data.padding) == ("keras", "masked")
        assert (config.training.clip_norm, config.training.averaging) == (None, None)

    def test_another_is_refused(self) -> None:
        with pytest.raises(InputError, match="`recipe` weak is unknown: one of tutorial, strong"):
            recipe("weak")


def rates(config: TrainConfig, steps: int) -> list[float]:
    rate = config.rate(steps)
    return [float(rate(step)) if callable(rate) else float(rate) for step in range(steps + 2)]


class TestRate:
    """The learning rate's schedule."""

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
