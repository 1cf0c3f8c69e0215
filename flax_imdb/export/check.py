"""Whether an exported file answers as the model does, asked in a new process.

    python -m flax_imdb.export.check MODULE FORMAT PATH QUESTIONS ANSWERS

imports the module of the architecture, reads an exported file and answers the batches of a file of
NumPy arrays. `check` runs that.
"""

import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from flax_imdb.data import Batching, DataConfig, Examples, Planned, Standardizer, inputs_of
from flax_imdb.data.tokenizer import PAD, START, UNKNOWN
from flax_imdb.environment import fixed_settings
from flax_imdb.errors import InputError
from flax_imdb.export.formats import FORMATS
from flax_imdb.export.network import function
from flax_imdb.models import ARCHITECTURES
from flax_imdb.predict import TrainedModel

TOLERANCE = 1e-5
"""The greatest difference of a probability."""

Answer = Callable[[np.ndarray, Int[np.ndarray, " batch"]], Float[np.ndarray, "batch classes"]]
"""What reading an exported file returns: from the inputs of `Question` to probabilities."""


class Question(NamedTuple):
    """A batch to classify.

    Attributes:
      inputs: int32 ids; or numeric sequences, float32.
      lengths: int32; see `facts` for what they count.
    """

    inputs: Int[np.ndarray, "batch time"] | Float[np.ndarray, "batch time features"]
    lengths: Int[np.ndarray, " batch"]


def questions(model: TrainedModel, texts: int = 100, *, lengths: bool = True) -> list[Question]:
    """Batches of random words that the model knows, and of some that it does not.

    Of a model of numeric sequences they are random steps, scaled as those of the training. Among
    the texts are one without any token, one with one, one that is longer than the model reads, and
    one that consists of padding. Batches have different sizes and padded lengths.

    Args:
      model: the model.
      texts: their number.
      lengths: whether lengths tell what is padding. Otherwise ids do, and the text that consists of
        padding has no token.
    """
    rng = np.random.default_rng(0)
    longest = model.config.data.longest
    sizes = np.minimum(longest, rng.geometric(1 / 50, texts))
    sizes[:5] = (longest, 1, 0, min(5, longest) if lengths else 0, min(2, longest))
    if isinstance(model.info.inputs, Standardizer):
        rows = [_random_steps(rng, model.info.inputs, length) for length in sizes]
    else:
        rows = [_random_words(rng, len(model.vocabulary), length) for length in sizes]
        rows[3][:] = PAD
    examples = Examples.build(rows, np.zeros(texts))
    return [
        _batch(examples, indices, model.config.data)
        for indices in np.split(np.arange(texts), [1, 2, 3, 10])
    ]


def _random_words(rng: np.random.Generator, words: int, length: int) -> np.ndarray:
    row = rng.integers(UNKNOWN, max(words, UNKNOWN + 1), length, dtype=np.int32)
    row[:1] = START
    return row


def _random_steps(rng: np.random.Generator, standardizer: Standardizer, length: int) -> np.ndarray:
    steps = rng.normal(standardizer.mean, standardizer.scale, (length, standardizer.features))
    return steps.astype(np.float32)


def _batch(examples: Examples, indices: Int[np.ndarray, " rows"], data: DataConfig) -> Question:
    """Some of the examples, padded to the longest and at least to one step."""
    in_front = data.padding == "keras"
    time = data.max_length if in_front else max(1, int(examples.lengths[indices].max()))
    batching = Batching(len(indices), data.max_length, data.padding)
    batch = batching.make(examples, Planned(indices, time))
    return Question(inputs_of(batch), batch["lengths"])


def answers_of(model: TrainedModel) -> Answer:
    """How the model answers, in float32, even if it was trained in bfloat16."""
    apply, variables = function(model)
    compiled = jax.jit(apply)

    @fixed_settings()
    def answer(inputs: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        with jax.default_matmul_precision("highest"):  # Accelerators would round otherwise.
            return np.asarray(compiled(variables, inputs, lengths))

    return answer


def check(model: TrainedModel, format: str, path: Path) -> float:
    """Compare the answers of an exported file, read in a new process, with those of the model.

    Args:
      model: the model.
      format: that of the file.
      path: the file, or the directory.

    Returns:
      The greatest difference of a probability.

    Raises:
      InputError: it is above `TOLERANCE`, or the file cannot be read.
    """
    asked = questions(model, lengths=FORMATS[format].lengths)
    with tempfile.TemporaryDirectory() as directory:
        given, taken = Path(directory) / "questions.npz", Path(directory) / "answers.npz"
        paths = [os.fspath(path) for path in sys.path if path]
        # The one that registered it, if it is the user's own.
        module = ARCHITECTURES[model.config.model.arch].__module__
        np.savez(given, *(array for question in asked for array in question))
        done = subprocess.run(
            # Not from the current directory, whose files may have the names of libraries.
            [sys.executable, "-P", "-m", __name__, module, format, path.absolute(), given, taken],
            # This process has the accelerator's memory.
            env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != 0:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise InputError(f"`format` {format}: what was written cannot be read again: {last}")
        expected = answers_of(model)
        with np.load(taken) as answers:
            difference = max(
                float(np.max(np.abs(answers[f"arr_{number}"] - expected(*question))))
                for number, question in enumerate(asked)
            )
    if not difference <= TOLERANCE:
        raise InputError(
            f"`format` {format}: what was written answers otherwise than the model, by "
            f"{difference:.1e}"
        )
    return difference


def main(module: str, format: str, path: str, given: str, taken: str) -> None:
    """Answer questions with an exported file; see the module."""
    if module != "__main__":
        importlib.import_module(module)
    read: Callable[[Path], Answer] = importlib.import_module(f"flax_imdb.export.{format}").read
    apply = read(Path(path))
    with np.load(given) as arrays:
        batches = [arrays[f"arr_{number}"] for number in range(len(arrays))]
    pairs = zip(batches[::2], batches[1::2], strict=True)
    np.savez(taken, *(apply(inputs, lengths) for inputs, lengths in pairs))


if __name__ == "__main__":
    main(*sys.argv[1:])
