"""What benchmarks/data_path.py measures, and what docs/scaling.md makes of it."""

from pathlib import Path

import data_path
import pytest
import runner
import scaling_model


@pytest.mark.long
def test_it_measures_the_way_of_the_reviews(imdb_reviews_dir: Path) -> None:
    variables = {"JAX_NUM_CPU_DEVICES": "1", "TFDS_DATA_DIR": str(imdb_reviews_dir)}
    results = runner.in_new_process(data_path.measure, 1, **variables)
    assert results["reviews"] == 25_000
    # Ids and four numbers of 4 bytes each.
    assert results["bytes"]["send"] == 4 * (data_path.MAX_LENGTH + 4)
    assert results["bytes"]["read"] < results["bytes"]["encode"]  # Records are compressed.
    assert min(results["seconds"].values()) > 0


def test_more_hosts_than_one_make_each_wait_a_little_longer() -> None:
    model = scaling_model.MODELS[0]
    rows = [scaling_model.rows_a_second(model, devices) for devices in (1, 8, 256, 4096)]
    assert rows[1] == pytest.approx(8 * rows[0], rel=0.01)
    assert rows[1] > rows[2] > rows[3] > 0.9 * rows[1]
