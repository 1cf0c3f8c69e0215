"""What a program can do for its speed before it computes anything."""

import math
import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import permissions
import pytest
from fresh_process import output

from flax_imdb import tuning

HITS = """
import jax
import jax.monitoring
from flax_imdb.tuning import tune_process

hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append("cache_hits" in event))
tune_process()
jax.jit(lambda x: x * 2 + 1)(1.0)
print(any(hits))
"""

FAULTS = """
import resource
import numpy as np
from flax_imdb.tuning import tune_process


def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


untuned = [faults(), faults()]
tune_process()
print(min(untuned), [faults(), faults()][1])
"""

RELEASED = """
import re
from pathlib import Path
import numpy as np
from flax_imdb.tuning import release_memory, tune_process


def used():
    return int(re.findall(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[0])


tune_process()
small = used()
parts = [np.ones(2**17) for _ in range(100)]  # 100 MB, in parts
last = np.ones(2**10)
del parts
kept = used()
release_memory()
print(small, kept, used())
"""


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
        tuning.jax, "config", SimpleNamespace(**settings, update=settings.__setitem__)
    )
    with permissions.denied(directory, mode):
        tuning.tune_process()
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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators are left alone")
def test_memory_that_is_kept_can_be_released() -> None:
    small, kept, released = map(int, output(RELEASED).split())
    assert kept > small + 80_000
    assert released < small + 20_000
