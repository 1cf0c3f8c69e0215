"""Signals that ask a run to stop.

These are SIGINT, SIGTERM (how clusters announce a preemption) and SIGHUP (the terminal was closed).
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import jax

from flax_imdb.distributed import StopTogether
from flax_imdb.errors import Preempted

# Windows has no SIGHUP.
_SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGTERM", "SIGINT", "SIGHUP")
    if name in signal.Signals.__members__
)


class Preemption:
    """Whether a signal has asked this run to stop. Created by `catch_signals`.

    With several processes a signal to one is enough: all of them stop at the same step. All must
    call `requested` equally often.

    Attributes:
      caught: the signals to handle.
    """

    def __init__(self) -> None:
        self._together = StopTogether() if jax.process_count() > 1 else None
        self._signal = signal.SIGTERM
        self._received = False
        self._agreed = False
        # Ignored signals stay ignored, such as SIGHUP under nohup or SIGINT in `command &`.
        self.caught = [each for each in _SIGNALS if signal.getsignal(each) != signal.SIG_IGN]

    def requested(self) -> bool:
        """Whether the run should stop."""
        if self._together is None:
            return self._received
        if not self._agreed and self._together.reached():
            self._agreed = True
            _restore(dict.fromkeys(self.caught, signal.SIG_DFL))
        return self._agreed

    def check(self) -> None:
        """Raise Preempted if the run should stop."""
        if self.requested():
            self.stop()

    def stop(self) -> NoReturn:
        """Raise Preempted."""
        raise Preempted(self._signal)

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Signal handler."""
        self._signal = signal.Signals(number)
        self._received = True
        if self._together is not None:
            self._together.ask()
        _restore(dict.fromkeys(self.caught, signal.SIG_DFL))
        # Not with print, which the signal may have interrupted.
        with contextlib.suppress(OSError):
            os.write(2, f"\n{self._signal.name}: saving; a second signal quits at once\n".encode())


@contextlib.contextmanager
def catch_signals() -> Iterator[Preemption]:
    """Context manager in which SIGTERM, SIGINT and SIGHUP ask the run to stop.

    A second signal ends the process at once. Ignored signals stay ignored. Outside the main thread,
    which alone receives signals, nothing is caught.
    """
    preemption = Preemption()
    if threading.current_thread() is not threading.main_thread():
        yield preemption
        return
    before = {number: signal.signal(number, preemption.receive) for number in preemption.caught}
    try:
        yield preemption
    finally:
        _restore(before)


def _restore(handlers: dict) -> None:
    for number, handler in handlers.items():
        # None means a handler that was not set from Python and cannot be restored.
        if handler is not None:
            signal.signal(number, handler)
