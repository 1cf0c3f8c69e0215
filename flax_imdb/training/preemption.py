"""Signals that ask a run to stop.

SIGINT; SIGTERM, by which clusters announce a preemption; SIGHUP, where a terminal or ssh is gone.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import jax
from jax.experimental import multihost_utils

from flax_imdb.errors import Preempted

# Those that there are: Windows has no SIGHUP.
_SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGTERM", "SIGINT", "SIGHUP")
    if name in signal.Signals.__members__
)


class Preemption:
    """Whether a signal has asked this run to stop; made by `catch_signals`.

    Of several processes it is enough that one is asked: all of them stop at the same step, by
    JAX's preemption service. All must ask the same number of times.

    Attributes:
      several: whether there are several processes.
    """

    def __init__(self) -> None:
        self.several = jax.process_count() > 1
        self._signal = signal.SIGTERM
        self._received = False
        self._agreed = False
        self._polls = 0
        # One that is ignored stays so: SIGHUP is under nohup, SIGINT in a script's `command &`.
        self._signals = [each for each in _SIGNALS if signal.getsignal(each) != signal.SIG_IGN]

    def requested(self) -> bool:
        """Whether to stop."""
        if not self.several:
            return self._received
        if not self._agreed:
            self._polls += 1
            self._agreed = multihost_utils.reached_preemption_sync_point(self._polls)
            if self._agreed:
                _restore(dict.fromkeys(self._signals, signal.SIG_DFL))
        return self._agreed

    @property
    def caught(self) -> list[signal.Signals]:
        """Which signals it handles."""
        # With several processes JAX has taken SIGTERM, and tells all of them.
        return [each for each in self._signals if not (self.several and each == signal.SIGTERM)]

    def check(self) -> None:
        """Raise Preempted if it is time to stop."""
        if self.requested():
            raise Preempted(self._signal)

    def receive(self, number: int, frame: FrameType | None) -> None:
        """The signals' handler."""
        self._signal = signal.Signals(number)
        self._received = True
        if self.several:
            os.kill(os.getpid(), signal.SIGTERM)  # JAX's service listens to this one.
            return
        _restore(dict.fromkeys(self._signals, signal.SIG_DFL))
        # Not by print: the signal may have come in the middle of another one.
        with contextlib.suppress(OSError):
            os.write(2, f"\n{self._signal.name}: saving; once more ends it at once\n".encode())


@contextlib.contextmanager
def catch_signals() -> Iterator[Preemption]:
    """While in it, SIGTERM, SIGINT and SIGHUP are noted for the run to stop when it can.

    The second one ends the process at once. One that is ignored stays ignored. In a thread that is
    not the main one, which gets no signals, nothing is caught.
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
        # None stands for a handler that Python has not set and cannot set again.
        if handler is not None:
            signal.signal(number, handler)
