"""What a process does when another one of its run has ended or no longer answers.

JAX alone waits for it, in a collective, or aborts with a stack trace: its client of the
coordination service, which is in process 0, ends the program where heartbeats are missed or the
connection is lost, and takes no callback from Python (jaxlib cannot convert its argument). So each
process watches the others itself, with a shorter timeout, and the clients connect through a relay,
which keeps their side of the connection open when process 0 is gone.
"""

import contextlib
import os
import re
import socket
import socketserver
import sys
import threading
import time

import jax
from jax._src import distributed

_INTERVALS = 10  # Rounds of the watch within a timeout.
_LEAST_TIMEOUT = 10  # Seconds: a busy machine may give a thread no time for some.
_GRACE = 5.0  # Seconds to end in its own way, for a process that has lost process 0.
# As gRPC reads them.
_PROXIES, _NO_PROXY = ("grpc_proxy", "https_proxy", "http_proxy"), "no_grpc_proxy"

# How the text of an error that comes from JAX's C++ layers begins, whatever its Python class: with
# the code of a status. These two codes say alone what has happened ...
_UNREACHABLE = re.compile(r"(UNAVAILABLE|DEADLINE_EXCEEDED): ")
# ... and these do if the layer that names itself is one that speaks with other processes. Codes of
# wrong arguments are not among them: those are bugs.
_STATUS = re.compile(r"(ABORTED|CANCELLED|FAILED_PRECONDITION|INTERNAL|UNKNOWN): ")
_LAYER = re.compile(
    r"gloo|nccl|rccl|coordination|heartbeat|socket closed|connection (closed|refused|reset)",
    re.IGNORECASE,
)

# Whoever holds it says why the process ends, and nobody else after that.
_last_word = threading.RLock()


def take_last_word() -> None:
    """Let nothing be said after what the caller is going to say before the process ends."""
    _last_word.acquire()


def loss(error: BaseException) -> str | None:
    """What to say of an error that comes of the loss of another process; None of any other."""
    seen: list[BaseException] = []
    links: list[BaseException | None] = [error]
    while links:
        link = links.pop()
        if link is None or link in seen:
            continue
        seen.append(link)
        reason = str(link)
        if _UNREACHABLE.match(reason) or (_STATUS.match(reason) and _LAYER.search(reason)):
            return _lost(reason)
        links += (link.__context__, link.__cause__, *getattr(link, "exceptions", ()))
    return None


def _lost(reason: str) -> str:
    return f"another process has ended or cannot be reached: {' '.join(reason.split())}"


class Watch:
    """Ends this process when another one of its run is lost.

    It does not look at the progress of a run, only at whether the processes are there: what takes
    long is left in peace.

    Args:
      timeout: seconds that a process may be silent; at least 10.
    """

    def __init__(self, timeout: int):
        self._timeout = max(_LEAST_TIMEOUT, timeout)
        self._met = threading.Event()
        self._answered = threading.Event()
        self._leaving = threading.Event()

    def relay(self, coordinator: str) -> str:
        """An address in this process, from which everything is passed on to the coordinator."""
        host, _, port = coordinator.rpartition(":")
        server = _Relay(("127.0.0.1", 0), _Relayed)
        server.coordinator = (host.strip("[]"), int(port))
        server.watch = self
        threading.Thread(target=server.serve_forever, daemon=True).start()
        if any(name in os.environ for name in _PROXIES):  # By which gRPC would go there.
            direct = [os.environ.get(_NO_PROXY) or os.environ.get("no_proxy"), "127.0.0.1"]
            os.environ[_NO_PROXY] = ",".join(filter(None, direct))
        return f"127.0.0.1:{server.server_address[1]}"

    def start(self) -> None:
        """Watch, now that the processes have met."""
        self._met.set()
        for target in (self._call, self._listen):
            threading.Thread(target=target, daemon=True).start()

    def leave(self) -> None:
        """Part from the others, with all work done: it no longer matters what becomes of them."""
        self._leaving.set()

    def _call(self) -> None:
        """Meet the others again and again."""
        # JAX has no public function for it. `jax.experimental.multihost_utils` has barriers of
        # devices, which would wait for what they compute.
        client = distributed.global_state.client
        assert client is not None
        while not self._leaving.wait(self._timeout / _INTERVALS) and _joined():
            try:
                client.wait_at_barrier("flax_imdb.watch", 1000 * 86_400)
                self._answered.set()
            except Exception:
                # By what is said of it here nobody can tell who is gone; by silence they can.
                continue

    def _listen(self) -> None:
        """End the process when the others have not been met for the timeout."""
        silent = 0
        while silent < self._timeout:
            # Counted, not measured: while this process itself is stopped, nobody is silent.
            if self._answered.wait(1):
                self._answered.clear()
                silent = 0
            else:
                silent += 1
        self._end(f"no answer for {self._timeout} s")

    def coordinator_closed(self) -> None:
        """End the process, which has lost process 0; not if they have not met yet."""
        if self._met.wait(_GRACE):
            # It may be about to end for the same reason as process 0, and to say so.
            time.sleep(_GRACE)
            self._end("process 0 has closed the connection")

    def _end(self, reason: str) -> None:
        if not _joined():
            return
        status = 0 if self._leaving.is_set() else 1
        take_last_word()

        def speak() -> None:
            errors = sys.__stderr__
            with contextlib.suppress(Exception):
                if status and errors is not None:
                    # A progress bar has hidden the cursor.
                    below_a_bar = "\x1b[?25h\n" if errors.isatty() else ""
                    print(f"{below_a_bar}error: {_lost(reason)}", file=errors, flush=True)
                sys.stdout.flush()

        # In a thread, since a write to a pipe that nobody reads waits.
        speaker = threading.Thread(target=speak, daemon=True)
        speaker.start()
        speaker.join(2)
        os._exit(status)


def _joined() -> bool:
    return jax.distributed.is_initialized()


class _Relay(socketserver.ThreadingTCPServer):
    daemon_threads = True
    coordinator: tuple[str, int]
    watch: Watch


class _Relayed(socketserver.BaseRequestHandler):
    """A connection of JAX's client and the one to the coordinator that it stands for."""

    server: _Relay

    def setup(self) -> None:
        self._parted = threading.Event()

    def handle(self) -> None:
        try:
            upstream = socket.create_connection(self.server.coordinator, timeout=_GRACE)
        except OSError:
            return  # As if it had been refused here: JAX tries again.
        with upstream:
            upstream.settimeout(None)
            for side in (self.request, upstream):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._send, args=(upstream,), daemon=True).start()
            if _copy(upstream, self.request) and not self._parted.is_set():
                self.server.watch.coordinator_closed()

    def _send(self, upstream: socket.socket) -> None:
        if _copy(self.request, upstream):
            self._parted.set()
            with contextlib.suppress(OSError):
                upstream.shutdown(socket.SHUT_RDWR)


def _copy(source: socket.socket, target: socket.socket) -> bool:
    """Until one of them is closed; whether it was the source."""
    while True:
        try:
            data = source.recv(1 << 16)
        except OSError:
            return True
        if not data:
            return True
        try:
            target.sendall(data)
        except OSError:
            return False
