"""Classifiers that were made with Keras, PyTorch or Flax's own layers, as those of this package.

What has the layers of one of the architectures is taken over; all else is refused, with the reason.
Nothing of a foreign file is executed.
"""

from flax_imdb.interchange.flax import from_flax
from flax_imdb.interchange.imported import Imported
from flax_imdb.interchange.keras import from_keras
from flax_imdb.interchange.torch import from_torch

__all__ = ["Imported", "from_flax", "from_keras", "from_torch"]
