"""What the documentation shows works."""

import csv
import dataclasses
import importlib.metadata
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from untrained import padded, untrained

from flax_imdb import (
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    TrainConfig,
    experiment,
    models,
    predict,
)
from flax_imdb.data import Examples, Vocabulary, split_words
from flax_imdb.data.batching import Batching
from flax_imdb.data.sources import SPLITS, find_source
from flax_imdb.export import onnx, safetensors, write
from flax_imdb.training import create_state

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
INSTALLS = {
    arguments.strip()
    for page in PAGES
    for arguments in re.findall(r"pip install ([^`&\n]+)", page.read_text())
}


def code(page: str, section: str = "") -> list[str]:
    """The Python blocks of a page, or of one of its sections."""
    text = (ROOT / page).read_text()
    if section:
        text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


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


def test_the_example_of_training_in_nnx_learns() -> None:
    example, *_ = code("docs/nnx.md")
    namespace: dict = {"__name__": "example"}
    exec(example, namespace)
    assert namespace["losses"][-1] < 0.1 < namespace["losses"][0]
    assert namespace["accuracy"] > 0.95


def test_the_example_of_a_trained_model_in_nnx_predicts_as_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = ModelConfig(features=4, embedding_features=3, wide_ngrams=1, wide_buckets=8)
    linen = models.build(config, 9)
    state = create_state(linen, learning_rate=0.1, seed=5)
    experiment_config = ExperimentConfig(model=config, data=DataConfig(vocab_size=9))
    trained = SimpleNamespace(config=experiment_config, state=state)
    monkeypatch.setattr(predict, "load", lambda workdir: trained)
    _, example, _ = code("docs/nnx.md")
    namespace: dict = {"__name__": "example"}
    exec(example, namespace)
    tokens = jnp.arange(1, 9)[None]
    logits = namespace["model"](tokens)
    np.testing.assert_array_equal(logits, state.apply({"params": state.params}, tokens))


def test_the_example_of_the_estimator_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, example = code("docs/own_data.md")
    namespace: dict = {"__name__": "example"}
    exec(example, namespace)
    assert namespace["again"].predict(["broken"]).tolist() == ["bad"]
    assert namespace["search"].best_score_ == 1


def test_the_example_of_leaving_out_doubtful_rows_leaves_them_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    long = "né" * 100_000
    rows = [("text", "label"), ("a\nb", "x"), ("c", "y"), ("d\r\ne", "x"), (long, "y")]
    with open("reviews.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    doubtful = [("4", "reviews.csv", "é"), *[("5", "reviews.csv", "d")] * 2, ("2", "test.csv", "b")]
    with open("doubtful.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("line", "file", "text"), *doubtful])
    limit = csv.field_size_limit()
    (example,) = code("docs/check.md")
    try:
        exec(example, {"__name__": "example"})
        with open("corrected.csv", encoding="utf-8", newline="") as file:
            assert [*map(tuple, csv.reader(file))] == [rows[0], rows[1], rows[4]]
    finally:
        csv.field_size_limit(limit)


def test_the_examples_of_going_on_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    going_on, estimator = code("docs/going_on.md")
    namespace: dict = {"__name__": "example"}
    exec(estimator, namespace)
    namespace["classifier"].save("runs/old")
    texts = ["came late,bad", "it works,good"] * 20
    (tmp_path / "new.csv").write_text("\n".join(["text,label", *texts]))
    exec(going_on, namespace)
    assert namespace["result"].epochs == 2
    assert namespace["classifier"].n_iter_ == 2


def test_the_examples_of_numeric_sequences_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    of_arrays, of_a_file, of_an_export = code("docs/sequences.md")
    namespace: dict = {"__name__": "example"}
    exec(of_arrays, namespace)
    walks, labels = namespace["walks"], namespace["labels"]
    assert namespace["classifier"].score(walks, labels) > 0.8
    exec(of_a_file, namespace)
    source = find_source(DataConfig(dataset="walks.npz"))
    assert sum(len(source.read(split)[1]) for split in SPLITS) == len(walks)
    model = predict.load("runs/walks")
    onnx.write(model, tmp_path / "walks.onnx")
    inputs, lengths = padded(walks)
    example = {"inputs": inputs, "lengths": lengths}
    exec(of_an_export, example)
    expected = model.predict_probabilities(walks)
    np.testing.assert_allclose(example["probabilities"], expected, atol=1e-5)


def test_the_example_of_several_labels_learns() -> None:
    _, example = code("docs/multi_label.md")
    namespace: dict = {"__name__": "example"}
    exec(example, namespace)
    assert namespace["predicted"].tolist() == namespace["matrix"].tolist()


def test_the_examples_of_exports_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = untrained()
    for format, name in (
        ("safetensors", "model"),
        ("onnx", "lstm.onnx"),
        ("stablehlo", "lstm.stablehlo"),
    ):
        write(model, format, tmp_path / name)
    namespace: dict = {}
    (tokenizer,) = code("docs/exports.md", "The tokenizer")
    exec(tokenizer, namespace)
    known = model.vocabulary.encode(["a", "dull", "film", "saved", "by", "its", "ending"])
    assert namespace["tokens"][0].tolist() == known.tolist()
    assert namespace["lengths"].tolist() == [8, 2]
    expected = model.predict_probabilities(["A dull film, saved by its ending.", "Great!"])
    arrays = {name: np.array(namespace[name], np.int32) for name in ("tokens", "lengths")}
    for section in ("onnx", "stablehlo", "safetensors"):
        (example,) = code("docs/exports.md", section)
        of_jax = jax.tree.map(jnp.array, arrays) if section == "safetensors" else arrays
        namespace = {"__name__": "example", **of_jax}
        exec(example, namespace)
        if section == "safetensors":
            second = jax.nn.sigmoid(namespace["logits"])
            namespace["probabilities"] = jnp.concatenate([1 - second, second], axis=1)
        np.testing.assert_allclose(namespace["probabilities"], expected, atol=1e-6)
        if section == "onnx":
            assert json.loads(namespace["classes"]) == list(model.info.classes)


@pytest.mark.long
def test_the_example_of_a_cluster_classifies_the_rows_of_all_files(tmp_path: Path) -> None:
    pytest.importorskip("dask.dataframe")
    model = untrained("bilstm")
    safetensors.write(model, tmp_path / "runs" / "mine")
    texts = [["a good film", "bad"], ["the story of people"]]
    for number, of_file in enumerate(texts):
        content = "".join(f"{text}\n" for text in ("text", *of_file))
        (tmp_path / f"reviews-{number}.csv").write_text(content)
    (example,) = code("docs/partitions.md")
    (tmp_path / "example.py").write_text(example)
    subprocess.run([sys.executable, "example.py"], cwd=tmp_path, check=True)
    for number, of_file in enumerate(texts):
        with (tmp_path / f"answers-{number}.csv").open() as file:
            rows = [*csv.DictReader(file)]
        expected = model.predict(of_file)
        assert [row["text"] for row in rows] == of_file
        assert [row["label"] for row in rows] == [each.label for each in expected]
        assert [float(row["probability"]) for row in rows] == pytest.approx(
            [each.probabilities[each.label] for each in expected], abs=1e-6
        )


def rows(page: str, columns: int) -> list[list[str]]:
    """The rows of a page's tables whose first cell is a text, without their marks of code."""
    lines = re.findall(r'^\| `"(.*)"` \|(.*)\|$', (ROOT / page).read_text(), re.MULTILINE)
    cells = [[text, *(cell.strip(" `") for cell in others.split("|"))] for text, others in lines]
    return [[json.loads(f'"{cell}"') for cell in row] for row in cells if len(row) == columns]


def test_the_examples_of_the_tokenizer_have_its_words() -> None:
    examples = rows("docs/tokenizer.md", columns=3)
    assert len(examples) > 15
    for text, keras, unicode in examples:
        assert split_words(text, "keras") == (keras.split(" ") if keras else [])
        assert split_words(text, "unicode") == (unicode.split(" ") if unicode else [])


def test_the_examples_of_the_tokenizer_have_its_ids() -> None:
    vocabulary = Vocabulary(["the", "film", "good"])
    examples = rows("docs/tokenizer.md", columns=4)
    encoded = [vocabulary.encode(split_words(text)) for text, *_ in examples]
    texts = Examples.build(encoded, np.zeros(len(examples))).limited(len(vocabulary), 5)
    for column, padding in ((2, "masked"), (3, "keras")):
        (planned,) = (batching := Batching(len(examples), 5, padding)).plan_evaluation(texts)
        batch = batching.make(texts, planned)
        for row, number in enumerate(planned.indices):
            written = " ".join(map(str, batch["tokens"][row]))
            assert examples[number][column] == f"{written}`, length {batch['lengths'][row]}"
            ids = texts.inputs[texts.starts[number] :][: texts.lengths[number]]
            assert examples[number][1] == " ".join(map(str, ids))


def test_the_example_of_the_way_in_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = code("docs/exports.md", "The way in")
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
