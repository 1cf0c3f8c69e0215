"""Serving: latency and throughput at 1 to 256 clients, beside Keras, and a soak with hostile ones.

    python benchmarks/serving.py --json FILE

Clients and server share the machine, over loopback. The model is that of a run of default sizes
(`--workdir`); without one it is trained on a few synthetic reviews, and its answers hardly differ.
Keras's `predict` stands behind the same server, in the same batches, which are compiled ahead, too.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import prediction
import runner

from flax_imdb.errors import InputError

CLIENTS = (1, 16, 256)
SYSTEMS = ("flax_imdb", "keras-jax", "keras-tensorflow")
TEXTS = 500
WORDS = (20, 400)

# Of this share of the requests in the soak, one of `HOSTILE` is made instead.
_HOSTILE = 0.1

# One batch rounds otherwise than another.
TOLERANCE = 1e-5


def texts(workdir: str) -> list[str]:
    """Texts of the model's words, 20 to 400 long."""
    from flax_imdb.workdir import Workdir

    info = Workdir(workdir).dataset_info()
    assert info is not None
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(info.vocabulary.words, rng.integers(*WORDS))) for _ in range(TEXTS)]


def predicted(workdir: str) -> list[dict[str, float]]:
    """What `predict` says of each text alone."""
    from flax_imdb.predict import load

    model = load(workdir)
    return [model.predict([text])[0].probabilities for text in texts(workdir)]


class KerasModel:
    """Keras's model of the same architecture, to be served as ours is."""

    def __init__(self, workdir: str):
        from peers import Task, keras

        from flax_imdb.predict import load
        from flax_imdb.serve import About

        self._ours = load(workdir)
        config = self._ours.config
        self.about = About("Keras", "", config.data.max_length)
        self.sizes: Sequence[int] = (1, 8, config.training.batch_size)
        self._length = config.data.max_length
        self._model = keras.build(
            Task(
                arch=config.model.arch,
                device="cpu",
                batch_size=self.sizes[-1],
                max_length=self._length,
                vocab_size=config.data.vocab_size,
                embedding_features=config.model.embedding_features,
                features=config.model.features,
            )
        )

    def prepare(self) -> Iterator[None]:
        """Compile its batches."""
        for rows in self.sizes:
            self._predict(np.zeros((rows, self._length), np.int32))
            yield

    def least_probability(self, coverage: float) -> float:
        """It does not abstain."""
        raise InputError("Keras is not calibrated")

    def predict(self, texts: Sequence[Any], least: Sequence[float | None]) -> list[dict[str, Any]]:
        """As the tutorial does: padded at the front to one length."""
        from flax_imdb.data import split_words

        vocabulary = self._ours.vocabulary
        rows = next(size for size in self.sizes if size >= len(texts))
        tokens = np.zeros((rows, self._length), np.int32)
        for row, text in zip(tokens, texts, strict=False):
            ids = vocabulary.encode(split_words(text, vocabulary.rules))[-self._length :]
            row[self._length - len(ids) :] = ids
        return [
            {"label": "", "probabilities": {"negative": 1 - p, "positive": p}}
            for p in self._predict(tokens)[: len(texts), 0].tolist()
        ]

    def explain(self, text: Any) -> dict[str, Any]:
        """It cannot."""
        return {"error": "Keras explains nothing"}

    def _predict(self, tokens: np.ndarray) -> np.ndarray:
        predicted: np.ndarray = self._model.predict(tokens, batch_size=len(tokens), verbose=0)
        return predicted


def serve(system: str, workdir: str) -> None:
    """Serve until a signal comes; print the port, and a line once it is ready."""
    from flax_imdb.predict import load
    from flax_imdb.serve import Limits, Model, Served, listen, serve
    from flax_imdb.tuning import tune_process

    tune_process()
    model: Model = Served(load(workdir)) if system == "flax_imdb" else KerasModel(workdir)
    with listen("127.0.0.1", 0) as listening:
        print(listening.getsockname()[1], flush=True)
        serve(model, listening, Limits(), lambda seconds: print(seconds, flush=True))


class Server:
    """Context manager of a server in a process of its own, which is ready.

    Attributes:
      port: where it listens.
      ready_seconds: how long it took to compile.
    """

    def __init__(self, system: str, workdir: str):
        backend = system.removeprefix("keras-")
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", system, "--workdir", workdir],
            stdout=subprocess.PIPE,
            env={**os.environ, "KERAS_BACKEND": backend},
            text=True,
        )

    def __enter__(self) -> "Server":
        assert self._process.stdout is not None
        lines = [self._process.stdout.readline() for _ in range(2)]
        if not all(lines):
            raise SystemExit("the server ended early: its own message is above")
        self.port, self.ready_seconds = int(lines[0]), float(lines[1])
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self.status = self._process.wait()

    def memory_mb(self) -> float:
        """The main memory that it holds."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
        return 1.024e-3 * int(kilobytes)


class Client:
    """A connection, opened when it is needed.

    Args:
      port: of the server.
    """

    def __init__(self, port: int):
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, content: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send bytes."""
        if self._streams is None or self._streams[0].at_eof():
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        self._streams[1].write(content)
        await self._streams[1].drain()
        return self._streams

    async def ask(self, content: bytes, pause: float = 0.0) -> tuple[int, bytes]:
        """Status and body of the answer to a request, read in small pieces if there is a pause."""
        reader, _ = await self.send(content)
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        (length,) = re.findall(rb"content-length: (\d+)", head.lower())
        body = b""
        while pause and len(body) < int(length):
            await asyncio.sleep(pause)
            body += await reader.read(16)
        body = body or await reader.readexactly(int(length))
        if b"connection: close" in head.lower():
            self.close()
        return status, body

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def request(body: bytes, path: str = "/predict", kind: str = "application/json") -> bytes:
    """A request with a body."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def ask_for(text: str) -> bytes:
    """A request for the prediction of a text."""
    return request(json.dumps({"text": text}, allow_nan=False).encode())


async def measure(
    port: int, asked: Sequence[bytes], clients: int, seconds: float
) -> dict[str, Any]:
    """Latency and throughput with so many clients, each of which asks again once it is answered."""
    took: list[float] = []
    begin = time.perf_counter() + min(seconds, 2.0) / 2  # Before that it warms up.
    end = begin + seconds

    async def work(number: int) -> None:
        client, draw = Client(port), random.Random(number)
        while (start := time.perf_counter()) < end:
            status, body = await client.ask(draw.choice(asked))
            if status != 200:
                raise SystemExit(f"status {status}: {body!r}")
            if begin <= (now := time.perf_counter()) <= end:
                took.append(1e3 * (now - start))
        client.close()

    await asyncio.gather(*(work(number) for number in range(clients)))
    median, high = np.percentile(took, [50, 99])
    return {
        "ms_p50": float(median),
        "ms_p99": float(high),
        "requests_per_second": len(took) / seconds,
    }


def compare(
    options: argparse.Namespace, workdir: str, asked: Sequence[bytes]
) -> list[dict[str, Any]]:
    """The medians of rounds in which the systems take turns, each idle while others have theirs."""
    rows = []
    with contextlib.ExitStack() as stack:
        ports = {
            system: stack.enter_context(Server(system, workdir)).port for system in options.systems
        }
        for clients in map(int, options.clients):
            rounds = [
                (system, asyncio.run(measure(port, asked, clients, options.seconds)))
                for _ in range(options.rounds)
                for system, port in ports.items()
            ]
            for system in ports:
                of_system = [row for name, row in rounds if name == system]
                medians = {
                    name: statistics.median(row[name] for row in of_system) for name in of_system[0]
                }
                rows.append({"system": system, "clients": clients, **medians})
                print(rows[-1], flush=True)
    return rows


async def hostile(kind: str, port: int, text: str) -> str | None:
    """A request that should not be; returns what is wrong with what came back."""
    client = Client(port)
    fine = ask_for(text)
    body = {
        "bad JSON": b'{"text": "unfinished',
        "wrong types": b'{"texts": {"a": [1, null]}}',
        "no UTF-8": b'{"text": "\xff\xfe"}',
        "deep nesting": b"[" * 50_000,
        "too many texts": json.dumps({"texts": [""] * 300}, allow_nan=False).encode(),
        "too long": json.dumps({"text": "a" * 60_000}, allow_nan=False).encode(),
        "too much": b" " * 9_000_000,
    }
    expected = {"too many texts": 422, "wrong types": 422, "too long": 413, "too much": 413}
    try:
        if kind in body:
            status, _ = await client.ask(request(body[kind]))
            right = expected.get(kind, 400)
            return None if status == right else f"{kind}: status {status}"
        if kind == "wrong type of content":
            status, _ = await client.ask(request(b"text=a", kind="text/plain"))
            return None if status == 415 else f"{kind}: status {status}"
        if kind == "no HTTP":
            status, _ = await client.ask(b"\x16\x03\x01\x00\r\n\r\n")
            return None if status == 400 else f"{kind}: status {status}"
        if kind == "slow reader":
            status, _ = await client.ask(fine, pause=0.02)
            return None if status == 200 else f"{kind}: status {status}"
        if kind == "half a body":
            await client.send(fine[:-20])
            await asyncio.sleep(0.05)
        elif kind == "half a head":
            await client.send(fine[:30])
        elif kind == "gone before the answer":
            await client.send(fine)
        elif kind == "gone before the explanation":
            await client.send(request(fine.partition(b"\r\n\r\n")[2], "/explain"))
        return None
    except (OSError, EOFError) as error:
        return f"{kind}: {error!r}"
    finally:
        client.close()


HOSTILE = (
    *("bad JSON", "wrong types", "no UTF-8", "deep nesting", "too many texts", "too long"),
    *("too much", "wrong type of content", "no HTTP", "slow reader", "half a body", "half a head"),
    *("gone before the answer", "gone before the explanation"),
)


async def soak(
    server: Server, asked: Sequence[str], right: Sequence[dict[str, float]], requests: int
) -> dict[str, Any]:
    """Many requests, of 32 clients, some of them hostile; what went wrong, and the memory."""
    left, problems = iter(range(requests)), Counter[str]()
    kinds, memory = Counter[str](), []
    largest = 0.0

    async def work(number: int) -> None:
        nonlocal largest
        client, draw = Client(server.port), random.Random(number)
        for count in left:
            if count % (requests // 20 or 1) == 0:
                memory.append(round(server.memory_mb(), 1))
            index = draw.randrange(len(asked))
            if draw.random() < _HOSTILE:
                kind = draw.choice(HOSTILE)
                kinds[kind] += 1
                if problem := await hostile(kind, server.port, asked[index]):
                    problems[problem] += 1
                continue
            try:
                status, body = await client.ask(ask_for(asked[index]))
                if status != 200:
                    problems[f"status {status}: {body.decode()}"] += 1
                    continue
            except (OSError, EOFError) as error:
                problems[repr(error)] += 1
                client.close()
                continue
            found = json.loads(body)["predictions"][0]["probabilities"]
            largest = max(largest, *(abs(found[name] - right[index][name]) for name in found))
        client.close()

    start = time.perf_counter()
    await asyncio.gather(*(work(number) for number in range(32)))
    return {
        "requests": requests,
        "hostile": dict(sorted(kinds.items())),
        "errors": dict(problems),
        "seconds": time.perf_counter() - start,
        "largest_difference": largest,
        "memory_mb": memory,
    }


async def same_bits(port: int, asked: Sequence[str], right: Sequence[dict[str, float]]) -> int:
    """How many texts have, asked for alone, other bits than `predict` gives them."""
    client = Client(port)
    others = 0
    for text, expected in zip(asked, right, strict=True):
        _, body = await client.ask(ask_for(text))
        others += json.loads(body)["predictions"][0]["probabilities"] != expected
    client.close()
    return others


def main() -> None:
    """Measure, print and write."""
    parser = runner.Parser(__doc__)
    parser.add_argument(
        "--systems", type=runner.names(*SYSTEMS), default=["flax_imdb", "keras-jax"]
    )
    parser.add_argument("--arch", default="lstm")
    parser.add_argument("--clients", type=runner.names(), default=[*map(str, CLIENTS)])
    parser.add_argument("--seconds", type=runner.at_least(1), default=5)
    parser.add_argument("--rounds", type=runner.at_least(1), default=5)
    parser.add_argument("--requests", type=runner.at_least(0), default=100_000)
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--workdir", help="the run to serve; by default one is trained")
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.workdir)
        return
    results: dict[str, Any] = {"note": options.note}
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(KeyboardInterrupt):
        workdir = options.workdir or f"{folder}/run"
        if options.workdir is None:
            runner.in_new_process(prediction.train, options.arch, workdir)
        results["arch"] = json.loads(Path(workdir, "result.json").read_text())["arch"]
        asked = runner.in_new_process(texts, workdir)
        right = runner.in_new_process(predicted, workdir)
        requests = [ask_for(text) for text in asked]
        results["rows"] = compare(options, workdir, requests)
        with Server("flax_imdb", workdir) as server:
            results["ready_seconds"] = server.ready_seconds
            results["different_answers"] = len({str(probabilities) for probabilities in right})
            results["other_bits"] = asyncio.run(same_bits(server.port, asked, right))
            if options.requests:
                results["soak"] = asyncio.run(soak(server, asked, right, options.requests))
        results["exit_status"] = server.status
    print({name: value for name, value in results.items() if name != "rows"})
    runner.write(options.json, results)


if __name__ == "__main__":
    main()
