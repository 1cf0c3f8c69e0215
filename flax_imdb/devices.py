"""Device selection, meshes and shardings."""

import contextlib
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flax_imdb import distributed, host
from flax_imdb.environment import CPU_DEVICES_FLAG
from flax_imdb.errors import InputError, warn

DeviceName = Literal["auto", "cpu", "gpu", "tpu"]

# With fewer rows per core, overhead outweighs the gain.
_ROWS_PER_CPU = 8


def select_devices(name: DeviceName = "auto", batch_size: int | None = None) -> list[jax.Device]:
    """Select all devices of a kind, of all processes.

    If JAX is not initialized yet and the user has not set a number of CPU devices, JAX is set to
    use one device per CPU core, which is faster than one device for all cores. Processes that share
    a host share its cores (see `flax_imdb.host`). Devices that are more than there are for them
    give a warning.

    Args:
      name: the kind; ``"auto"`` is the one that JAX prefers.
      batch_size: rows per batch; CPU devices that would get too few rows are left out.

    Returns:
      The same number of devices of each process, grouped by process.

    Raises:
      InputError: JAX has no such devices, or the processes have different numbers of them.
    """
    set_cpu_devices()
    devices = _all(name)
    by_process: dict[int, list[jax.Device]] = {}
    for device in devices:
        by_process.setdefault(device.process_index, []).append(device)
    counts = [len(by_process[process]) for process in sorted(by_process)]
    each = min(counts)
    if each < max(counts) or len(counts) < jax.process_count():
        raise InputError(
            f"`device` {name}: the processes have {', '.join(map(str, counts))} devices: each must "
            "have as many as the others"
        )
    if devices[0].platform == "cpu" and batch_size is not None:
        each = max(1, min(each, batch_size // (_ROWS_PER_CPU * len(counts))))
    selected = [device for process in sorted(by_process) for device in by_process[process][:each]]
    if len(counts) > 1 and distributed.is_main():
        _warn_of_contention(selected[0].platform, each)
    return selected


def cores_for_each() -> int:
    """Number of CPU cores for each process of the run: as many as the one with the fewest has."""
    places = distributed.places()
    return max(1, int(min(host.share_of_cpus(place, places) for place in places)))


def in_words(devices: Sequence[jax.Device]) -> str:
    """The devices of a run in words, such as "4 x cpu"."""
    words = f"{len(devices)} x {devices[0].device_kind}"
    processes = len({device.process_index for device in devices})
    if processes == 1:
        return words
    hosts = len({place.host for place in distributed.places()})
    on_hosts = "1 host" if hosts == 1 else f"{hosts} hosts"
    return f"{words}, {len(devices) // processes} in each of {processes} processes on {on_hosts}"


def _warn_of_contention(platform: str, each: int) -> None:
    """Warn if processes that share a host use more devices than it has for them."""
    places = distributed.places()
    if platform == "cpu":
        cores: dict[str, float] = defaultdict(float)
        for place in places:
            cores[place.host] += host.share_of_cpus(place, places)
        for name, processes in Counter(place.host for place in places).items():
            if processes * each > max(1, round(cores[name], 3)):
                warn(
                    f"{processes} processes with {each} CPU devices each have {cores[name]:.3g} "
                    "cores of one host: they slow each other down; start fewer processes there, or "
                    "set JAX_NUM_CPU_DEVICES to fewer devices"
                )
                return
    elif platform != "tpu":
        for processes, gpus in host.contended_gpus(places):
            warn(
                f"{processes} processes of one host see the same {gpus} GPUs: start one process a "
                "GPU there, or one a host"
            )
            return


def set_cpu_devices(least: int = 1) -> None:
    """Make JAX have a device per CPU core, and at least so many.

    It has no effect once JAX is initialized, or if the user has set a number.
    """
    with contextlib.suppress(RuntimeError):  # JAX is initialized.
        chosen = CPU_DEVICES_FLAG in os.environ.get("XLA_FLAGS", "")
        if jax.config.jax_num_cpu_devices < 0 and not chosen:  # type: ignore[attr-defined]
            jax.config.update("jax_num_cpu_devices", max(cores_for_each(), least))


def number_of_cpus(described: str) -> int:
    """How many CPU devices there are in a description (see `devices_like`)."""
    count, _, model = described.partition(" x ")
    return int(count) * (model == "cpu")


def devices_like(described: str) -> list[jax.Device]:
    """As many devices of the same kind as a run had.

    The model of GPUs and TPUs may be another.

    Args:
      described: the run's devices, such as ``"2 x cpu"`` (see `flax_imdb.environment.describe`).

    Raises:
      InputError: there are not so many here.
    """
    number, _, model = described.partition(" x ")
    count, cpus = int(number), model == "cpu"
    devices = _all("cpu" if cpus else "auto")
    if not cpus:
        devices = [device for device in devices if device.platform != "cpu"]
    if not 0 < count <= len(devices):
        found = f"{len(devices)} x {devices[0].device_kind}" if devices else "none but CPUs"
        raise InputError(
            f"the run was trained on {described}, and JAX {jax.__version__} has {found} here: "
            "`device` names another kind, or all of one"
        )
    return devices[:count]


def _all(name: DeviceName) -> list[jax.Device]:
    """JAX's devices of a kind, or InputError."""
    try:
        return jax.devices(None if name == "auto" else name)
    except (RuntimeError, AssertionError):
        raise _missing(name) from None


def _missing(name: DeviceName) -> InputError:
    """The error for a kind of device that JAX does not have."""
    allowed = jax.config.jax_platforms  # type: ignore[attr-defined]
    only = f"JAX_PLATFORMS={allowed} lets JAX look for nothing else: unset it" if allowed else ""
    present = set()
    try:
        present = {kind(device) for device in jax.devices()}
        present |= {kind(device) for device in jax.devices("cpu")}
    except AssertionError:  # JAX raises it for JAX_PLATFORMS=cuda without a GPU.
        return InputError(f"JAX {jax.__version__} finds no device: {only}")
    except RuntimeError as error:  # Such as an unknown platform in JAX_PLATFORMS.
        if not present:
            return InputError(f"JAX {jax.__version__} finds no device: {error}")
    return InputError(
        f"`device` {name} is not there: JAX {jax.__version__} finds {', '.join(sorted(present))} "
        f"({only or 'docs/devices.md says how to install others'})"
    )


def kind(device: jax.Device) -> str:
    """The kind of a device, as `--device` names it."""
    return "gpu" if device.platform in ("cuda", "rocm") else device.platform


def make_mesh(devices: list[jax.Device]) -> Mesh:
    """A one-dimensional mesh of the devices, with the axis ``"batch"``."""
    return Mesh(np.array(devices), ("batch",))


def on_cpus(mesh: Mesh) -> bool:
    """Whether the mesh consists of several CPU devices, of one or several processes."""
    return mesh.size > 1 and mesh.devices.flat[0].platform == "cpu"


def first_of_each(mesh: Mesh) -> Mesh:
    """The mesh of the first device of each process."""
    firsts = {device.process_index: device for device in mesh.devices.flat[::-1]}
    return make_mesh([firsts[process] for process in sorted(firsts)])


def by_row(mesh: Mesh) -> NamedSharding:
    """Sharding that gives each device an equal share of the rows."""
    return NamedSharding(mesh, PartitionSpec("batch"))


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding that gives each device the whole array."""
    return NamedSharding(mesh, PartitionSpec())
