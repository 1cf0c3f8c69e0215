"""The page of environments."""

import environments_page
from environments import CASES


def test_the_page_has_a_row_for_each_environment() -> None:
    rows = [
        {"group": each.group, "name": each.name, "loss": each.loss, "status": 0, "said": []}
        for each in CASES
    ]
    page = "\n".join(
        environments_page.environments({"rows": [{**row, "right": True} for row in rows]})
    )
    assert page.count("| yes |") == len(CASES)
    assert "| `JAX_ENABLE_X64=1` | yes | 0 | the same bits |" in page
