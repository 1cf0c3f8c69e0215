"""The one exception that stands for a mistake of the user's."""


class InputError(Exception):
    """Something the user asked for cannot be done.

    The message is one line: the value, what is wrong with it, and what would be right. The
    commands print it without a traceback and exit with status 2.
    """


def check_at_least(flag: str, value: int, least: int) -> None:
    """Raise InputError, naming `flag`, unless `value` is a whole number and not below `least`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{flag} {value} is not a whole number")
    if value < least:
        raise InputError(f"{flag} {value} is too small: {least} or more is needed")
