"""What ends a run beside success: something that cannot be done, or a signal; and warnings."""

import contextlib
import signal
import sys


class InputError(Exception):
    """Something the user asked for cannot be done.

    The message is one line: the value, what is wrong with it, and what would be right. The
    commands print it without a traceback and exit with status 2.
    """


class RefusalError(ValueError):
    """An implementation of the LSTM does not compute what is asked of it; the message says why."""


class Interrupted(KeyboardInterrupt):
    """A signal asked a run to stop, and it has: what it had done is saved.

    The commands exit with status 128 and the signal's number, as shells do: 130 after SIGINT, 143
    after SIGTERM.

    Attributes:
      signal: which.
    """

    def __init__(self, signal: signal.Signals):
        super().__init__(f"stopped by {signal.name}")
        self.signal = signal


def warn(message: str) -> None:
    """Print a warning, one line on standard error, of what the run can do without."""
    with contextlib.suppress(OSError):  # If nobody listens there.
        print(f"warning: {' '.join(message.split())}", file=sys.stderr, flush=True)


def check_between(flag: str, value: int, least: int, most: int | None = None) -> None:
    """Raise InputError, naming `flag`, unless `value` is a whole number within these limits."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{flag} {value} is not a whole number")
    if value < least:
        raise InputError(f"{flag} {value} is too small: {least} or more is needed")
    if most is not None and value > most:
        raise InputError(f"{flag} {value} is too large: {most} at most")
