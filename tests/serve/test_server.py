"""A server as a process: clients that misbehave, and its end."""

import json
import signal

import pytest
from server_process import Process, answer

from flax_imdb.errors import InputError
from flax_imdb.serve import listen, server


def post(text: str, more: str = "Connection: close\r\n") -> bytes:
    body = json.dumps({"text": text})
    head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n{more}\r\n{body}".encode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_once_what_is_under_way_is_answered(number: signal.Signals) -> None:
    with Process() as process:
        waiting = process.connect(post("good"))
        while b'texts_count{kind="predict"} 1.0' not in process.get("/metrics"):
            pass
        idle = process.connect(b"GET /health HTTP/1.1\r\nHost:")
        process.process.send_signal(number)
        assert answer(idle) == b""
        while process.listens():
            pass
        process.go()
        assert b'"label": "good"' in answer(waiting)
        assert process.end() == (0, "")


def test_clients_that_keep_it_waiting_are_left() -> None:
    with Process(0.5) as process:
        assert answer(process.connect(b"")) == b""
        assert answer(process.connect(b"POST /predict HT")) == b""
        half = answer(process.connect(post("good")[:-3]))
        assert half.startswith(b"HTTP/1.1 408 ")
        assert b"the body did not come within 0.5 seconds" in half
        # One that asks for much, and takes nothing.
        before = process.open_files()
        with process.connect(b"GET /page.js HTTP/1.1\r\nHost: x\r\n\r\n" * 5000):
            while process.open_files() <= before:
                pass
            while process.open_files() > before:
                pass
        assert b"alive" in process.get("/health")


def test_what_is_no_http_is_refused_in_json() -> None:
    with Process() as process:
        for sent in (b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"GET " + b"x" * 70_000):
            head, _, body = answer(process.connect(sent)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400 ")
            assert json.loads(body) == {"error": "this is not HTTP/1.1"}


def test_a_port_that_is_taken_is_said() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"`port` {port} of .*: Address already in use"):
            listen("127.0.0.1", port)


def test_a_host_that_is_none_is_said() -> None:
    with pytest.raises(InputError, match="`host` 'no host' is no address"):
        listen("no host", 0)
    with pytest.raises(InputError, match=r"`host` 192\.0\.2\.1 cannot be listened at"):
        listen("192.0.2.1", 0)


def test_what_cannot_be_prepared_ends_it() -> None:
    from served_model import ServedModel

    from flax_imdb.serve import Limits

    model = ServedModel()
    model.prepared = None  # type: ignore[assignment]
    with listen("127.0.0.1", 0) as listening, pytest.raises(AttributeError):
        server.serve(model, listening, Limits(), lambda seconds: None)
