"""What the documentation shows works."""

import dataclasses
import importlib.metadata
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from flax_imdb import (
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    TrainConfig,
    experiment,
    models,
    predict,
)

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
INSTALLS = {
    arguments.strip()
    for page in PAGES
    for arguments in re.findall(r"pip install ([^`&\n]+)", page.read_text())
}


def code(page: str) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def test_the_readmes_example_of_reusing_the_layers_runs() -> None:
    (example,) = code("README.md")
    namespace: dict = {"__name__": "example"}
    exec(example, namespace)
    assert namespace["logits"].shape == (2, 4, 5)


def test_the_example_of_a_new_architecture_registers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.architectures, "ARCHITECTURES", dict(models.ARCHITECTURES))
    (example,) = code("docs/models.md")
    exec(example, {"__name__": "example"})
    model = models.build(models.ModelConfig(arch="two_lstms"), vocab_size=10)
    assert len(model.encoder) == 2


def test_the_example_of_training_from_python_trains_what_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained: list[ExperimentConfig] = []

    def train(config: ExperimentConfig, workdir: str, device: str) -> SimpleNamespace:
        trained.append(config)
        return SimpleNamespace(test_accuracy=0.5)

    monkeypatch.setattr(experiment, "train", train)
    monkeypatch.setattr(predict, "load", lambda workdir: SimpleNamespace(predict=list))
    example, *_ = code("docs/training.md")
    exec(example, {"__name__": "example"})
    (config,) = trained
    assert (config.model.features, config.data.max_length, config.training.seed) == (64, 400, 1)


def test_the_example_of_the_estimator_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, example = code("docs/own_data.md")
    namespace: dict = {"__name__": "example"}
    exec(example, namespace)
    assert namespace["again"].predict(["broken"]).tolist() == ["bad"]
    assert namespace["search"].best_score_ == 1


def test_the_example_of_the_way_in_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    section = (ROOT / "docs" / "exports.md").read_text().partition("\n## The way in\n")[2]
    (example,) = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    namespace: dict = {"__name__": "example"}
    exec(example, namespace)
    assert namespace["logits"].shape == (1, 1)
    assert predict.load("imported").vocabulary.encode(["film"]).tolist() == [1, 5]


def test_every_attribute_of_a_configuration_is_named() -> None:
    page = (ROOT / "docs" / "training.md").read_text()
    for part in (ModelConfig, DataConfig, TrainConfig):
        text = page[page.index(f"`{part.__name__}` ") :].partition(";")[0]
        named = re.findall(r"`(\w+)`", text)
        assert named[1:] == [field.name for field in dataclasses.fields(part)]


def test_every_architecture_is_described() -> None:
    described = re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert described == list(models.ARCHITECTURES)


def test_every_extra_that_is_installed_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {
        ".": set(project["optional-dependencies"]),
        "jax": set(importlib.metadata.metadata("jax").get_all("Provides-Extra")),
    }
    installed = re.findall(r"([\w.]+)\[([\w,]+)\]", " ".join(INSTALLS))
    assert {package for package, _ in installed} == set(extras)
    for package, names in installed:
        assert set(names.split(",")) <= extras[package]


@pytest.mark.long
@pytest.mark.parametrize("arguments", sorted(INSTALLS))
def test_every_install_command_has_a_solution(arguments: str) -> None:
    dry_run = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "-q"]
    subprocess.run([*dry_run, *shlex.split(arguments)], check=True, cwd=ROOT)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), link
