"""Exported models: size, time to load, and time to answer, beside the model that they are of.

    python benchmarks/exports.py --model lstm,conv_lstm,strong --json FILE

The models have their sizes and are trained on a few synthetic reviews, since the time does not
depend on what they have learned. Each format is read by its example (`read` of its module), in a
process of its own, and they take turns.
"""

import functools
import importlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import prediction
import runner
from peers import ARCHITECTURES

from flax_imdb.config import RECIPES

ITSELF = "flax_imdb"
WORDS = 250
TEXTS = 1000

Batches = list[tuple[np.ndarray, np.ndarray]]


def batches(model: Any, texts: int, words: tuple[int, int]) -> Batches:
    """Texts of random words, in the batches that the model itself makes of them."""
    from flax_imdb.data import Examples

    rng = np.random.default_rng(0)
    lengths = rng.integers(*words, texts, endpoint=True)
    encoded = [rng.integers(3, len(model.vocabulary), length, np.int32) for length in lengths]
    examples = Examples.build(encoded, np.zeros(texts))
    examples = examples.limited(model.config.data.vocab_size, model.config.data.max_length)
    (batching,) = model.trainer.batching.sizes(texts)[-1:]
    made = [batching.make(examples, planned) for planned in batching.plan_evaluation(examples)]
    return [(batch["tokens"], batch["lengths"]) for batch in made]


class Exported:
    """An exported model that was read, or the model itself."""

    def __init__(self, format: str, path: Path, first: Batches):
        start = time.perf_counter()
        if format == ITSELF:
            self._answer = _itself(path)
        else:
            self._answer = importlib.import_module(f"flax_imdb.export.{format}").read(path)
        self.milliseconds(first)
        self._seconds = time.perf_counter() - start

    def seconds_to_first(self) -> float:
        """Those from the import of the libraries to the first answer."""
        return self._seconds

    def milliseconds(self, asked: Batches) -> float:
        """Those that it takes to answer."""
        start = time.perf_counter()
        for tokens, lengths in asked:
            np.asarray(self._answer(tokens, lengths))
        return 1e3 * (time.perf_counter() - start)


def _itself(workdir: Path) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    from flax_imdb.predict import load

    model = load(workdir)

    def answer(tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        rows = [row[:length] for row, length in zip(tokens, lengths, strict=True) if length]
        return model.predict_encoded(rows)

    return answer


def write(workdir: Path, format: str, path: Path) -> dict[str, Any]:
    """Export a run's model; the size of it, and how far its answers are from the model's."""
    from flax_imdb.export import export
    from flax_imdb.export.check import check
    from flax_imdb.predict import load

    model = load(workdir)
    export(model, format, path)
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    size = sum(file.stat().st_size for file in files if file.is_file())
    return {"megabytes": size / 1e6, "difference": check(model, format, path)}


def questions(workdir: Path) -> tuple[Batches, Batches]:
    """One text, and many."""
    from flax_imdb.predict import load

    model = load(workdir)
    return batches(model, 1, (WORDS, WORDS)), batches(model, TEXTS, (20, 400))


def measure(name: str, formats: list[str], rounds: int) -> list[dict[str, Any]]:
    """The rows of a model: of itself, and of each format that can hold it."""
    from flax_imdb.errors import InputError
    from flax_imdb.export import FORMATS

    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder, "run")
        runner.in_new_process(prediction.train, name, str(workdir))
        one, many = runner.in_new_process(questions, workdir)
        rows: dict[str, dict[str, Any]] = {ITSELF: {}}
        processes = {ITSELF: runner.Process(ITSELF, Exported, ITSELF, workdir, one)}
        refused = []
        for format in formats:
            path = Path(folder, f"{format}{FORMATS[format].suffix}")
            try:
                rows[format] = runner.in_new_process(write, workdir, format, path)
            except InputError as reason:
                refused.append({"model": name, "format": format, "refused": str(reason)})
                continue
            processes[format] = runner.Process(
                format, Exported, format, path, one, KERAS_BACKEND="jax"
            )
        for format, process in processes.items():
            rows[format]["load_seconds"] = process.ask("seconds_to_first")
            process.ask("milliseconds", many)  # Compiles.
        for key, asked in (("one_ms", one * 20), ("thousand_ms", many)):
            ask = {
                format: functools.partial(process.ask, "milliseconds", asked)
                for format, process in processes.items()
            }
            for format, taken in runner.take_turns(ask, rounds).items():
                rows[format][key] = statistics.median(taken) / (20 if key == "one_ms" else 1)
        for process in processes.values():
            process.hang_up()
            process.join()
    return [{"model": name, "format": format, **row} for format, row in rows.items()] + refused


def main() -> None:
    """Measure, print and write."""
    from flax_imdb.export import FORMATS

    parser = runner.Parser(__doc__)
    models = (*ARCHITECTURES, *RECIPES)
    parser.add_argument("--model", type=runner.names(*models), default="lstm,strong")
    parser.add_argument("--format", type=runner.names(*FORMATS), default=",".join(FORMATS))
    parser.add_argument("--rounds", type=runner.at_least(1), default=9)
    options = parser.parse_args()
    rows = []
    for name in options.model:
        for row in measure(name, options.format, options.rounds):
            rows.append(row)
            print(row, flush=True)
    content = {"words": WORDS, "texts": TEXTS, "rounds": options.rounds, "rows": rows}
    runner.write(options.json, content)


if __name__ == "__main__":
    main()
