"""Any prepared dataset of tfds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import permissions
import pytest
import tensorflow_datasets as tfds
from dataset_shapes import write_tfds
from imdb_archive import one_line_error
from own_rows import own, pairs_in, rows_in

CLASSES = tfds.features.ClassLabel(names=["bad", "good"])
PLAIN = {"text": tfds.features.Text(), "label": CLASSES}


def examples(split: str, labels: list[int]) -> list[dict[str, object]]:
    return [{"text": f"Née {split} {i}", "label": label} for i, label in enumerate(labels)]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several prepared datasets; not to be changed."""
    directory = tmp_path_factory.mktemp("tfds")
    train = examples("train", [0, 1] * 10)
    test, validation = examples("test", [1, 0, 1]), examples("validation", [0, 1])
    unlabelled = examples("test", [-1, -1])
    write_tfds(directory, "plain", PLAIN, {"train": train, "test": test})
    write_tfds(
        directory,
        "glue",
        PLAIN,
        {"train": train, "validation": validation, "test": unlabelled},
        "a",
    )
    write_tfds(directory, "glue", PLAIN, {"train": train, "test": unlabelled}, "b")
    write_tfds(directory, "one", PLAIN, {"train": train, "validation": validation}, "only")
    write_tfds(directory, "gaps", PLAIN, {"train": examples("train", [0, 1, -1, 0])})
    features = {
        "data": {"body": tfds.features.Text(), "head": np.str_, "stars": np.int32},
        "weight": np.float32,
        "useful": np.bool_,
    }
    rows = [
        {
            "data": {"body": f"body {i}", "head": f"head {i}", "stars": i % 5},
            "weight": i / 2,
            "useful": i % 2 == 0,
        }
        for i in range(20)
    ]
    write_tfds(directory, "nested", features, {"train": rows})
    return directory


@pytest.fixture
def copy(data_dir: Path, tmp_path: Path) -> Path:
    """A copy of a dataset, to be damaged."""
    shutil.copytree(data_dir / "plain", tmp_path / "plain")
    return tmp_path


class TestSplits:
    def test_are_those_of_tfds(self, data_dir: Path) -> None:
        source = own("tfds:plain", data_dir=str(data_dir))
        assert source.name == "tfds:plain"
        assert source.location == str(data_dir / "plain" / "1.0.0")
        assert source.found["dataset"] == "tfds:plain:1.0.0"
        assert source.found["data_dir"] == str(data_dir)
        assert own(source.found.pop("dataset"), **source.found).fingerprint == source.fingerprint
        assert source.classes == ("bad", "good")
        assert source.warnings == ()
        for split in ("train", "test"):
            texts, labels = source.read(split)
            read = tfds.data_source("plain", data_dir=data_dir, split=split)
            assert texts == [example["text"].decode() for example in read]
            assert labels.tolist() == [example["label"] for example in read]
            assert labels.dtype == np.int32

    def test_without_labels_are_not_tested_on(self, data_dir: Path) -> None:
        source = own("tfds:glue/a", data_dir=str(data_dir))
        assert len(source.read("train")[0]) == 20
        assert sorted(source.read("test")[0]) == ["Née validation 0", "Née validation 1"]
        assert source.remarks[-1].endswith(
            "1.0.0 (validation): tested on, because no split test has labels"
        )

    def test_may_be_that_of_the_training_alone(self, data_dir: Path) -> None:
        source = own("tfds:glue/b", data_dir=str(data_dir))
        assert [len(source.read(split)[0]) for split in ("train", "test")] == [16, 4]

    def test_may_be_of_two_datasets(self, data_dir: Path) -> None:
        settings = {"data_dir": str(data_dir), "test_dataset": "tfds:glue/a"}
        source = own("tfds:plain", **settings)
        assert len(source.read("train")[0]) == 20
        assert all("validation" in text for text in source.read("test")[0])


class TestFeatures:
    def test_are_columns(self, data_dir: Path) -> None:
        settings = {"data_dir": str(data_dir)}
        rows = pairs_in(
            "tfds:nested", text_columns="data.head,data.body", label_column="data.stars", **settings
        )
        assert sorted(rows) == sorted((f"head {i}\nbody {i}", str(i % 5)) for i in range(20))
        for label, values in (("weight", {"0.0", "0.5", "1.0"}), ("useful", {"true", "false"})):
            rows = rows_in("tfds:nested", text_columns="data.body", label_column=label, **settings)
            assert values <= set(rows.labels)
        with one_line_error(
            r"which column is the text and which the label: give .*data.body \('body \d+'\)"
        ):
            rows_in("tfds:nested", **settings)

    def test_without_a_label_are_bad_rows(self, data_dir: Path) -> None:
        with one_line_error(r"gaps/1.0.0 \(train\): 1 of 4 rows \(example \d has no label\)"):
            rows_in("tfds:gaps", data_dir=str(data_dir))
        rows = rows_in("tfds:gaps", data_dir=str(data_dir), skip_bad_rows=True)
        assert sorted(rows.labels) == ["bad", "bad", "good"]


class TestPlace:
    def test_may_be_named_by_the_variable(
        self, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
        assert len(rows_in("tfds:plain").texts) == 20
        with one_line_error(f"`dataset` tfds:other is not prepared in {data_dir}; `data_dir` may"):
            rows_in("tfds:other")

    def test_may_be_the_usual_one(
        self, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "tensorflow_datasets").symlink_to(data_dir)
        assert len(rows_in("tfds:plain").texts) == 20

    def test_has_configurations_and_versions(self, data_dir: Path, copy: Path) -> None:
        settings = {"data_dir": str(data_dir)}
        assert own("tfds:one", **settings).location == str(data_dir / "one" / "only" / "1.0.0")
        assert own("tfds:one/only:1.0.0", **settings).classes == ("bad", "good")
        with one_line_error("tfds:glue needs a configuration, glue/CONFIG, of those .*: a, b"):
            own("tfds:glue", **settings)
        with one_line_error("tfds:glue/a:2.0.0 is not prepared in .*, only versions 1.0.0"):
            own("tfds:glue/a:2.0.0", **settings)
        (copy / "plain" / "1.0.0").rename(copy / "plain" / "9.0.0")
        shutil.copytree(copy / "plain" / "9.0.0", copy / "plain" / "10.0.0")
        assert own("tfds:plain", data_dir=str(copy)).location.endswith("10.0.0")

    @pytest.mark.parametrize("name", ["", "/", "a/b/c", "../plain", "..", "a/..", "plain/"])
    def test_is_inside_the_directory(self, name: str, data_dir: Path) -> None:
        with one_line_error("is not of the form tfds:NAME or tfds:NAME/CONFIG"):
            rows_in(f"tfds:{name}", data_dir=str(data_dir))

    def test_without_a_version_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "plain" / "incomplete.ABC_1.0.0").mkdir(parents=True)
        with one_line_error("plain is not prepared in .* has no version"):
            rows_in("tfds:plain", data_dir=str(tmp_path))


class TestDamage:
    def test_is_noticed(self, copy: Path) -> None:
        shard = next((copy / "plain" / "1.0.0").glob("*train*"))
        content = shard.read_bytes()
        for damaged in (b"", content[: len(content) // 2], content[::-1]):
            shard.write_bytes(damaged)
            with one_line_error("1.0.0 is damaged .*; prepare it again"):
                rows_in("tfds:plain", data_dir=str(copy))
        shard.unlink()
        with one_line_error("1.0.0 is damaged"):
            rows_in("tfds:plain", data_dir=str(copy))

    @pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
    def test_of_what_describes_it_is_noticed(self, name: str, copy: Path) -> None:
        (copy / "plain" / "1.0.0" / name).write_text("{")
        with one_line_error("1.0.0 is damaged"):
            rows_in("tfds:plain", data_dir=str(copy))

    @pytest.mark.parametrize("hidden", ["plain", "plain/1.0.0", "plain/1.0.0/features.json"])
    def test_is_not_a_lack_of_permission(self, hidden: str, copy: Path) -> None:
        with permissions.denied(copy / hidden), one_line_error("cannot be read: Permission denied"):
            rows_in("tfds:plain", data_dir=str(copy))

    def test_changes_the_fingerprint(self, copy: Path) -> None:
        before = own("tfds:plain", data_dir=str(copy)).fingerprint
        assert own("tfds:plain", data_dir=str(copy)).fingerprint == before
        names = copy / "plain" / "1.0.0" / "label.labels.txt"
        names.write_text("good\nbad\n")
        assert own("tfds:plain", data_dir=str(copy)).fingerprint != before


def test_needs_no_tensorflow(data_dir: Path, tmp_path: Path) -> None:
    """Nor is it imported where it is installed."""
    fake = tmp_path / "fake" / "tensorflow"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text("raise AssertionError('TensorFlow was imported')")
    program = f"""
import sys
from flax_imdb.data.config import DataConfig
from flax_imdb.data.sources.own import OwnSource
source = OwnSource(DataConfig(dataset="tfds:plain", data_dir={str(data_dir)!r}))
assert len(source.read("train")[0]) == 20
assert "tensorflow" not in sys.modules
"""
    path = os.pathsep.join([str(fake.parent), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
