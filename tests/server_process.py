"""A server as a process."""

import json
import re
import socket
import subprocess
import sys

import served_model


class Process:
    """Context manager of a server in a process of its own, which is held (see `served_model`)."""

    def __init__(self, *client_seconds: float):
        self.process = subprocess.Popen(
            [sys.executable, served_model.__file__, *map(str, client_seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Process":
        assert self.process.stdout is not None
        self.address = tuple(json.loads(self.process.stdout.readline()))
        while b"200 OK" not in self.get("/ready"):
            pass
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.communicate()

    def connect(self, sent: bytes) -> socket.socket:
        client = socket.create_connection(self.address, timeout=60)
        client.sendall(sent)
        return client

    def get(self, path: str) -> bytes:
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        return answer(self.connect(head.encode()))

    def open_files(self) -> int:
        (number,) = re.findall(rb"^process_open_fds (\d+)", self.get("/metrics"), re.MULTILINE)
        return int(number)

    def listens(self) -> bool:
        try:
            self.connect(b"").close()
        except ConnectionRefusedError:
            return False
        return True

    def go(self) -> None:
        """Let it answer."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


def answer(client: socket.socket) -> bytes:
    """All that is sent until the connection is closed."""
    with client:
        return b"".join(iter(lambda: client.recv(2**16), b""))
