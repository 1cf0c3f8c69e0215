"""What is said of the loss of another process, and the relay by which JAX reaches process 0."""

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import jax
import pytest

from flax_imdb import watch
from flax_imdb.errors import InputError
from flax_imdb.watch import Watch, lost_process

GLOO = "UNKNOWN: Gloo AllGather failed: [gloo/transport/tcp/pair.cc:538] Connection reset by peer"


@pytest.mark.parametrize(
    "error",
    [
        ValueError(GLOO),
        jax.errors.JaxRuntimeError(GLOO),
        RuntimeError("INTERNAL: NCCL operation ncclGroupEnd() failed: remote process exited"),
        jax.errors.JaxRuntimeError("UNAVAILABLE: Failed to send RPC: Socket closed"),
        jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED: GetKeyValue() timed out with key: cpu:1"),
        RuntimeError("ABORTED: the coordination service has restarted"),
    ],
)
def test_a_lost_process_is_seen_in_errors_of_each_class(error: Exception) -> None:
    assert lost_process(error) == f"another process has ended or cannot be reached: {error}"


def test_a_lost_process_is_seen_in_what_an_error_comes_of() -> None:
    wrapped = InputError("a checkpoint cannot be written")
    wrapped.__cause__ = ExceptionGroup("threads", [KeyError("a"), ValueError(GLOO)])
    handled = KeyError("b")
    handled.__context__ = wrapped
    wrapped.__context__ = handled  # As in an endless chain.
    said = lost_process(handled)
    assert said is not None
    assert said.endswith(GLOO)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("the coordination of gloo and nccl"),
        KeyError("UNKNOWN"),
        ValueError("UNKNOWN: not a layer between processes"),
        jax.errors.JaxRuntimeError("INVALID_ARGUMENT: Gloo takes no float8"),
        jax.errors.JaxRuntimeError("INTERNAL: Mosaic failed to compile"),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory"),
        AssertionError(),
    ],
)
def test_a_bug_is_not_taken_for_the_loss_of_a_process(error: Exception) -> None:
    assert lost_process(error) is None


class EndedError(Exception):
    pass


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The statuses with which the process would have ended, had it; timeouts are short."""
    statuses: list[int] = []

    def end(status: int) -> None:
        statuses.append(status)
        raise EndedError

    monkeypatch.setattr("os._exit", end)
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(watch, "_last_word", threading.RLock())
    monkeypatch.setattr(watch, "_GRACE", 0.01)
    monkeypatch.setattr(watch, "_LEAST_TIMEOUT", 1)
    return statuses


class Client:
    """Of JAX's coordinator: a barrier at which everyone has arrived, or nobody else ever does."""

    def __init__(self, barrier: str):
        self.barrier = barrier
        self.passed = threading.Semaphore(0)

    def wait_at_barrier(self, name: str, timeout_in_ms: int) -> None:
        if self.barrier == "frozen":
            threading.Event().wait()
        if self.barrier == "failing":
            raise ValueError("UNAVAILABLE: ")
        self.passed.release()


class TestWatch:
    @pytest.mark.parametrize("barrier", ["frozen", "failing"])
    def test_ends_when_others_do_not_answer(
        self,
        barrier: str,
        ends: list[int],
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(watch.distributed.global_state, "client", Client(barrier))
        own = Watch(1)
        threading.Thread(target=own._call, daemon=True).start()
        with pytest.raises(EndedError):
            own._listen()
        own.leave()
        assert ends == [1]
        said = "error: another process has ended or cannot be reached: no answer for 1 s\n"
        assert capfd.readouterr().err == said

    def test_goes_on_meeting_others_that_answer(
        self, ends: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = Client("open")
        monkeypatch.setattr(watch.distributed.global_state, "client", client)
        own = Watch(1)
        calling = threading.Thread(target=own._call, daemon=True)
        calling.start()
        for _ in range(12):  # More than the rounds of a timeout.
            assert client.passed.acquire(timeout=60)
            assert own._answered.wait(60)
        own.leave()
        calling.join(60)
        assert not calling.is_alive()

    def test_after_leaving_the_loss_of_others_is_a_success(
        self, ends: list[int], capfd: pytest.CaptureFixture[str]
    ) -> None:
        own = Watch(1)
        own.leave()
        with pytest.raises(EndedError):
            own._listen()
        assert ends == [0]
        assert capfd.readouterr().err == ""

    def test_after_jax_has_shut_down_nothing_ends(
        self, ends: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jax.distributed, "is_initialized", lambda: False)
        Watch(1)._listen()
        assert ends == []


class TestRelay:
    @pytest.fixture
    def own(self, ends: list[int], monkeypatch: pytest.MonkeyPatch) -> Watch:
        self.lost = threading.Event()
        own = Watch(1)
        monkeypatch.setattr(own, "_end", lambda reason: self.lost.set())
        return own

    @pytest.fixture
    def connection(self, own: Watch) -> Iterator[tuple[socket.socket, socket.socket]]:
        """JAX's end of a connection, and the coordinator's."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            host, port = own.relay(f"127.0.0.1:{server.getsockname()[1]}").split(":")
            with socket.create_connection((host, int(port)), timeout=60) as ours:
                theirs, _ = server.accept()
                with theirs:
                    theirs.settimeout(60)
                    yield ours, theirs

    def test_passes_on_what_both_sides_say(self, connection: Any) -> None:
        for source, target in (connection, connection[::-1]):
            source.sendall(b"x" * 100_000 + b".")
            with target.makefile("rb") as file:
                assert file.read(100_001) == b"x" * 100_000 + b"."

    def test_a_coordinator_that_is_lost_after_the_start_ends_the_process(
        self, own: Watch, connection: Any
    ) -> None:
        own._met.set()
        connection[1].close()
        assert self.lost.wait(60)

    def test_a_coordinator_that_is_lost_at_the_start_is_tried_again(self, connection: Any) -> None:
        ours, theirs = connection
        theirs.close()
        assert ours.recv(1) == b""  # JAX sees it, and connects anew.
        assert not self.lost.is_set()

    def test_what_jax_closes_is_closed_and_nothing_is_lost(
        self, own: Watch, connection: Any
    ) -> None:
        own._met.set()
        ours, theirs = connection
        ours.close()
        assert theirs.recv(1) == b""
        assert not self.lost.wait(0.1)


@pytest.mark.parametrize(
    ("environment", "exempt"),
    [
        ({}, None),
        ({"https_proxy": "http://a"}, "127.0.0.1"),
        ({"http_proxy": "http://a", "no_proxy": "b,c"}, "b,c,127.0.0.1"),
    ],
)
def test_no_proxy_stands_before_the_relay(
    environment: dict[str, str], exempt: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And JAX, which warns of every variable of such a name, is not given one without need."""
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_proxy", "no_grpc_proxy"):
        monkeypatch.setenv(name, "")  # So that what is set now is undone, too.
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    Watch(1).relay("127.0.0.1:1")
    assert os.environ.get(watch._NO_PROXY) == exempt
