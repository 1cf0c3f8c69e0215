"""Process settings for faster start and training."""

import contextlib
import ctypes
import math
import os
import sys
import tempfile
from pathlib import Path

import jax

from flax_imdb.errors import InputError, warn
from flax_imdb.paths import cache_dir

# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def tune_process() -> None:
    """Make this process start and train faster. Call it before computing anything.

    - Compiled programs are cached for later processes in the cache directory (see
      `flax_imdb.paths.cache_dir`), unless JAX has a directory already.
    - With glibc, the process keeps memory that XLA frees. By default glibc returns large blocks to
      the system, and every training step has to get and clear them again page by page.
    """
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        # A missing home directory is reported by whatever needs it.
        with contextlib.suppress(InputError):
            _keep_programs(cache_dir() / "compiled")
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # Not glibc.
            mallopt = ctypes.CDLL(None).mallopt
            for option, value in (
                (_M_MMAP_MAX, 0),
                (_M_TRIM_THRESHOLD, 2**31 - 1),
                (_M_ARENA_MAX, 1),  # Arenas other than the first cannot hold such large blocks.
            ):
                mallopt(option, value)


def release_memory() -> None:
    """Return the memory that this process has and does not use to the system, with glibc.

    For after something that took much and is not to be done again: see `tune_process`.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # Not glibc.
            ctypes.CDLL(None).malloc_trim(0)


def _keep_programs(directory: Path) -> None:
    least = 0.0  # Programs that compile in fewer seconds are not kept.
    try:
        directory.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        warn(
            f"{directory} cannot be written ({error.strerror}): programs that it does not hold are "
            "compiled anew at every start; FLAX_IMDB_CACHE may name another directory"
        )
        least = math.inf  # Otherwise JAX would warn for each program.
    if os.path.exists(f"{directory}/."):  # It can be read.
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
