"""Which processes and devices a run uses, and how arrays are laid out on them."""

import contextlib
import ctypes
import dataclasses
import json
import math
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import jax
import numpy as np
from jax._src.clusters import ClusterEnv
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flax_imdb.data.encoding import cache_dir
from flax_imdb.environment import CPU_DEVICES_FLAG
from flax_imdb.errors import InputError, check_between, warn
from flax_imdb.watch import Watch

T = TypeVar("T")

DeviceName = Literal["auto", "cpu", "gpu", "tpu"]


# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8

# More than any cluster runs.
MAX_PROCESSES = 2**20

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


@dataclasses.dataclass(frozen=True)
class Processes:
    """Which of several processes this one is, where a run has more than one.

    Attributes:
      distributed: Be one of the processes of a job on Slurm, Open MPI, GKE or a TPU pod, which says
        how many there are and which one this is.
      coordinator: HOST:PORT of process 0, which all can reach, where no such job says so.
      num_processes: Number of processes, with `coordinator`.
      process_id: Which of them this is, from 0, with `coordinator`.
      timeout: Seconds to wait for the other processes to start, and for one that stops answering,
        for which it is 10 at least.
    """

    distributed: bool = False
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    timeout: int = 120

    def __post_init__(self) -> None:
        check_between("timeout", self.timeout, 1, 86_400)
        by_hand = {
            "`coordinator`": self.coordinator,
            "`num_processes`": self.num_processes,
            "`process_id`": self.process_id,
        }
        missing = [name for name, value in by_hand.items() if value is None]
        if missing and len(missing) < len(by_hand):
            raise InputError(f"{', '.join(by_hand)} go together: {missing[0]} is missing")
        if self.coordinator is None or self.num_processes is None or self.process_id is None:
            return
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise InputError(
                f"`coordinator` {self.coordinator} is no address: HOST:PORT is needed, such as "
                "10.0.0.1:1234"
            )
        check_between("num_processes", self.num_processes, 1, MAX_PROCESSES)
        check_between("process_id", self.process_id, 0)
        if self.process_id >= self.num_processes:
            raise InputError(
                f"`process_id` {self.process_id} is too large: the {self.num_processes} processes "
                f"are counted from 0 to {self.num_processes - 1}"
            )


_watch: Watch | None = None


def join(processes: Processes) -> None:
    """Meet the other processes of a run, if it has any; before JAX has started.

    From then on `jax.devices` has the devices of all of them. Where the others do not come within
    the timeout this process ends with a line that says so, and status 2: JAX's own way is to abort.
    Where one of them is lost later, it ends with a line and status 1 (see `flax_imdb.watch`).

    Raises:
      InputError: it cannot be told who the others are.
    """
    global _watch
    if not processes.distributed and processes.coordinator is None:
        return
    if processes.process_id == 0:
        _check_free_port(str(processes.coordinator))

    where = processes.coordinator or "the coordinator of the cluster"

    def give_up() -> None:
        print(
            f"error: not all processes met at {where} within {processes.timeout} s: each must be "
            "started, name the same coordinator and reach it",
            file=sys.stderr,
            flush=True,
        )
        os._exit(2)

    jax.config.update(
        "jax_enable_preemption_service", True
    )  # See `flax_imdb.training.Interruption`.
    timer = threading.Timer(processes.timeout, give_up)
    timer.daemon = True
    timer.start()
    try:
        coordinator, count, number = _find(processes)
        watch = Watch(processes.timeout)
        # JAX's own timeouts come after ours, since it aborts; it checks at half of this one.
        late = 3 * processes.timeout + 60
        jax.distributed.initialize(
            watch.relay(coordinator) if number else coordinator,
            count,
            number,
            initialization_timeout=late,
            heartbeat_timeout_seconds=late,
            shutdown_timeout_seconds=late,
        )
    finally:
        timer.cancel()
    watch.start()
    _watch = watch


def leave() -> None:
    """Part from the other processes, if there are any; for a program whose work is done.

    One that is lost from here on is none of its business.
    """
    if _watch is not None and is_one_of_several():
        _watch.leave()
        # An error is of another process, too.
        with contextlib.suppress(Exception):
            jax.distributed.shutdown()


def _find(processes: Processes) -> tuple[str, int, int]:
    """The coordinator's address, how many processes there are, and which one this is.

    Raises:
      InputError: it cannot be told.
    """
    coordinator = processes.coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    count, number = processes.num_processes, processes.process_id
    problem = "none is there"
    if processes.distributed:
        try:
            # What `jax.distributed.initialize` does first, and has no public name for.
            coordinator, count, number, _ = ClusterEnv.auto_detect_unset_distributed_params(
                coordinator, count, number, None, None, processes.timeout
            )
        except ValueError as error:
            problem = str(error)
    if coordinator is None or count is None or number is None:
        raise InputError(
            f"`distributed` finds no cluster that it knows ({problem}): "
            "give `coordinator`, `num_processes` and `process_id`"
        )
    return coordinator, count, number


def _check_free_port(coordinator: str) -> None:
    """Raise InputError where another program has the port, of which JAX would die."""
    port = int(coordinator.rpartition(":")[2])
    with socket.socket(socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise InputError(
                f"`coordinator` {coordinator} cannot be used: {error.strerror}"
            ) from None


def is_one_of_several() -> bool:
    """Whether this process has met others; does not start JAX."""
    return jax.distributed.is_initialized()


def is_first() -> bool:
    """Whether this is the process that writes files and speaks to the user."""
    return jax.process_index() == 0


def exchange(value: Any) -> list[Any]:
    """The `value` of every process, in their order; anything that JSON can hold.

    All processes must call it, and no step may be under way.
    """
    if jax.process_count() == 1:
        return [value]
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.int32(len(text)))
    padded = np.pad(text, (0, int(sizes.max()) - len(text)))
    texts = multihost_utils.process_allgather(padded)
    return [json.loads(bytes(text[:size])) for text, size in zip(texts, sizes, strict=True)]


def in_all(function: Callable[[], T]) -> list[T]:
    """The results of `function` in every process; see `exchange`.

    Raises:
      InputError: `function` raised it in one of them.
    """
    if jax.process_count() == 1:
        return [function()]
    try:
        outcome: dict[str, Any] = {"result": function()}
    except InputError as error:
        outcome = {"error": str(error)}
    outcomes = exchange(outcome)
    if "error" in outcome:
        raise InputError(outcome["error"])
    for process, outcome in enumerate(outcomes):
        if "error" in outcome:
            raise InputError(f"in process {process}: {outcome['error']}")
    return [outcome["result"] for outcome in outcomes]


def in_first(function: Callable[[], T]) -> T:
    """The result of `function`, called in the first process alone, for all; see `in_all`."""
    return in_all(lambda: function() if is_first() else None)[0]  # type: ignore[return-value]


def select_devices(name: DeviceName = "auto", batch_size: int | None = None) -> list[jax.Device]:
    """All devices of a kind, of all processes; ``"auto"`` is the kind that JAX prefers.

    Where JAX has not started yet it is told to make a device of each CPU core, which is faster
    than one device of them all, unless the user has chosen a number.

    Args:
      name: the kind.
      batch_size: rows of a batch: CPU devices that would have next to none are left out.

    Returns:
      As many of each process, those of a process side by side.

    Raises:
      InputError: JAX has none of that kind, or not as many in each process.
    """
    # RuntimeError: JAX has started. Otherwise -1 says that nobody has chosen a number.
    with contextlib.suppress(RuntimeError):
        chosen = CPU_DEVICES_FLAG in os.environ.get("XLA_FLAGS", "")
        if jax.config.jax_num_cpu_devices < 0 and not chosen:  # type: ignore[attr-defined]
            jax.config.update("jax_num_cpu_devices", _cores())
    try:
        devices = jax.devices(None if name == "auto" else name)
    except (RuntimeError, AssertionError):
        raise _missing(name) from None
    by_process: dict[int, list[jax.Device]] = {}
    for device in devices:
        by_process.setdefault(device.process_index, []).append(device)
    counts = [len(by_process[process]) for process in sorted(by_process)]
    each = min(counts)
    if devices[0].platform != "cpu":
        if each < max(counts) or len(counts) < jax.process_count():
            raise InputError(
                f"`device` {name}: the processes have {', '.join(map(str, counts))} devices: each "
                "must have as many as the others"
            )
    elif batch_size is not None:
        each = max(1, min(each, batch_size // (_ROWS_PER_CPU * len(counts))))
    return [device for process in sorted(by_process) for device in by_process[process][:each]]


def _missing(name: DeviceName) -> InputError:
    """What to say of devices that JAX has not."""
    allowed = jax.config.jax_platforms  # type: ignore[attr-defined]
    only = f"JAX_PLATFORMS={allowed} lets JAX look for nothing else: unset it" if allowed else ""
    present = set()
    try:
        present = {kind(device) for device in jax.devices()}
        present |= {kind(device) for device in jax.devices("cpu")}
    except AssertionError:  # JAX's, of JAX_PLATFORMS=cuda without a GPU.
        return InputError(f"JAX {jax.__version__} finds no device: {only}")
    except RuntimeError as error:  # Such as JAX_PLATFORMS that does not exist.
        if not present:
            return InputError(f"JAX {jax.__version__} finds no device: {error}")
    return InputError(
        f"`device` {name} is not there: JAX {jax.__version__} finds {', '.join(sorted(present))} "
        f"({only or 'docs/devices.md says how to install others'})"
    )


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
    """Whether these are several CPU devices: of one CPU, or of one for each process."""
    return mesh.size > 1 and mesh.devices.flat[0].platform == "cpu"


def first_of_each(mesh: Mesh) -> Mesh:
    """The first device of each process."""
    firsts = {device.process_index: device for device in mesh.devices.flat[::-1]}
    return make_mesh([firsts[process] for process in sorted(firsts)])


def by_row(mesh: Mesh) -> NamedSharding:
    """Sharding that gives each device an equal share of the rows."""
    return NamedSharding(mesh, PartitionSpec("batch"))


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding that gives each device the whole array."""
    return NamedSharding(mesh, PartitionSpec())
