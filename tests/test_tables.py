"""docs/speed.md, which benchmarks/tables.py makes."""

import tables


def test_the_page_is_what_the_committed_results_give() -> None:
    assert tables.PAGE.read_text() == tables.page()
