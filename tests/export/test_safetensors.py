"""A model as a directory in the habit of Hugging Face: what is in it, and what reads it again."""

import dataclasses
import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import yaml
from results_by_type import example
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer
from untrained import (
    MAX_LENGTH,
    SETTINGS,
    WORDS,
    raw_sequences,
    untrained,
    untrained_on_sequences,
)

import flax_imdb
from flax_imdb import LSTMClassifier, cli, export
from flax_imdb.errors import InputError
from flax_imdb.export import safetensors
from flax_imdb.predict import TrainedModel
from flax_imdb.results import Result

TEXTS = ["A good film.", "bad", "the story of the people " * MAX_LENGTH]


def written(model: TrainedModel, path: Path) -> Path:
    safetensors.write(model, path)
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return written(untrained("conv_lstm"), tmp_path / "model")


def front_matter(directory: Path) -> dict[str, Any]:
    _, matter, _ = (directory / "README.md").read_text("utf-8").split("---\n", 2)
    content: dict[str, Any] = yaml.safe_load(matter)
    return content


class TestWhatIsWritten:
    def test_the_variables_are_named_as_flax_flattens_them(self, directory: Path) -> None:
        """They are all that the module needs."""
        with safe_open(directory / "model.safetensors", framework="numpy") as file:
            assert file.metadata() == {"format": "flax"}
            assert "params.head.kernel" in [*file.keys()]
        model = untrained("conv_lstm")
        arrays = load_file(directory / "model.safetensors")
        kernel = model.state.params["encoder_2"]["cell"]["recurrent_kernel"]
        np.testing.assert_array_equal(arrays["params.encoder_2.cell.recurrent_kernel"], kernel)
        assert sum(array.size for array in arrays.values()) == sum(
            leaf.size for leaf in jax.tree.leaves(model.state.params)
        )

    def test_the_configuration_names_the_classes(self, tmp_path: Path) -> None:
        content = json.loads(
            (written(untrained(classes=3), tmp_path / "m") / "config.json").read_text()
        )
        assert content["model_type"] == "flax_imdb"
        assert content["architectures"] == ["Classifier"]
        assert content["id2label"] == {"0": "0", "1": "1", "2": "2"}
        assert content["label2id"] == {"0": 0, "1": 1, "2": 2}

    def test_the_tokenizer_has_the_ids_of_the_vocabulary(self, directory: Path) -> None:
        tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        assert tokenizer.encode("A good film").ids == [
            1,
            *(3 + WORDS.index(w) for w in ("a", "good", "film")),
        ]

    def test_a_model_of_numeric_sequences_has_statistics_and_no_tokenizer(
        self, tmp_path: Path
    ) -> None:
        model = dataclasses.replace(untrained_on_sequences("bilstm"), result=example(Result))
        directory = written(model, tmp_path / "model")
        assert not (directory / "tokenizer.json").exists()
        loaded = flax_imdb.load(directory)
        assert loaded.info == model.info
        np.testing.assert_allclose(
            loaded.predict_probabilities(raw_sequences()),
            model.predict_probabilities(raw_sequences()),
            atol=1e-6,
        )
        matter = front_matter(directory)
        assert "pipeline_tag" not in matter
        assert (
            matter["model-index"][0]["results"][0]["task"]["type"] == "time-series-classification"
        )
        card = (directory / "README.md").read_text("utf-8")
        assert f"Of a sequence of 3 features it reads the last {MAX_LENGTH} steps." in card
        assert "texts" not in card

    def test_it_does_not_say_where_its_files_were(self, reviews: Path, tmp_path: Path) -> None:
        model = untrained()
        data = dataclasses.replace(
            model.config.data,
            dataset=str(tmp_path / "train.csv"),
            test_dataset=str(tmp_path / "test.csv"),
            data_dir=str(reviews),
        )
        training = dataclasses.replace(model.config.training, embeddings=str(tmp_path / "v.txt"))
        config = dataclasses.replace(model.config, data=data, training=training)
        directory = written(dataclasses.replace(model, config=config), tmp_path / "model")
        for file in directory.iterdir():
            assert str(tmp_path).encode() not in file.read_bytes()
            assert str(reviews).encode() not in file.read_bytes()
        config = flax_imdb.load(directory).config
        data = config.data
        assert (data.dataset, data.test_dataset, data.data_dir) == ("train.csv", "test.csv", None)
        assert config.training.embeddings == "v.txt"


class TestTheModelCard:
    def test_it_has_the_figures_of_the_run(self, tmp_path: Path) -> None:
        model = untrained()
        reviews = dataclasses.replace(model.info, name="imdb_reviews")
        result = dataclasses.replace(example(Result), test_accuracy=0.75, macro_f1=0.6, note="")
        model = dataclasses.replace(model, info=reviews, result=result)
        directory = written(model, tmp_path / "model")
        matter = front_matter(directory)
        assert matter["pipeline_tag"] == "text-classification"
        assert matter["library_name"] == "flax_imdb"
        assert matter["language"] == "en"
        (index,) = matter["model-index"]
        (results,) = index["results"]
        assert results["task"]["type"] == "text-classification"
        assert results["dataset"]["type"] == "stanfordnlp/imdb"
        assert {metric["type"]: metric["value"] for metric in results["metrics"]} == {
            "accuracy": 0.75,
            "f1": 0.6,
            "loss": 0.5,
        }
        assert "| accuracy | 75.00% |" in (directory / "README.md").read_text("utf-8")
        assert flax_imdb.load(directory).result == result

    def test_without_a_result_there_are_no_figures(self, tmp_path: Path) -> None:
        directory = written(untrained(), tmp_path / "model")
        assert front_matter(directory).keys() == {"pipeline_tag", "library_name", "tags"}
        assert not (directory / "result.json").exists()

    @pytest.mark.parametrize("note", ["", "SYNTHETIC REVIEWS: accuracy means nothing"])
    def test_it_warns_of_synthetic_reviews(self, note: str, tmp_path: Path) -> None:
        result = dataclasses.replace(example(Result), note=note) if note else None
        model = dataclasses.replace(untrained(), result=result)
        card = (written(model, tmp_path / "model") / "README.md").read_text("utf-8")
        assert f"**{note or 'It was trained on synthetic reviews: it knows nothing.'}**" in card

    def test_names_are_data(self, tmp_path: Path) -> None:
        """Those of a dataset and its classes may have any character."""
        name, classes = 'x: `y`\n# "z"', ('a: "b"', "</code>\n```\n# c")
        model = untrained()
        info = dataclasses.replace(model.info, name=name, classes=classes)
        model = dataclasses.replace(model, info=info, result=example(Result))
        directory = written(model, tmp_path / "model")
        (index,) = front_matter(directory)["model-index"]
        assert index["results"][0]["dataset"]["name"] == name
        lines = (directory / "README.md").read_text("utf-8").splitlines()
        assert [line for line in lines if line[:2] == "# "] == ['# lstm on x: `y` # "z"']
        loaded = flax_imdb.load(directory).info
        assert (loaded.name, loaded.classes) == (name, classes)


class TestLoad:
    @pytest.mark.parametrize("settings", [{"arch": "lstm"}, *SETTINGS], ids=lambda s: s["arch"])
    def test_it_answers_with_the_same_bits(self, settings: dict[str, Any], tmp_path: Path) -> None:
        model = untrained(**settings)
        model = dataclasses.replace(model, trainer=model.config.trainer(jax.devices()))
        loaded = flax_imdb.load(written(model, tmp_path / "model"))
        np.testing.assert_array_equal(
            loaded.predict_probabilities(TEXTS), model.predict_probabilities(TEXTS)
        )

    def test_what_is_exported_again_is_the_same(self, directory: Path, tmp_path: Path) -> None:
        again = written(flax_imdb.load(directory), tmp_path / "again")
        assert {path.name: path.read_bytes() for path in again.iterdir()} == {
            path.name: path.read_bytes() for path in directory.iterdir()
        }

    def test_it_is_no_run(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Nothing goes on with it, and nothing deletes it."""
        before = sorted(directory.iterdir())
        report, train = cli.command("report"), cli.command("train")
        for command, args in (
            (report, [str(directory)]),
            (train, ["--resume", "--workdir", str(directory)]),
            (train, ["--overwrite", "--workdir", str(directory), "--dataset", "synthetic"]),
        ):
            assert cli.run(command, args, "flax-imdb") == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert "is that of an exported model, which is no run" in line
        assert sorted(directory.iterdir()) == before

    def test_it_can_be_saved_as_a_run(self, directory: Path) -> None:
        saved = directory.with_name("saved")
        LSTMClassifier.load(directory).save(saved)
        texts = ["a good film", "bad"]
        given = flax_imdb.load(directory).predict_probabilities(texts)
        np.testing.assert_array_equal(flax_imdb.load(saved).predict_probabilities(texts), given)

    def test_what_it_takes_is_named(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
        with pytest.raises(InputError, match="is not installed: pip install safetensors"):
            flax_imdb.load(directory)


def edit(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """What changes the content of a file of JSON."""

    def edited(directory: Path) -> None:
        content = json.loads((directory / name).read_text())
        change(content)
        (directory / name).write_text(json.dumps(content))

    return edited


def rewrite(change: Callable[[dict[str, np.ndarray]], Any]) -> Callable[[Path], None]:
    """What changes the arrays."""

    def rewritten(directory: Path) -> None:
        arrays = load_file(directory / "model.safetensors")
        change(arrays)
        save_file(arrays, directory / "model.safetensors")

    return rewritten


def cut(directory: Path) -> None:
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def lie_about_the_header(directory: Path) -> None:
    path = directory / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**60) + path.read_bytes()[8:])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "model.safetensors is not safetensors: SafetensorError: "),
        (lie_about_the_header, "model.safetensors is not safetensors: SafetensorError: "),
        (
            rewrite(lambda arrays: arrays.pop("params.head.bias")),
            "is not of the model that config.json describes: params.head.bias is missing",
        ),
        (
            rewrite(lambda arrays: arrays.update(more=np.zeros(1))),
            "is not of the model that config.json describes: it has more",
        ),
        (
            rewrite(lambda arrays: arrays.update({"params.head.bias": np.zeros(2, "f")})),
            "params.head.bias is float32 [2] and should be float32 [1]",
        ),
        (
            rewrite(lambda arrays: arrays.update({"params.head.bias": np.zeros(1, np.float16)})),
            "params.head.bias is float16 [1] and should be float32 [1]",
        ),
        (
            edit("config.json", lambda content: content["flax_imdb"]["model"].update(features=5)),
            "and should be float32",
        ),
        (
            edit("config.json", lambda content: content["flax_imdb"]["model"].update(arch="gru")),
            "`arch` gru is unknown",
        ),
        (
            edit("config.json", lambda content: content["flax_imdb"]["model"].update(size=5)),
            "config.json is not the configuration of an exported model: TypeError: ",
        ),
        (
            edit("config.json", lambda content: content.pop("flax_imdb")),
            "config.json is not the configuration of an exported model: KeyError: 'flax_imdb'",
        ),
        (
            edit("config.json", lambda content: content["id2label"].update({"1": "good"})),
            "its id2label differs from the classes of vocabulary.json",
        ),
        (
            edit("config.json", lambda content: content["id2label"].update({"2": "good"})),
            "its id2label differs from the classes of vocabulary.json",
        ),
        (lambda directory: (directory / "config.json").write_text("{"), "JSONDecodeError: "),
        (lambda directory: (directory / "config.json").unlink(), "holds no run"),
        (
            edit(
                "vocabulary.json", lambda content: content["words"].append(content["words"].pop(3))
            ),
            "its vocabulary is not that of vocabulary.json",
        ),
        (
            edit("vocabulary.json", lambda content: content["words"].append("good")),
            "its words are not a vocabulary",
        ),
        (
            edit("vocabulary.json", lambda content: content["classes"].append("neutral")),
            "its id2label differs from the classes of vocabulary.json",
        ),
        (lambda directory: (directory / "vocabulary.json").unlink(), "No such file or directory"),
    ],
)
def test_a_damaged_file_is_one_line(
    damage: Callable[[Path], Any], reason: str, directory: Path
) -> None:
    damage(directory)
    with pytest.raises(InputError) as raised:
        flax_imdb.load(directory)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


def test_it_is_checked_in_a_new_process(tmp_path: Path) -> None:
    export.export(untrained(), "safetensors", tmp_path / "model")
    assert flax_imdb.load(tmp_path / "model").predict(TEXTS) == untrained().predict(TEXTS)
