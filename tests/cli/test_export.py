"""``flax-imdb export``, and what is written where."""

import json
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from small_runs import experiment, quiet_train
from untrained import untrained

from flax_imdb import cli, export
from flax_imdb.cli.export import ExportOptions
from flax_imdb.errors import InputError
from flax_imdb.export import onnx
from flax_imdb.predict import load


@pytest.fixture(scope="module")
def workdir(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("export") / "run"
    quiet_train(experiment(reviews, epochs=1, max_length=10), workdir)
    return workdir


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check takes a process; one test has it."""
    monkeypatch.setattr(export, "check", lambda *arguments, **options: 0.0)


def error(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    assert cli.main(["export", *map(str, args)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_it_writes_the_model_and_what_is_beside_it(
    workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "model.onnx"
    flags = ("--workdir", workdir, "--format", "onnx", "--output", output)
    assert cli.main(["export", *map(str, flags)]) == 0
    written = ["model.onnx", "model.onnx.json", "model.onnx.tokenizer.json"]
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in written]
    assert names(tmp_path) == written

    said = json.loads((tmp_path / "model.onnx.json").read_text())
    assert said["format"] == "onnx"
    text = ["a", "good", "film"]
    ids = [said["start"], *(said["words"].index(word) for word in text)]
    ask = onnx.read(output)
    (probabilities,) = ask(np.array([ids], np.int32), np.array([len(ids)], np.int32))
    (prediction,) = load(workdir).predict([" ".join(text)])
    assert dict(zip(said["classes"], probabilities, strict=True)) == pytest.approx(
        prediction.probabilities, abs=1e-5
    )


def test_what_cannot_be_done_is_one_line(
    workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("")
    for format, output, reason in (
        (
            "pickle",
            "model",
            "invalid choice 'pickle' for argument '--format'. Expected one of ('stablehlo', ",
        ),
        ("onnx", "taken", f"--output {tmp_path / 'taken'} exists: --overwrite replaces it"),
        ("onnx", ".", f"--output {tmp_path} is a directory, not a file"),
        ("onnx", "none/model", f"--output {tmp_path / 'none/model'}: there is no directory"),
    ):
        flags = ("--workdir", workdir, "--format", format, "--output", tmp_path / output)
        assert error(capsys, *flags).startswith(f"error: {reason}")
    assert names(tmp_path) == ["taken"]


@pytest.mark.parametrize(
    ("format", "needed", "install"),
    [
        ("onnx", "onnxruntime", "pip install onnx onnxruntime"),
        ("stablehlo", "flatbuffers", "pip install flatbuffers"),
    ],
)
def test_what_is_not_installed_is_named(
    format: str, needed: str, install: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, needed, None)
    with pytest.raises(InputError, match=f"needs {needed}, which is not installed: {install}"):
        export.export(untrained(), format, tmp_path / "model")


@pytest.mark.usefixtures("unchecked")
def test_files_are_replaced_if_asked_for(tmp_path: Path) -> None:
    output = tmp_path / "model.onnx"
    for model in (untrained("lstm"), untrained("bilstm")):
        export.export(model, "onnx", output, overwrite=True)
        said = json.loads((tmp_path / "model.onnx.json").read_text())
        assert said["arch"] == model.config.model.arch
    assert len(names(tmp_path)) == 3
    output.unlink()
    with pytest.raises(InputError, match=r"`output` .*onnx.json exists: `overwrite` replaces it"):
        export.export(untrained(), "onnx", output)


def test_what_does_not_answer_as_the_model_gets_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> float:
        raise InputError("`format` onnx: what was written answers otherwise")

    monkeypatch.setattr(export, "check", fail)
    (tmp_path / "model.onnx").write_text("older")
    with pytest.raises(InputError, match="answers otherwise"):
        export.export(untrained(), "onnx", tmp_path / "model.onnx", overwrite=True)
    assert names(tmp_path) == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_text() == "older"


class Directory:
    """A format of a file in a directory."""

    FILES = ("weights",)

    @staticmethod
    def write(model: Any, path: Path) -> dict[str, Any]:
        path.mkdir()
        (path / "weights").write_text("new")
        return {}


@pytest.mark.usefixtures("unchecked")
def test_a_directory_is_replaced_if_it_holds_a_model_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_module", lambda format: Directory)
    output = tmp_path / "model"
    output.mkdir()
    (output / "weights").write_text("old")
    with pytest.raises(InputError, match=r"`output` .*model exists: `overwrite` replaces it"):
        export.export(untrained(), "safetensors", output)
    (output / "novel.txt").write_text("of a year's work")
    with pytest.raises(
        InputError, match=r"`output` .*model holds more than a model, such as novel.txt"
    ):
        export.export(untrained(), "safetensors", output, overwrite=True)
    assert names(output) == ["novel.txt", "weights"]
    (output / "novel.txt").unlink()
    assert export.export(untrained(), "safetensors", output, overwrite=True) == [output]
    assert (output / "weights").read_text() == "new"
    assert names(tmp_path) == ["model"]
    with pytest.raises(InputError, match=r"`output` .*weights is a file, not a directory"):
        export.export(untrained(), "safetensors", output / "weights", overwrite=True)


@pytest.mark.usefixtures("unchecked")
def test_a_directory_that_is_there_stays_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its mode and the links to it; it may be the current one."""
    monkeypatch.setattr(export, "_module", lambda format: Directory)
    (tmp_path / "model").mkdir(mode=0o750)
    (tmp_path / "link").symlink_to("model")
    monkeypatch.chdir(tmp_path / "model")
    export.export(untrained(), "safetensors", ".")
    export.export(untrained(), "safetensors", tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert names(Path.cwd()) == ["weights"]
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("name", ["config.json", "report.html", "seed-7", "config", "README.md"])
def test_no_file_of_a_model_is_replaced(name: str, tmp_path: Path) -> None:
    """Neither of a run nor of an exported model, nor by a file beside the export."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_text("")
    with pytest.raises(InputError, match="is a file of another model"):
        export.destination("onnx", tmp_path / name, overwrite=True)


def test_the_flag_knows_all_formats() -> None:
    hints = get_type_hints(ExportOptions)
    assert get_args(hints["format"]) == tuple(export.FORMATS)
