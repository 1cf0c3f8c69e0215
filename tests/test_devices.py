"""What a program can do for its speed before it computes anything, and which devices there are."""

import dataclasses
import math
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import permissions
import pytest

from flax_imdb import devices
from flax_imdb.devices import select_devices
from flax_imdb.errors import InputError

HITS = """
import jax
import jax.monitoring
from flax_imdb.devices import tune_process

hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append("cache_hits" in event))
tune_process()
jax.jit(lambda x: x * 2 + 1)(1.0)
print(any(hits))
"""

FAULTS = """
import resource
import numpy as np
from flax_imdb.devices import tune_process


def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


untuned = [faults(), faults()]
tune_process()
print(min(untuned), [faults(), faults()][1])
"""


def output(code: str, *args: str, **environment: str) -> str:
    """What a fresh process prints."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        env={**inherited, "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


SELECT = """
import sys
from flax_imdb.devices import select_devices
from flax_imdb.errors import InputError

try:
    print(len(select_devices(sys.argv[1])))
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("device", ["auto", "cpu", "gpu"])
def test_a_platform_that_excludes_what_is_there_is_named(device: str) -> None:
    assert output(SELECT, device, JAX_PLATFORMS="cuda", CUDA_VISIBLE_DEVICES="") == (
        f"JAX {jax.__version__} finds no device: JAX_PLATFORMS=cuda lets JAX look for nothing "
        "else: unset it"
    )


def test_a_platform_that_excludes_what_is_asked_for_is_named() -> None:
    with pytest.raises(
        InputError, match="finds cpu \\(JAX_PLATFORMS=cpu lets JAX look for nothing"
    ):
        select_devices("tpu")


@pytest.mark.parametrize(
    "setting",
    [
        {"XLA_FLAGS": "--xla_force_host_platform_device_count=5"},
        {"JAX_NUM_CPU_DEVICES": "5"},
    ],
)
def test_the_number_of_cpu_devices_is_what_the_user_has_chosen(setting: dict[str, str]) -> None:
    assert output(SELECT, "cpu", **{"XLA_FLAGS": "", **setting}) == "5"


def test_a_program_compiled_once_is_found_by_the_next_process(tmp_path: Path) -> None:
    outputs = [output(HITS, FLAX_IMDB_CACHE=str(tmp_path)) for _ in range(2)]
    assert outputs == ["False", "True"]
    assert list((tmp_path / "compiled").iterdir())


def test_a_program_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert output(HITS, FLAX_IMDB_CACHE=str(tmp_path / "file")) == "False"


@pytest.mark.parametrize("mode", [0o555, 0])
def test_a_program_cache_of_another_user_is_warned_of_once(
    tmp_path: Path,
    mode: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """JAX would show each program that it cannot read or write; what may be read is used."""
    directory = tmp_path / "compiled"
    directory.mkdir()
    monkeypatch.setenv("FLAX_IMDB_CACHE", str(tmp_path))
    settings: dict[str, Any] = {"jax_compilation_cache_dir": None}
    monkeypatch.setattr(
        devices.jax, "config", SimpleNamespace(**settings, update=settings.__setitem__)
    )
    with permissions.denied(directory, mode):
        devices.tune_process()
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {directory} cannot be written (Permission denied): programs")
    assert said.count("\n") == 1
    if mode:
        assert settings["jax_compilation_cache_dir"] == str(directory)
        assert settings["jax_persistent_cache_min_compile_time_secs"] == math.inf
    else:
        assert settings == {"jax_compilation_cache_dir": None}


def test_a_program_cache_that_jax_was_given_is_respected(tmp_path: Path) -> None:
    own = tmp_path / "own"
    settings = {"JAX_COMPILATION_CACHE_DIR": str(own), "FLAX_IMDB_CACHE": str(tmp_path / "ours")}
    settings["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    output(HITS, **settings)
    assert list(own.iterdir())
    assert not (tmp_path / "ours").exists()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc's allocator")
def test_memory_that_was_freed_is_used_again_without_a_page_fault() -> None:
    untuned, tuned = map(int, output(FAULTS).split())
    assert untuned > 50  # Huge pages are fewer.
    assert tuned < 10


def test_processes_with_different_numbers_of_accelerators_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @dataclasses.dataclass
    class Device:
        process_index: int
        platform: str = "cuda"

    monkeypatch.setattr(jax, "devices", lambda kind=None: [Device(0), Device(0), Device(1)])
    with pytest.raises(InputError, match="`device` gpu: the processes have 2, 1 devices: each"):
        select_devices("gpu")


def test_no_device_at_all_is_an_error_with_jaxs_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str | None = None) -> list[jax.Device]:
        raise RuntimeError("Unable to initialize backend 'abacus'")

    monkeypatch.setattr(jax, "devices", unknown)
    with pytest.raises(InputError, match="finds no device: Unable to initialize backend 'abacus'"):
        select_devices("auto")
