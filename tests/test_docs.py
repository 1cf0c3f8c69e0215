"""What the documentation shows works."""

import re
from pathlib import Path

import pytest

from flax_imdb import models

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def code(page: str) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def test_the_readmes_example_of_reusing_the_layers() -> None:
    (example,) = code("README.md")
    namespace: dict = {"__name__": "example"}
    exec(example, namespace)
    assert namespace["logits"].shape == (2, 4, 5)


def test_the_example_of_a_new_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "ARCHITECTURES", dict(models.ARCHITECTURES))
    (example,) = code("docs/models.md")
    exec(example, {"__name__": "example"})
    model = models.build(models.ModelConfig(arch="two_lstms"), vocab_size=10)
    assert len(model.encoder) == 2


def test_every_architecture_is_described() -> None:
    described = re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert described == list(models.ARCHITECTURES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), link
