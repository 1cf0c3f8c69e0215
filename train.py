"""Train a classifier: `python train.py --arch bilstm --device gpu`; `--help` lists the flags."""

import sys

from flax_imdb import cli

if __name__ == "__main__":
    sys.exit(cli.run(cli.train, sys.argv[1:], "train.py"))
