"""What `flax-imdb verify` takes, and what it finds.

    python benchmarks/verification.py --json benchmarks/results/verification.json

Trains a run on the real reviews, and repeats it: all of it, and its last epoch alone. Then each
alteration is made to a copy of the run, or to its texts, and must be found. Ends with status 1 if
one is not. docs/verify.md shows the results.
"""

import contextlib
import io
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import runner
from faults import write_reviews

from flax_imdb.cli import main as flax_imdb
from flax_imdb.data import DataConfig
from flax_imdb.data.sources import SPLITS, find_source
from flax_imdb.data.sources.imdb_folder import LABELS
from flax_imdb.training import empty_state, saved_arrays
from flax_imdb.training.checkpoint_store import CheckpointStore
from flax_imdb.workdir import Workdir

TRAIN, TEST = 6400, 1600
PLANTED_TRAIN, PLANTED_TEST = 512, 128


def in_json(path: Path, change: Callable[[dict[str, Any]], None], line: int | None = None) -> None:
    """Change an object of a file of JSON, or of one of its lines."""
    lines = [path.read_text()] if line is None else path.read_text().splitlines()
    index = line or 0
    content = json.loads(lines[index])
    change(content)
    lines[index] = json.dumps(content, allow_nan=False)
    path.write_text("".join(f"{line}\n" for line in lines))


def in_checkpoint(run: Path, step: int, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the arrays of a checkpoint, which is then written as if it had always been so."""
    files = Workdir(run)
    config, info = files.config(), files.dataset_info()
    assert config is not None
    assert info is not None
    like = saved_arrays(empty_state(config.state_creator(info.task), config.training.seed))
    store = CheckpointStore(files.checkpoints, lambda steps: steps)
    content, _ = store.read(step)
    state = store.read_state(step, like)
    change(state)
    store.save(step, state, **content)
    store.close()


def flip(array: np.ndarray) -> np.ndarray:
    """The array with the lowest bit of its first number flipped; float32."""
    bits = np.array(array, np.float32).view(np.uint32)
    bits.flat[0] ^= 1
    return bits.view(np.float32)


def set_to(name: str, value: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    """A change of one value of an object."""
    return lambda content: content.update({name: value(content[name])})


def next_digit(number: float) -> float:
    """The next number that can be written."""
    return float(np.nextafter(number, 1))


def steps_of(run: Path) -> list[int]:
    """The steps of the run's checkpoints."""
    return sorted(int(path.name) for path in (run / "checkpoints").glob("[0-9]*"))


def of_parameters(run: Path) -> None:
    """Flip a bit of a parameter in the newest checkpoint."""

    def change(state: dict[str, Any]) -> None:
        state["params"]["head"]["bias"] = flip(state["params"]["head"]["bias"])

    in_checkpoint(run, steps_of(run)[-1], change)


ALTERATIONS: dict[str, Callable[[Path], None]] = {
    "the last digit of a loss in `steps.jsonl`": lambda run: in_json(
        run / "steps.jsonl", set_to("loss", next_digit), line=10
    ),
    "that of a loss in `metrics.jsonl`": lambda run: in_json(
        run / "metrics.jsonl", set_to("eval_loss", next_digit), line=0
    ),
    "the test accuracy in `result.json`": lambda run: in_json(
        run / "result.json", set_to("test_accuracy", lambda accuracy: accuracy + 0.001)
    ),
    "a bit of a parameter, with right checksums": of_parameters,
    "a bit of a checkpoint's file": lambda run: _flip_file(run),
    "the seed in `config.json`": lambda run: in_json(
        run / "config.json",
        lambda config: config["training"].update(seed=config["training"]["seed"] + 1),
    ),
    "the learning rate there": lambda run: in_json(
        run / "config.json", lambda config: config["training"].update(learning_rate=1.001e-3)
    ),
    "the words of two ids, exchanged in `vocabulary.json`": lambda run: in_json(
        run / "vocabulary.json",
        lambda info: info.update(words=[*info["words"][:-2], *info["words"][:-3:-1]]),
    ),
}
"""What is done to a copy of a run, by name."""


def _flip_file(run: Path) -> None:
    folder = run / "checkpoints" / str(steps_of(run)[-1])
    path = max(folder.rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def verify(run: Path, *flags: str) -> dict[str, Any]:
    """Repeat a run: status, what was said, and seconds."""
    out, err = io.StringIO(), io.StringIO()
    start = time.perf_counter()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = flax_imdb(["verify", "--workdir", str(run), *flags])
    said = (err if status == 2 else out).getvalue().strip().splitlines()
    return {"status": status, "said": said[0], "seconds": time.perf_counter() - start}


def train(reviews: Path, run: Path, *flags: str) -> None:
    """Train a run on a folder of reviews."""
    quiet = contextlib.redirect_stdout(io.StringIO())
    with quiet, contextlib.redirect_stderr(io.StringIO()):
        status = flax_imdb(["train", "--data-dir", str(reviews), "--workdir", str(run), *flags])
    assert status == 0


def plant(run: Path, reviews: Path, directory: Path) -> list[dict[str, Any]]:
    """Make each alteration, and verify; a row for each."""
    rows = []
    for name, alter in ALTERATIONS.items():
        copy = directory / "altered"
        shutil.copytree(run, copy)
        alter(copy)
        rows.append({"alteration": name, **verify(copy)})
        print(rows[-1], flush=True)
        shutil.rmtree(copy)
    text = min((reviews / "aclImdb" / "train" / LABELS[0]).glob("*.txt"))
    content = text.read_bytes()
    for name, changed in (("a word more", content + b" very"), ("another row", content[::-1])):
        text.write_bytes(changed)
        rows.append({"alteration": f"{name} in the texts that it was trained on", **verify(run)})
        print(rows[-1], flush=True)
    text.write_bytes(content)
    for row in rows:  # Its directories mean nothing elsewhere.
        row["said"] = row["said"].replace(f"{directory}/", "")
        row["found"] = row["status"] != 0
    return rows


def real_reviews(directory: Path, train: int, test: int) -> Path:
    """A folder of some of the real reviews; every other one is positive."""
    chosen = {}
    for split, number in zip(SPLITS, (train, test), strict=True):
        texts, labels = find_source(DataConfig(dataset="imdb_reviews")).read(split)
        by_label = [
            [text for text, its in zip(texts, labels, strict=True) if its == label]
            for label in (0, 1)
        ]
        order = [0, 1] if LABELS[0] == "neg" else [1, 0]
        pairs = zip(*(by_label[label][: number // 2] for label in order), strict=True)
        chosen[split] = [text for pair in pairs for text in pair]
    return write_reviews(directory, **chosen)


def measure(directory: Path, train_examples: int, test_examples: int) -> dict[str, Any]:
    """How long it takes, of a run on so many reviews."""
    reviews = real_reviews(directory / "timed", train_examples, test_examples)
    run = directory / "run"
    # The first one encodes the texts and compiles.
    train(reviews, directory / "first", "--no-baseline", "--epochs", "1")
    start = time.perf_counter()
    train(reviews, run, "--no-baseline")
    seconds = time.perf_counter() - start
    whole, last = verify(run), verify(run, "--last-epoch")
    epochs = len(Workdir(run).records())
    return {
        "train_examples": train_examples,
        "test_examples": test_examples,
        "epochs": epochs,
        "run_seconds": seconds,
        "whole": whole | {"ratio": whole["seconds"] / seconds},
        "last_epoch": last | {"ratio": last["seconds"] / seconds},
    }


def planted(directory: Path) -> dict[str, Any]:
    """What is found in a short run."""
    reviews = real_reviews(directory / "planted", PLANTED_TRAIN, PLANTED_TEST)
    train(reviews, directory / "short")
    rows = plant(directory / "short", reviews, directory)
    return {"planted_examples": PLANTED_TRAIN, "alterations": rows}


def main() -> None:
    """Measure, and say what was not found."""
    parser = runner.Parser(__doc__)
    parser.add_argument("--train-examples", type=runner.at_least(64), default=TRAIN)
    parser.add_argument("--test-examples", type=runner.at_least(64), default=TEST)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        results = planted(Path(directory))
        results |= measure(Path(directory), options.train_examples, options.test_examples)
    runner.write(options.json, results)
    missed = [row["alteration"] for row in results["alterations"] if not row["found"]]
    missed += [name for name in ("whole", "last_epoch") if results[name]["status"] != 0]
    if missed:
        sys.exit(f"wrong: {', '.join(missed)}")


if __name__ == "__main__":
    main()
