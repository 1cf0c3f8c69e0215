"""The configuration of an experiment, and its file."""

import json
from pathlib import Path

import pytest

from flax_imdb.config import ExperimentConfig, dump_config, load_config
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
        ({"data": {"data_dir": 3}}, "`data_dir` 3 is not a path"),
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
