"""The formats of exports."""

from collections.abc import Mapping
from typing import NamedTuple


class Format(NamedTuple):
    """A format.

    Attributes:
      about: what it is for, in a line.
      directory: whether it is a directory.
      alone: whether it is all in one file or directory. Otherwise there are two files beside it:
        ``PATH.json``, with `facts`, and ``PATH.tokenizer.json``.
      lengths: whether it takes lengths. Otherwise ids tell what is padding.
      suffix: how the name of the file must end, if programs go by that.
    """

    about: str
    directory: bool = False
    alone: bool = False
    lengths: bool = True
    suffix: str = ""


FORMATS: Mapping[str, Format] = {
    "stablehlo": Format("a compiled program for jax.export, on CPUs, NVIDIA GPUs and TPUs"),
    "onnx": Format("for ONNX Runtime and other programs that read ONNX"),
    "safetensors": Format(
        "a directory as on the Hugging Face Hub; flax_imdb.load reads it", True, True
    ),
    "keras": Format("a .keras file for Keras 3", lengths=False, suffix=".keras"),
    "torch": Format("a state dict for PyTorch, in safetensors", suffix=".safetensors"),
    "html": Format("a page that classifies texts in the browser, in one file", alone=True),
}
"""The formats, by name."""
