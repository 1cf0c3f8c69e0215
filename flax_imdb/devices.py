"""Which devices a run uses, and how arrays are laid out on them."""

import contextlib
import ctypes
import os
import sys
from typing import Literal

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flax_imdb.data.encoding import cache_dir
from flax_imdb.errors import InputError

DeviceName = Literal["auto", "cpu", "gpu", "tpu"]


# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8

# Fewer rows than this on a core cost more in overhead than the core gains.
_ROWS_PER_CPU = 8


def tune_process() -> None:
    """Make this process start and train faster; for a program, before it computes anything.

    - Compiled programs are kept in the cache directory (see `flax_imdb.data.encoding.cache_dir`)
      and found there by later processes, unless JAX has been given a directory of its own or that
      one cannot be written.
    - With glibc, memory that XLA frees stays with the process. Given back to the system, as glibc
      does with large blocks, it is fetched and cleared anew, page by page, in every training step.
    """
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        with contextlib.suppress(OSError, InputError):
            directory = cache_dir() / "compiled"
            directory.mkdir(parents=True, exist_ok=True)
            jax.config.update("jax_compilation_cache_dir", str(directory))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # Not glibc.
            mallopt = ctypes.CDLL(None).mallopt
            for option, value in (
                (_M_MMAP_MAX, 0),
                (_M_TRIM_THRESHOLD, 2**31 - 1),
                (_M_ARENA_MAX, 1),  # Arenas beside the first cannot hold blocks of this size.
            ):
                mallopt(option, value)


def select_devices(name: DeviceName = "auto", batch_size: int | None = None) -> list[jax.Device]:
    """All devices of a kind; ``"auto"`` is the kind that JAX prefers.

    Where JAX has not started yet it is told to make a device of each CPU core, which is faster
    than one device of them all.

    Args:
      name: the kind.
      batch_size: rows of a batch: CPU devices that would have next to none are left out.

    Raises:
      InputError: JAX has none of that kind.
    """
    # RuntimeError: JAX has started. Otherwise -1 says that nobody has chosen a number.
    with contextlib.suppress(RuntimeError):
        if jax.config.jax_num_cpu_devices < 0:  # type: ignore[attr-defined]
            jax.config.update("jax_num_cpu_devices", _cores())
    try:
        devices = jax.devices(None if name == "auto" else name)
        if devices[0].platform == "cpu" and batch_size is not None:
            devices = devices[: max(1, batch_size // _ROWS_PER_CPU)]
        return devices
    except RuntimeError:
        present = {kind(device) for device in (*jax.devices(), *jax.devices("cpu"))}
        raise InputError(
            f"--device {name} is not there: JAX {jax.__version__} finds "
            f"{', '.join(sorted(present))} (docs/devices.md says how to install others)"
        ) from None


def _cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def kind(device: jax.Device) -> str:
    """The name that `--device` knows a device by."""
    return "gpu" if device.platform in ("cuda", "rocm") else device.platform


def make_mesh(devices: list[jax.Device]) -> Mesh:
    """The devices in a row, along an axis named ``"batch"``."""
    return Mesh(np.array(devices), ("batch",))


def on_cpus(mesh: Mesh) -> bool:
    """Whether these are several devices that share one CPU."""
    return mesh.size > 1 and mesh.devices.flat[0].platform == "cpu"


def by_row(mesh: Mesh) -> NamedSharding:
    """Sharding that gives each device an equal share of the rows."""
    return NamedSharding(mesh, PartitionSpec("batch"))


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding that gives each device the whole array."""
    return NamedSharding(mesh, PartitionSpec())
