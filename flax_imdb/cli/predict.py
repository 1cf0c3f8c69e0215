"""``flax-imdb predict``."""

import dataclasses
import sys
from typing import Annotated

import tyro

from flax_imdb.cli.flags import Imports, parse, say, warn_of_synthetic
from flax_imdb.devices import DeviceName
from flax_imdb.errors import InputError


@dataclasses.dataclass(frozen=True)
class PredictOptions:
    """Print a line for each text: a probability, and the likeliest class.

    Of two classes the probability is that of the second; of more that of the likeliest.

    Attributes:
      texts: The texts. Without any, the lines of standard input.
      workdir: The run's directory.
      device: Where to compute.
      imports: Import this module first: the one that registers the run's architecture.
    """

    texts: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    workdir: str = tyro.MISSING
    device: DeviceName = "auto"
    imports: Imports = ()


def command(args: list[str], prog: str) -> int:
    """Print the probability and the class of texts."""
    from flax_imdb.predict import load, unreadable

    options = parse(PredictOptions, args, prog)
    model = load(options.workdir, options.device)
    warn_of_synthetic(model.config)
    # Bytes that are not UTF-8 become lone surrogates, as they do in the arguments.
    texts = options.texts or [
        line.decode(errors="surrogateescape") for line in _standard_input().splitlines()
    ]
    rules = model.vocabulary.rules
    reasons = [unreadable(text, rules) for text in texts]
    numbers = [number for number, reason in enumerate(reasons, start=1) if reason is None]
    predictions = iter(model.predict([texts[number - 1] for number in numbers], numbers=numbers))
    for number, reason in enumerate(reasons, start=1):
        if reason is None:
            prediction = next(predictions)
            shown = model.info.classes[1] if len(model.info.classes) == 2 else prediction.label
            print(f"{prediction.probabilities[shown]:.4f}\t{prediction.label}")
        else:
            print("nan\tunreadable")
            say(f"error: text {number}: {reason}")
    return 0 if len(numbers) == len(texts) else 2


def _standard_input() -> bytes:
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise InputError(f"standard input cannot be read: {error.strerror or error}") from None
