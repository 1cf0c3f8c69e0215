"""The entry points: `flax-imdb`, `python -m flax_imdb` and `train.py`.

The other imports take seconds, during which Ctrl-C would show a traceback; so this module imports
little, and restores the default action of SIGINT meanwhile.
"""

import signal
import sys
from types import ModuleType


def main() -> int:
    """``flax-imdb COMMAND ...``; returns the exit status."""
    return _cli().main()


def train() -> int:
    """``train.py ...``; returns the exit status."""
    cli = _cli()
    return cli.run(cli.command("train"), sys.argv[1:], "train.py")


def _cli() -> ModuleType:
    handler = signal.getsignal(signal.SIGINT)
    # In a script's `command &` it is ignored, and stays ignored.
    guard = handler is signal.default_int_handler
    if guard:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from flax_imdb import cli

    if guard:
        signal.signal(signal.SIGINT, handler)
    return cli


if __name__ == "__main__":
    sys.exit(main())
