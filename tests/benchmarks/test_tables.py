"""The pages of docs/ that are made of benchmarks/results, or have tables of it."""

from types import ModuleType

import environments_page
import gpu_page
import pytest
import reliability_page
import scaling_page
import tables
import tutorial


@pytest.mark.parametrize(
    "script",
    [tables, tutorial, scaling_page, reliability_page, environments_page, gpu_page],
    ids=lambda script: script.__name__,
)
def test_a_page_is_what_the_committed_results_give(script: ModuleType) -> None:
    assert script.PAGE.read_text() == script.page()
