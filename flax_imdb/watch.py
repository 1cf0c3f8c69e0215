"""Detects that another process of the run is lost, and ends this one with a clear message.

By itself JAX waits for the lost process in a collective, or aborts with a stack trace: the client
of its coordination service, which runs in process 0, ends the program when heartbeats are missed or
the connection is lost, and does not accept a Python callback (jaxlib cannot convert its argument).
So each process watches the others itself, with a shorter timeout. The clients connect through a
relay, which keeps their side of the connection open when process 0 is gone.
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

_INTERVALS = 10  # Barriers per timeout.
_LEAST_TIMEOUT = 10  # Seconds: on a busy machine a thread may not run for a few seconds.
_GRACE = 5.0  # Seconds for a process that has lost process 0 to end by itself.
# Environment variables of gRPC.
_PROXIES, _NO_PROXY = ("grpc_proxy", "https_proxy", "http_proxy"), "no_grpc_proxy"

# Errors from JAX's C++ layers begin with a status code, whatever their Python class. These two
# always mean that a process is lost ...
_UNREACHABLE = re.compile(r"(UNAVAILABLE|DEADLINE_EXCEEDED): ")
# ... and these do if the message names a layer that communicates with other processes. Codes for
# invalid arguments are not included: those are bugs.
_STATUS = re.compile(r"(ABORTED|CANCELLED|FAILED_PRECONDITION|INTERNAL|UNKNOWN): ")
_LAYER = re.compile(
    r"gloo|nccl|rccl|coordination|heartbeat|socket closed|connection (closed|refused|reset)",
    re.IGNORECASE,
)

# Only the thread that holds it may print why the process ends.
_last_word = threading.RLock()


def take_last_word() -> None:
    """Keep the watch from printing once the caller has started to report its own error."""
    _last_word.acquire()


def lost_process(error: BaseException) -> str | None:
    """The message for an error caused by the loss of another process; None for any other error."""
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
    """Ends this process when another process of the run is lost.

    It checks that the processes respond, not that they make progress, so long operations are fine.

    Args:
      timeout: seconds without a response after which a process is lost; at least 10.
    """

    def __init__(self, timeout: int):
        self._timeout = max(_LEAST_TIMEOUT, timeout)
        self._met = threading.Event()
        self._answered = threading.Event()
        self._leaving = threading.Event()
        self._may_end = threading.Event()

    def relay(self, coordinator: str) -> str:
        """Start a relay to the coordinator; returns the relay's address in this process."""
        host, _, port = coordinator.rpartition(":")
        server = _Relay(("127.0.0.1", 0), _Relayed)
        server.coordinator = (host.strip("[]"), int(port))
        server.watch = self
        threading.Thread(target=server.serve_forever, daemon=True).start()
        if any(name in os.environ for name in _PROXIES):  # gRPC must not use a proxy for the relay.
            direct = [os.environ.get(_NO_PROXY) or os.environ.get("no_proxy"), "127.0.0.1"]
            os.environ[_NO_PROXY] = ",".join(filter(None, direct))
        return f"127.0.0.1:{server.server_address[1]}"

    def start(self) -> None:
        """Start watching, once the processes are connected."""
        self._met.set()
        for target in (self._call, self._listen):
            threading.Thread(target=target, daemon=True).start()

    def leave(self) -> None:
        """Stop caring about the other processes, as all work is done."""
        self._leaving.set()

    def end_together(self) -> None:
        """Wait until all processes want to end, for as long as the timeout at most.

        Launchers take notice of a process that ends with another status than 0, and may end the
        others at once: process 0 may still be saving.
        """
        threading.Thread(target=self._meet_at_end, daemon=True).start()
        self._may_end.wait(self._timeout)

    def _meet_at_end(self) -> None:
        client = distributed.global_state.client
        assert client is not None
        # An error is about another process.
        with contextlib.suppress(Exception):
            client.wait_at_barrier("flax_imdb.end", 1000 * 86_400)
        self._may_end.set()

    def _call(self) -> None:
        """Meet the other processes at a barrier periodically."""
        # JAX has no public function for this: the barriers of `jax.experimental.multihost_utils`
        # run on the devices and would wait for their computations.
        client = distributed.global_state.client
        assert client is not None
        while not self._leaving.wait(self._timeout / _INTERVALS) and _joined():
            try:
                client.wait_at_barrier("flax_imdb.watch", 1000 * 86_400)
                self._answered.set()
            except Exception:
                # The error does not tell whether a process is lost; the timeout does.
                continue

    def _listen(self) -> None:
        """End the process if no barrier was passed within the timeout."""
        silent = 0
        while silent < self._timeout:
            # Counted, not measured, so that time in which this process is stopped does not count.
            if self._answered.wait(1):
                self._answered.clear()
                silent = 0
            else:
                silent += 1
        self._end(f"no answer for {self._timeout} s")

    def coordinator_closed(self) -> None:
        """End the process after the connection to process 0 was lost, unless still starting."""
        self._may_end.set()  # Process 0 may be gone before it has answered all at their end.
        if self._met.wait(_GRACE):
            # It may be about to fail for the same reason as process 0, and report it.
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
                    # The progress bar hides the cursor.
                    below_a_bar = "\x1b[?25h\n" if errors.isatty() else ""
                    print(f"{below_a_bar}error: {_lost(reason)}", file=errors, flush=True)
                sys.stdout.flush()

        # In a thread, since a write to a pipe that nobody reads blocks.
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
    """A connection from JAX's client, relayed to the coordinator."""

    server: _Relay

    def setup(self) -> None:
        self._parted = threading.Event()

    def handle(self) -> None:
        try:
            upstream = socket.create_connection(self.server.coordinator, timeout=_GRACE)
        except OSError:
            return  # JAX tries again, as after a refused connection.
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
    """Copy until one socket is closed; returns whether it was the source."""
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
