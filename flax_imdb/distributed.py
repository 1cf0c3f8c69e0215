"""The one place that knows that a run may have several processes.

Every process runs the same code. A function marked `on_main` runs in the first process alone, and
all processes get its result or its error.
"""

import contextlib
import contextvars
import dataclasses
import functools
import itertools
import os
import pickle
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np
from jax._src import distributed as jax_distributed
from jax._src import xla_bridge
from jax._src.clusters import ClusterEnv
from jax.experimental import multihost_utils

from flax_imdb import host
from flax_imdb.errors import InputError, check_between
from flax_imdb.watch import Watch

# Whether the caller already runs in the first process alone.
_alone: contextvars.ContextVar[bool] = contextvars.ContextVar("alone", default=False)

P = ParamSpec("P")
T = TypeVar("T")

_FOREVER_MS = 1000 * 86_400 * 20  # It fits in 31 bits.

# More than any cluster runs.
MAX_PROCESSES = 2**20


@dataclasses.dataclass(frozen=True)
class Processes:
    """The processes of a run, and which one this is.

    Attributes:
      distributed: Join the processes of a job on Slurm, Open MPI, GKE or a TPU pod, which tells how
        many there are and which one this is.
      coordinator: HOST:PORT of process 0, reachable by all, if no such job tells.
      num_processes: Number of processes, with `coordinator`.
      process_id: Which of them this is, from 0, with `coordinator`.
      timeout: Seconds to wait for the other processes to start, and (at least 10) for one that
        stops answering.
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
_places: tuple[host.Place, ...] = ()


def join(processes: Processes) -> None:
    """Connect to the other processes of a run, if it has any. Call it before JAX starts.

    From then on `jax.devices` has the devices of all processes; of the GPUs of a host each process
    has its share (see `flax_imdb.host`). If the others do not appear within the timeout, this
    process exits with one line and status 2, where JAX would abort. If one of them is lost later,
    it exits with one line and status 1 (see `flax_imdb.watch`).

    Raises:
      InputError: the other processes cannot be determined, or JAX has started already.
    """
    global _watch, _places
    if not processes.distributed and processes.coordinator is None:
        return
    where = processes.coordinator or "the coordinator of the cluster"

    def give_up() -> None:
        print(
            f"error: not all processes met at {where} within {processes.timeout} s: each must be "
            "started, name the same coordinator and reach it",
            file=sys.stderr,
            flush=True,
        )
        os._exit(2)

    # It would take SIGTERM; see `StopTogether`.
    jax.config.update("jax_enable_preemption_service", False)
    timer = threading.Timer(processes.timeout, give_up)
    timer.daemon = True
    timer.start()
    try:
        coordinator, count, number = _find(processes)
        if number == 0:
            _check_free_port(coordinator, found=processes.coordinator is None)
        if xla_bridge.backends_are_initialized():
            raise InputError(
                "JAX has started already, so this process cannot join the others: a module that "
                "`import` names must not compute anything while it is imported"
            )
        watch = Watch(processes.timeout)
        # JAX aborts, so its own timeouts must come later; it checks at half of this one.
        late = 3 * processes.timeout + 60
        jax.distributed.initialize(
            watch.relay(coordinator) if number else coordinator,
            count,
            number,
            cluster_detection_method="deactivate",  # It would choose one GPU for each process.
            initialization_timeout=late,
            heartbeat_timeout_seconds=late,
            shutdown_timeout_seconds=late,
        )
        _places = _exchange(count, number, 1000 * late)
    finally:
        timer.cancel()
    _use_own_gpus(number)
    watch.start()
    _watch = watch


class StopTogether:
    """Lets all processes stop at the same call of `reached`, once one of them asks for it.

    All must make one at the same time, and call `reached` equally often. JAX has a service for
    this, in which a process may wait for an answer and keep Python from running, and with it the
    relay that the answer comes through (see `flax_imdb.watch`).
    """

    _numbers = itertools.count()

    def __init__(self) -> None:
        self._client: Any = jax_distributed.global_state.client
        self._name = f"flax_imdb.stop/{next(self._numbers)}"
        self._calls = 0
        self._last: int | None = None
        self._lock = threading.Lock()
        threading.Thread(target=self._agree, daemon=True).start()

    def ask(self) -> None:
        """Ask all processes to stop. It returns at once, so that a signal handler may call it."""
        threading.Thread(target=self._ask, daemon=True).start()

    def reached(self) -> bool:
        """Whether all stop now."""
        with self._lock:
            self._calls += 1
            return self._last is not None and self._calls >= self._last

    def _ask(self) -> None:
        with contextlib.suppress(Exception):  # It is about another process.
            self._client.key_value_set(f"{self._name}/asked", "", allow_overwrite=True)

    def _agree(self) -> None:
        """Wait until one asks; then agree on the call after the latest that one has made."""
        with contextlib.suppress(Exception):
            self._client.blocking_key_value_get(f"{self._name}/asked", _FOREVER_MS)
            with self._lock:  # No more calls until it is known which is the last.
                number = jax_distributed.global_state.process_id
                self._client.key_value_set(f"{self._name}/calls/{number}", str(self._calls))
                self._client.wait_at_barrier(self._name, _FOREVER_MS)
                calls = self._client.key_value_dir_get(f"{self._name}/calls/")
                self._last = 1 + max(int(count) for _, count in calls)


def end_together() -> None:
    """Wait until all processes want to end, if there are several: before an end with a status.

    See `flax_imdb.watch.Watch.end_together`.
    """
    if _watch is not None and is_one_of_several():
        _watch.end_together()


def leave() -> None:
    """Disconnect from the other processes, if there are any, once the work is done.

    If one of them is lost after this, it does not matter here.
    """
    if _watch is not None and is_one_of_several():
        _watch.leave()
        # An error here is about another process.
        with contextlib.suppress(Exception):
            jax.distributed.shutdown()


def _find(processes: Processes) -> tuple[str, int, int]:
    """The coordinator's address, the number of processes, and which one this is.

    Raises:
      InputError: they cannot be determined.
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


def _exchange(count: int, number: int, timeout_ms: int) -> tuple[host.Place, ...]:
    """Where each process runs. It does not start JAX, as gathering on the devices would."""
    client = jax_distributed.global_state.client
    assert client is not None
    name = "flax_imdb.place"
    client.key_value_set_bytes(f"{name}/{number}", pickle.dumps(host.here()))
    if number == 0:  # Which collects them for all: not all read all.
        each = (
            client.blocking_key_value_get_bytes(f"{name}/{other}", timeout_ms)
            for other in range(count)
        )
        client.key_value_set_bytes(name, pickle.dumps(tuple(map(pickle.loads, each))))
    places: tuple[host.Place, ...] = pickle.loads(
        client.blocking_key_value_get_bytes(name, timeout_ms)
    )
    return places


def _use_own_gpus(number: int) -> None:
    """Have JAX start with this process's share of the GPUs of its host."""
    gpus = host.share_of_gpus(number, _places)
    if gpus is not None and "JAX_LOCAL_DEVICE_IDS" not in os.environ:
        for platform in ("cuda", "rocm"):
            jax.config.update(f"jax_{platform}_visible_devices", ",".join(map(str, gpus)))


def places() -> tuple[host.Place, ...]:
    """Where each process of the run is, in order."""
    return _places or (host.here(),)


def _check_free_port(coordinator: str, *, found: bool) -> None:
    """Raise InputError if another program has the port: JAX would abort.

    Args:
      coordinator: the address.
      found: whether JAX has found it: on Slurm and Open MPI it follows from the job's number.
    """
    port = int(coordinator.rpartition(":")[2])
    with socket.socket(socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            told = f"`coordinator` {coordinator} cannot be used: {error.strerror}"
            if found:
                told += "; JAX_COORDINATOR_PORT, the same for all processes, sets another port"
            raise InputError(told) from None


def is_one_of_several() -> bool:
    """Whether this process is connected to others; does not start JAX."""
    return jax.distributed.is_initialized()


def is_main() -> bool:
    """Whether this is the process that writes files and prints."""
    return jax.process_index() == 0


@functools.cache
def _connect() -> None:
    """Connect the devices of all processes, without what Gloo prints of it."""
    if jax.devices()[0].platform != "cpu":
        return
    # What `multihost_utils.process_allgather` does, which does not wait for all devices.
    devices = np.array(jax.devices()).reshape(jax.process_count(), -1)
    mesh = jax.sharding.Mesh(devices, ("process", "device"))
    by_process, replicated = jax.P("process"), jax.NamedSharding(mesh, jax.P())
    each = multihost_utils.host_local_array_to_global_array(np.zeros(1), mesh, by_process)
    with _without_lines_of_gloo():
        jax.block_until_ready(jax.jit(lambda array: array, out_shardings=replicated)(each))


@contextlib.contextmanager
def _without_lines_of_gloo() -> Iterator[None]:
    """Context manager in which Gloo's report of its connections is dropped.

    It goes from C++ to standard output, and no setting prevents it. What others write there in the
    meantime comes afterwards; it must fit in a pipe.
    """
    sys.stdout.flush()
    output = os.dup(1)
    written, pipe = os.pipe()
    os.dup2(pipe, 1)
    os.close(pipe)
    try:
        yield
    finally:
        os.dup2(output, 1)
        os.close(output)
        os.set_blocking(written, False)  # A child may hold the other end.
        with open(written, "rb") as lines:
            for line in lines:
                if not line.startswith(b"[Gloo] Rank "):
                    os.write(1, line)


def all_gather(value: T) -> list[T]:
    """The `value` of every process, in order; anything that can be pickled.

    All processes must call it, while no step is running.
    """
    if jax.process_count() == 1:
        return [value]
    _connect()
    data = np.frombuffer(pickle.dumps(value), np.uint8)
    sizes = multihost_utils.process_allgather(np.int32(len(data)))
    padded = np.pad(data, (0, int(sizes.max()) - len(data)))
    gathered = multihost_utils.process_allgather(padded)
    return [pickle.loads(bytes(one[:size])) for one, size in zip(gathered, sizes, strict=True)]


def _from_main(value: T) -> T:
    """The `value` of the first process; anything that can be pickled. See `all_gather`."""
    _connect()
    data = np.frombuffer(pickle.dumps(value) if is_main() else b"", np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(data))))
    padded = np.pad(data, (0, size - len(data)))
    return pickle.loads(bytes(multihost_utils.broadcast_one_to_all(padded)))


def everywhere(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in every process; an InputError in one is raised in all.

    See `all_gather`.
    """
    if jax.process_count() == 1:
        return function(*args, **kwargs)
    error = None
    try:
        result = function(*args, **kwargs)
    except InputError as raised:
        error = raised
    messages = all_gather(None if error is None else str(error))
    if error is not None:
        raise error
    for process, message in enumerate(messages):
        if message is not None:
            raise InputError(f"in process {process}: {message}")
    return result


def on_main(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator: the function runs in the first process alone, and all get what it returns.

    An InputError is raised in all of them. Such functions may call each other. See `all_gather`.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if _alone.get() or not is_one_of_several():
            return function(*args, **kwargs)
        result, error = None, None
        if is_main():
            token = _alone.set(True)
            try:
                result = function(*args, **kwargs)
            except InputError as raised:
                error = raised
            finally:
                _alone.reset(token)
        result, message = _from_main((result, None if error is None else str(error)))
        if error is not None:
            raise error
        if message is not None:
            raise InputError(message)
        return result  # type: ignore[return-value]

    return call


def check_agreement(values: dict[str, Any]) -> None:
    """Raise InputError if the processes have different values; the names are for the message."""
    first, *others = all_gather(values)
    for process, theirs in enumerate(others, start=1):
        for name, value in first.items():
            if theirs.get(name) != value:
                raise InputError(
                    f"the processes disagree: {name} is {value} in process 0 and "
                    f"{theirs.get(name)} in process {process}"
                )
