"""The process that serves: its socket, its signals, and clients that keep it waiting."""

import asyncio
import contextlib
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from flax_imdb.errors import InputError
from flax_imdb.serve.app import create_app
from flax_imdb.serve.limits import CLIENT_SECONDS, Limits
from flax_imdb.serve.model import Model

_BACKLOG = 1024


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; clients may connect from now on.

    Args:
      host: the address to listen at.
      port: the port; 0 takes any that is free.

    Raises:
      InputError: that cannot be.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise InputError(f"`host` {host!r} is no address of this machine") from None
    try:
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        raise InputError(
            f"`port` {port} of `host` {host} cannot be listened at: {reason}; `port` 0 takes any "
            "that is free"
        ) from None


def serve(
    model: Model, listening: socket.socket, limits: Limits, ready: Callable[[float], None]
) -> None:
    """Serve a model until a signal ends it, and then finish what is under way.

    Args:
      model: the model.
      listening: from `listen`.
      limits: how much may be asked.
      ready: is told once everything is compiled, and after how many seconds.
    """
    failures: list[Exception] = []
    start = time.perf_counter()

    def failed(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    app = create_app(model, limits, lambda: ready(time.perf_counter() - start), failed)
    server = _Server(
        uvicorn.Config(
            app,
            http=_Connection,
            ws="none",
            lifespan="on",
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=int(CLIENT_SECONDS),
            timeout_graceful_shutdown=int(limits.deadline + CLIENT_SECONDS) + 1,
        )
    )
    server.run([listening])
    if failures:
        raise failures[0]


class _Server(uvicorn.Server):
    """Ends at SIGINT and SIGTERM, normally: uvicorn's own would end by the signal then."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        handled = [
            number
            for number in (signal.SIGINT, signal.SIGTERM)
            if signal.getsignal(number) is not signal.SIG_IGN
        ]
        before = {number: signal.signal(number, self.handle_exit) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Connection(H11Protocol):
    """A connection, which is ended if its client keeps it waiting.

    uvicorn itself waits forever for the rest of a head, and for a client to take an answer. For
    the rest of a body the application waits.
    """

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._be_patient()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._be_patient()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self._be_patient()
        super().pause_writing()

    def _be_patient(self) -> None:
        """Wait for the client from now on."""
        self._forget()
        wait = 2 * CLIENT_SECONDS  # Idle connections are ended before, in a friendlier way.
        self._patience = self.loop.call_later(wait, self._give_up, self.cycle)

    def _give_up(self, cycle: Any) -> None:
        if self.cycle is cycle or self.flow.write_paused:  # No request has come since.
            self.transport.abort()

    def _forget(self) -> None:
        if self._patience is not None:
            self._patience.cancel()

    def send_400_response(self, msg: str) -> None:
        body = json.dumps({"error": "this is not HTTP/1.1"}, allow_nan=False).encode()
        head = h11.Response(
            status_code=400,
            headers=[
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
                ("Connection", "close"),
            ],
            reason=b"Bad Request",
        )
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
