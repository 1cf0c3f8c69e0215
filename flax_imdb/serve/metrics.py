"""What is counted and timed, for Prometheus."""

from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The metrics of a server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "flax_imdb_requests", "Requests.", ["path", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "flax_imdb_request_seconds",
            "Seconds from a request's head to the end of its answer.",
            ["path"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._batches = Histogram(
            "flax_imdb_batch_texts",
            "Texts that were answered together.",
            ["kind"],
            buckets=_TEXTS,
            registry=self._registry,
        )
        self._waiting = Gauge(
            "flax_imdb_waiting_texts", "Texts that wait.", ["kind"], registry=self._registry
        )
        self._ready = Gauge(
            "flax_imdb_ready", "1 once everything is compiled.", registry=self._registry
        )

    def watch_ready(self, ready: Callable[[], bool]) -> None:
        """Report what `ready` says at the time."""
        self._ready.set_function(ready)

    def watch_waiting(self, kind: str, waiting: Callable[[], int]) -> None:
        """Report how many texts wait at the time."""
        self._waiting.labels(kind).set_function(waiting)

    def batch(self, kind: str) -> Callable[[int], None]:
        """What counts the texts of each batch."""
        return self._batches.labels(kind).observe

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self._registry)
