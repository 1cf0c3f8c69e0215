"""What ends a run beside success: something that cannot be done, or a signal; and warnings."""

import contextlib
import re
import signal
import sys


class InputError(Exception):
    """Something the user asked for cannot be done.

    The message is one line: the value, what is wrong with it, and what would be right. It names a
    setting in backticks, as its field is called: `batch_size`. The commands show it as their flag,
    without a traceback, and exit with status 2.
    """


class UnsupportedError(ValueError):
    """An implementation of the LSTM does not compute what is asked of it.

    Attributes:
      implementation: its name.
      reason: why, as the end of a sentence about it.
    """

    def __init__(self, implementation: str, reason: str):
        super().__init__(implementation, reason)
        self.implementation = implementation
        self.reason = reason

    def __str__(self) -> str:
        return f"implementation {self.implementation!r} {self.reason}: 'auto' takes another"


class Preempted(KeyboardInterrupt):
    """A signal asked a run to stop, and it has: what it had done is saved.

    The commands exit with status 128 and the signal's number, as shells do: 130 after SIGINT, 143
    after SIGTERM.

    Attributes:
      signal: which.
    """

    def __init__(self, signal: signal.Signals):
        super().__init__(f"stopped by {signal.name}")
        self.signal = signal


def as_flags(message: str) -> str:
    """A message with the settings that it names in backticks as flags, for a command to print."""
    return re.sub(
        r"`([a-z]+(?:_[a-z]+)*)`", lambda setting: f"--{setting[1].replace('_', '-')}", message
    )


def warn(message: str) -> None:
    """Print a warning, one line on standard error, of what the run can do without."""
    with contextlib.suppress(OSError):  # If nobody listens there.
        print(f"warning: {' '.join(message.split())}", file=sys.stderr, flush=True)


def one_line(error: Exception) -> str:
    """Class and message of another library's error, on one line that is not too long."""
    text = " ".join(str(error).split())
    # What it is about is at the beginning, and why at the end.
    text = text if len(text) <= 300 else f"{text[:100]} ... {text[-200:]}"
    return f"{type(error).__name__}: {text}"


def check_between(setting: str, value: int, least: int, most: int | None = None) -> None:
    """Raise InputError, naming `setting`, unless `value` is an integer within these limits."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"`{setting}` {value} is not an integer")
    if value < least:
        raise InputError(f"`{setting}` {value} is too small: {least} or more is needed")
    if most is not None and value > most:
        raise InputError(f"`{setting}` {value} is too large: {most} at most")
