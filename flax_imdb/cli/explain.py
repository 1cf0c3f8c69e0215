"""``flax-imdb explain``."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import tyro

from flax_imdb.cli.flags import Imports, parse, warn_of_synthetic
from flax_imdb.cli.predict import lines_of_input
from flax_imdb.devices import DeviceName
from flax_imdb.errors import InputError
from flax_imdb.paths import output_path, writing


@dataclasses.dataclass(frozen=True)
class ExplainOptions:
    """Show which words led to the predictions.

    The weight of a word is what it added to the logit of a class: above 0 it speaks for the class.
    Together the weights are the difference between the logit of the text and that of a blank one.

    Attributes:
      texts: The texts. Without any, the lines of standard input.
      workdir: The run's directory.
      classes: Explain this class; may be repeated. Without it: of two classes the second, of more
        the likeliest ones.
      html: Write a page with the coloured texts to this file.
      json: Print a line of JSON for each text.
      overwrite: Replace the page if it exists.
      device: Where to compute.
      imports: Import this module first: the one that registers the run's architecture.
    """

    texts: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    workdir: str = tyro.MISSING
    classes: Annotated[tuple[str, ...], tyro.conf.arg(name="class"), tyro.conf.UseAppendAction] = ()
    html: str | None = None
    json: bool = False
    overwrite: bool = False
    device: DeviceName = "auto"
    imports: Imports = ()


def command(args: list[str], prog: str) -> int:
    """Show which words led to the predictions."""
    from flax_imdb.predict import load
    from flax_imdb.report.console import ProgramConsole
    from flax_imdb.report.explanation import render_explanations, show

    options = parse(ExplainOptions, args, prog)
    if options.html is not None:
        output_path("`html`", options.html, options.overwrite)
    elif options.overwrite:
        raise InputError("`overwrite` has no effect: it is for a page, given as `html`")
    model = load(options.workdir, options.device)
    warn_of_synthetic(model.config)
    model.info.check_texts("explain")
    texts = options.texts or [text for some, _ in lines_of_input() for text in some]
    explanations = model.explain(texts, classes=options.classes or None)
    console = ProgramConsole(highlight=False)
    for explanation in explanations:
        if options.json:
            print(json.dumps(explanation.content(), allow_nan=False))
            continue
        for name in explanation.differences:
            print(f"{explanation.probabilities[name]:.4f}\t{name}")
            console.print(show(explanation, name), soft_wrap=True)
    if options.html is not None:
        page = render_explanations(explanations, Path(options.workdir).absolute().name)
        with writing("`html`", options.html, options.overwrite) as file:
            file.write(page.encode())
    return 0
