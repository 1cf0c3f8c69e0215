"""Train a classifier: `python train.py --arch bilstm --device gpu`; `--help` lists the flags."""

import signal
import sys

if __name__ == "__main__":
    # Ctrl-C in the seconds that imports take would show where they are.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from flax_imdb import cli

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(cli.run(cli.train, sys.argv[1:], "train.py"))
