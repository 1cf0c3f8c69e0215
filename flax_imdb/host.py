"""What a process may use of its host, and what is its share beside other processes of the run."""

import contextlib
import dataclasses
import math
import os
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Place:
    """What one process may use of the host that it runs on.

    Attributes:
      host: tells hosts apart, and containers that have a name of their own.
      cpus: numbers of the CPUs that it may run on.
      pools: how many CPUs each of the groups that it belongs to may use, by name: a cgroup with a
        quota, a job of Slurm.
      own_cpus: how many CPUs Slurm has given to this process alone; None if it does not say.
      gpus: the GPUs that it sees, in the order of their ordinals; None if that cannot be told.
    """

    host: str
    cpus: frozenset[int]
    pools: Mapping[str, float] = dataclasses.field(default_factory=dict)
    own_cpus: int | None = None
    gpus: tuple[str, ...] | None = None


def here(variables: Mapping[str, str] = os.environ, root: Path = Path("/")) -> Place:
    """Where this process runs.

    Args:
      variables: its environment.
      root: the directory in which ``proc`` and ``sys`` are.
    """
    pools = dict(_quotas(root))
    job = variables.get("SLURM_JOB_ID")
    if job is not None and (allotted := variables.get("SLURM_CPUS_ON_NODE", "")).isdecimal():
        pools[f"job {job} of Slurm, step {variables.get('SLURM_STEP_ID')}"] = int(allotted)
    own = variables.get("SLURM_CPUS_PER_TASK", "")
    boot = _read(root / "proc/sys/kernel/random/boot_id")
    return Place(
        f"{socket.gethostname()} {boot}".strip(),
        _cpus(),
        pools,
        int(own) if job is not None and own.isdecimal() else None,
        _gpus(variables, root),
    )


def share_of_cpus(place: Place, places: Sequence[Place]) -> float:
    """The CPUs that a process gets if those that may use the same ones share them evenly.

    Args:
      place: of the process.
      places: of all processes of the run, this one included.
    """
    beside = [other for other in places if other.host == place.host]
    users = Counter(cpu for other in beside for cpu in other.cpus)
    members = Counter(pool for other in beside for pool in other.pools)
    return min(
        sum(1 / users[cpu] for cpu in place.cpus),
        *(size / members[pool] for pool, size in place.pools.items()),
        math.inf if place.own_cpus is None else place.own_cpus,
    )


def share_of_gpus(number: int, places: Sequence[Place]) -> list[int] | None:
    """The ordinals of the GPUs that a process uses; None for all that it sees.

    Processes that see the same GPUs of a host share them evenly. Those that cannot be told, on a
    host with several processes, count as one GPU for each of these.

    Args:
      number: of the process.
      places: of all processes of the run.
    """
    place = places[number]
    beside = [other for other, where in enumerate(places) if where.host == place.host]
    if len(beside) == 1:
        return None
    turn = beside.index(number)
    if place.gpus is None:
        return [turn]
    same = [other for other in beside if places[other].gpus == place.gpus]
    each = len(place.gpus) // len(same)
    if len(same) == 1 or each == 0:
        return None
    turn = same.index(number)
    return list(range(turn * each, (turn + 1) * each))


def contended_gpus(places: Sequence[Place]) -> Iterator[tuple[int, int]]:
    """How many processes of a host see how many GPUs, wherever these are too few."""
    seen = Counter((place.host, place.gpus) for place in places if place.gpus)
    for (_, gpus), processes in seen.items():
        assert gpus is not None
        if processes > len(gpus):
            yield processes, len(gpus)


def _cpus() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _gpus(variables: Mapping[str, str], root: Path) -> tuple[str, ...] | None:
    """NVIDIA's GPUs: those of CUDA_VISIBLE_DEVICES, or all that the driver has."""
    visible = variables.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        directory = root / "proc/driver/nvidia/gpus"
        return tuple(sorted(os.listdir(directory))) if directory.is_dir() else None
    names = tuple(name.strip() for name in visible.split(",") if name.strip())
    bound = variables.get("SLURM_GPU_BIND", "")
    if (bound or "SLURM_GPUS_PER_TASK" in variables) and not bound.endswith("none"):
        # In a cgroup of its own each task counts its GPUs from 0.
        names = tuple(f"{name} of task {variables.get('SLURM_LOCALID')}" for name in names)
    return names


def _quotas(root: Path) -> Iterator[tuple[str, float]]:
    """The CPUs that the control groups of this process may use, of those that have a quota.

    https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu and its predecessor,
    https://docs.kernel.org/scheduler/sched-bwc.html.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        controllers, path = line.split(":", 2)[1:]
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        group = mount / path.lstrip("/")
        # In a container the path may be the host's, of which the mount is the end.
        for directory in (group, *group.parents):
            if not directory.is_relative_to(mount):
                break
            if controllers:
                names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                numbers = [_read(directory / name) for name in names]
            else:
                numbers = _read(directory / "cpu.max").split()
            if len(numbers) == 2 and all(map(str.isdecimal, numbers)):  # Not "max", nor -1.
                yield f"cgroup {directory}", int(numbers[0]) / int(numbers[1])


def _read(path: Path) -> str:
    """The text of a file of the kernel, or nothing where it has none."""
    with contextlib.suppress(OSError):
        return path.read_text().strip()
    return ""
