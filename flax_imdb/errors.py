"""User errors, preemption and warnings."""

import contextlib
import numbers
import re
import signal
import sys


class InputError(ValueError):
    """A user error: what was asked for cannot be done.

    The message is one line: the value, what is wrong with it, and what would be valid. Settings are
    named by their field, in backticks: `batch_size`. The commands print the message without a
    traceback, with the flag for the setting, and exit with status 2.
    """


class UnsupportedError(ValueError):
    """An implementation of the LSTM does not support a layer, its inputs or the device.

    Attributes:
      implementation: name of the implementation.
      reason: the reason, as the rest of a sentence that begins with the implementation.
    """

    def __init__(self, implementation: str, reason: str):
        super().__init__(implementation, reason)
        self.implementation = implementation
        self.reason = reason

    def __str__(self) -> str:
        return f"implementation {self.implementation!r} {self.reason}: 'auto' takes another"


class Preempted(KeyboardInterrupt):
    """A run was stopped by a signal; its progress is saved.

    The commands exit with status 128 plus the signal's number, as is usual: 130 for SIGINT, 143 for
    SIGTERM.

    Attributes:
      signal: the signal.
    """

    def __init__(self, signal: signal.Signals):
        super().__init__(f"stopped by {signal.name}")
        self.signal = signal


def as_flags(message: str) -> str:
    """Replace settings in backticks in a message with the command's flags."""
    return re.sub(
        r"`([a-z]+(?:_[a-z]+)*)`", lambda setting: f"--{setting[1].replace('_', '-')}", message
    )


def warn(message: str) -> None:
    """Print a one-line warning to standard error."""
    with contextlib.suppress(OSError):  # Standard error may be closed.
        print(f"warning: {' '.join(message.split())}", file=sys.stderr, flush=True)


def one_line(error: Exception) -> str:
    """Class and message of another library's error, on one line of limited length."""
    text = " ".join(str(error).replace("`", "'").split())  # A setting alone is in backticks.
    # Long messages have their subject at the beginning and the reason at the end.
    text = text if len(text) <= 300 else f"{text[:100]} ... {text[-200:]}"
    return f"{type(error).__name__}: {text}"


def is_number(value: object) -> bool:
    """Whether `value` is a real number, and not a boolean."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_between(setting: str, value: int, least: int, most: int | None = None) -> None:
    """Raise InputError unless `value` is an integer from `least` to `most`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"`{setting}` {value!r} is not an integer")
    if value < least:
        raise InputError(f"`{setting}` {value} is too small: {least} or more is needed")
    if most is not None and value > most:
        raise InputError(f"`{setting}` {value} is too large: {most} at most")
