"""benchmarks/parity.py: what it writes, and its verdict."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import parity
import pytest
import runner

FLAGS = ["--implementations", "fused,cudnn", "--batch-size", "3", "--time", "4", "--features", "5"]


def test_an_error_that_is_no_number_is_written_as_null(tmp_path: Path) -> None:
    runner.write(tmp_path / "a.json", {"rows": [{"value_error": np.nan, "tolerance": 2e-5}]})
    (row,) = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert row == {"value_error": None, "tolerance": 2e-5}


def test_an_error_is_relative_and_nan_where_a_value_is() -> None:
    ones, broken = jnp.ones(3), jnp.array([1.0, jnp.nan, 1.0])
    assert np.isnan(parity.error([ones, broken, ones], [ones, ones, ones]))
    assert parity.error([ones, 3 * ones], [ones, 2 * ones]) == 0.5


@pytest.mark.parametrize(("tolerance", "status"), [(2e-5, 0), (-1.0, 1), (np.nan, 1)])
def test_the_status_says_whether_the_errors_are_within_tolerance(
    tolerance: float, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "LAYERS", {"forward": {}})
    monkeypatch.setattr(parity, "TOLERANCES", {"highest": tolerance})
    file = tmp_path / "parity.json"
    assert parity.main([*FLAGS, "--json", str(file)]) == status
    fused, cudnn = json.loads(file.read_text())["rows"]
    assert 0 <= fused["value_error"] < 2e-5
    assert 0 <= fused["gradient_error"] < 2e-5
    assert "needs an NVIDIA GPU" in cudnn["refused"]
