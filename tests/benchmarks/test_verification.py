"""What is altered in a run is found."""

from pathlib import Path

import pytest
import verification
from faults import few_reviews


@pytest.mark.long
def test_every_alteration_is_found_and_nothing_else(tmp_path: Path) -> None:
    reviews, run = few_reviews(tmp_path / "reviews"), tmp_path / "run"
    small = ("--features", "4", "--embedding-features", "4", "--max-length", "16")
    verification.train(reviews, run, *small, "--batch-size", "8")
    rows = verification.plant(run, reviews, tmp_path)
    assert [row["alteration"] for row in rows if not row["found"]] == []
    assert str(tmp_path) not in str(rows)
    assert verification.verify(run)["said"] == "the same bits"
