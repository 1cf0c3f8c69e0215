"""``flax-imdb export``."""

import dataclasses
from typing import Literal

import tyro

from flax_imdb.cli.flags import Imports, leaving_nothing, parse, warn_of_synthetic
from flax_imdb.devices import DeviceName


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """Write a run's model in another format.

    What is written is read again by another program, and its answers are compared with the run's.

    Attributes:
      workdir: The run's directory.
      format: What to write; see docs/exports.md.
      output: The file to write; of safetensors the directory.
      overwrite: Replace what is there.
      device: Where to compute.
      imports: Import this module first: the one that registers the run's architecture.
    """

    workdir: str = tyro.MISSING
    format: Literal["stablehlo", "onnx", "safetensors", "keras", "torch", "html"] = tyro.MISSING
    output: str = tyro.MISSING
    overwrite: bool = False
    device: DeviceName = "auto"
    imports: Imports = ()


def command(args: list[str], prog: str) -> int:
    """Write a run's model in another format."""
    from flax_imdb.export import destination, export
    from flax_imdb.predict import load

    options = parse(ExportOptions, args, prog)
    # First of all: what is wrong with these is known at once.
    destination(options.format, options.output, overwrite=options.overwrite)
    model = load(options.workdir, options.device)
    warn_of_synthetic(model.config)
    with leaving_nothing():
        written = export(model, options.format, options.output, overwrite=options.overwrite)
    for path in written:
        print(path)
    return 0
