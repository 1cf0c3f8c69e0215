"""``flax-imdb verify``."""

import contextlib
import dataclasses
import json
import sys

from flax_imdb.cli.flags import Imports, given_of, leaving_nothing, parse
from flax_imdb.devices import DeviceName
from flax_imdb.errors import as_flags


@dataclasses.dataclass(frozen=True)
class VerifyOptions:
    """Repeat a finished run, and say whether it has the same bits, or where it differs first.

    The status is 0 if it is the same, 1 if it differs, 2 if it cannot be repeated. Nothing in the
    run's directory is changed.

    Attributes:
      workdir: The run's directory.
      last_epoch: Repeat only the last epoch, from the checkpoint that it began with.
      tolerance: How much numbers may differ, on another machine: absolutely, or above 1 relative to
        what was recorded.
      json: Print a line of JSON.
      device: Repeat on all devices of this kind. None: on the recorded ones.
      dataset: Where the texts are now. None: as in training; so are the following ones.
      test_dataset: Where those of the test split are now.
      data_dir: Where the reviews or tfds's datasets are now.
      embeddings: Where the word vectors are now.
      init_from: Where the run that it started from is now.
      imports: Import this module first: the one that registers the run's architecture.
    """

    workdir: str
    last_epoch: bool = False
    tolerance: float = 0.0
    json: bool = False
    device: DeviceName | None = None
    dataset: str | None = None
    test_dataset: str | None = None
    data_dir: str | None = None
    embeddings: str | None = None
    init_from: str | None = None
    imports: Imports = ()


def command(args: list[str], prog: str) -> int:
    """Repeat a finished run, and say whether it has the same bits, or where it differs first."""
    options = parse(VerifyOptions, args, prog)
    from flax_imdb.verify import MOVED, verify

    # What libraries print is not the answer.
    with leaving_nothing(), contextlib.redirect_stdout(sys.stderr):
        verification = verify(
            options.workdir,
            last_epoch=options.last_epoch,
            tolerance=options.tolerance,
            device=options.device,
            moved=given_of(options, MOVED),
        )
    if options.json:
        print(json.dumps(verification.content(), allow_nan=False))
    else:
        print(as_flags("\n".join(verification.lines())))
    return 0 if verification.same else 1
