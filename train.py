"""Train a classifier: `python train.py --arch bilstm --device gpu`; `--help` lists the flags."""

import sys

from flax_imdb.__main__ import train

if __name__ == "__main__":
    sys.exit(train())
