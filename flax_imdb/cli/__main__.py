"""``python -m flax_imdb.cli``."""

from flax_imdb.cli import script

if __name__ == "__main__":
    script()
