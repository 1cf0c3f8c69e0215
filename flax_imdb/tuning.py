"""What makes a process start and train faster."""

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
    """Make this process start and train faster; for a program, before it computes anything.

    - Compiled programs are kept in the cache directory (see `flax_imdb.paths.cache_dir`)
      and found there by later processes, unless JAX has been given a directory of its own or that
      one cannot be written.
    - With glibc, memory that XLA frees stays with the process. Given back to the system, as glibc
      does with large blocks, it is fetched and cleared anew, page by page, in every training step.
    """
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        # Without a home directory whatever cannot do without says so.
        with contextlib.suppress(InputError):
            _keep_programs(cache_dir() / "compiled")
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # Not glibc.
            mallopt = ctypes.CDLL(None).mallopt
            for option, value in (
                (_M_MMAP_MAX, 0),
                (_M_TRIM_THRESHOLD, 2**31 - 1),
                (_M_ARENA_MAX, 1),  # Arenas beside the first cannot hold blocks of this size.
            ):
                mallopt(option, value)


def _keep_programs(directory: Path) -> None:
    least = 0.0  # Seconds to compile: what takes less is not kept.
    try:
        directory.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        warn(
            f"{directory} cannot be written ({error.strerror}): programs that it does not hold are "
            "compiled anew at every start; FLAX_IMDB_CACHE may name another directory"
        )
        least = math.inf  # Or JAX would say it of each program.
    if os.path.exists(f"{directory}/."):  # Where it may be read.
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
