"""The pages of docs/ that show benchmarks/results."""

import pytest
import render


@pytest.mark.parametrize("page", render.pages())
def test_a_page_is_what_the_committed_results_give(page: str) -> None:
    assert (render.DOCS / page).read_text() == render.render(page)


def test_a_bar_does_not_end_a_cell_and_a_very_long_name_is_cut() -> None:
    assert render.cell("a | b") == "a \\| b"
    assert render.cell(f"no {'x' * 300} here") == "no x... here"
