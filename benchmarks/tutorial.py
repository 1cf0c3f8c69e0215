"""The tutorial's seven systems on the real reviews, over several seeds, here and in Keras.

    python benchmarks/tutorial.py             # flax_imdb, on the tutorial's words
    python benchmarks/tutorial.py --text unicode          # on the words of the command's default
    KERAS_BACKEND=tensorflow python benchmarks/tutorial.py --keras --seeds 3

What is finished is not trained again, and a run that was stopped goes on. flax_imdb's seven systems
with five seeds take about an hour on two cores; Keras needs the extra `peers` and three to eleven
minutes a seed. The results are kept in benchmarks/results/tutorial, flax_imdb's by the version of
jax, or in the folder unicode; docs/results.md shows them.
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np
import runner
from peers import ARCHITECTURES

from flax_imdb.data.words import TextRules

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "tutorial"
EPOCHS = 3


def train(arch: str, text: TextRules, seeds: list[int], workdir: Path) -> None:
    """Train with each seed as `train.py --arch ARCH --text TEXT` does, and keep the summary."""
    import flax_imdb
    from flax_imdb.data import DataConfig
    from flax_imdb.models import ModelConfig
    from flax_imdb.training import TrainConfig

    config = flax_imdb.ExperimentConfig(
        model=ModelConfig(arch=arch),
        data=DataConfig(dataset="imdb_reviews", text=text),
        training=TrainConfig(epochs=EPOCHS, seed=seeds[0]),
        runs=len(seeds),
    )
    release = ".".join(jax.__version__.split(".")[:2])
    folder = f"jax-{release}" if text == "keras" else text
    summary = flax_imdb.train(config, workdir / folder / arch, resume=True)
    runner.write(RESULTS / folder / f"{arch}.json", dataclasses.asdict(summary))


def train_keras(arch: str, seeds: list[int]) -> None:
    """Train Keras's model as the tutorial does: `fit` on rows padded at the front, three epochs."""
    import keras
    from peers import Task
    from peers.keras import Peer, build

    from flax_imdb.data import Batching, DataConfig, Examples, Planned, load_dataset

    task = Task(arch, "cpu")
    config = DataConfig(
        dataset="imdb_reviews",
        text="keras",
        vocab_size=task.vocab_size,
        max_length=task.max_length,
    )
    dataset = load_dataset(config)

    def padded(examples: Examples) -> tuple[np.ndarray, np.ndarray]:
        batching = Batching(len(examples), task.max_length, padding="keras")
        batch = batching.make(examples, Planned(np.arange(len(examples)), task.max_length))
        return batch["tokens"], batch["labels"]

    train, test = padded(dataset.train), padded(dataset.test)
    path = RESULTS / "keras" / f"{arch}.json"
    done: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"seeds": []}
    for seed in seeds:
        if seed in done["seeds"]:
            continue
        keras.utils.set_random_seed(seed)
        model = build(task)
        model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
        start = time.perf_counter()
        model.fit(*train, epochs=EPOCHS, batch_size=task.batch_size, verbose=2)
        seconds = time.perf_counter() - start
        loss, accuracy = model.evaluate(*test, batch_size=task.batch_size, verbose=0)
        of_seed = {
            "seeds": seed,
            "test_accuracies": float(accuracy),
            "test_losses": float(loss),
            "train_seconds": seconds,
        }
        done |= {name: [*done.get(name, []), value] for name, value in of_seed.items()}
        done |= {"arch": arch, "epochs": EPOCHS}
        done["versions"] = Peer(task).versions() | {"numpy": np.__version__}
        runner.write(path, done)


def main() -> None:
    """Train what is asked for and is not finished."""
    parser = runner.Parser(__doc__, json=False)
    archs = runner.names(*ARCHITECTURES)
    parser.add_argument("--arch", type=archs, default=",".join(ARCHITECTURES))
    parser.add_argument("--seeds", type=runner.at_least(1), default=5, help="how many, from 1 on")
    parser.add_argument("--text", choices=get_args(TextRules), default="keras")
    parser.add_argument("--keras", action="store_true", help="train Keras's models instead")
    parser.add_argument("--workdir", type=Path, default=ROOT / "runs" / "tutorial")
    options = parser.parse_args()
    seeds = list(range(1, options.seeds + 1))
    for arch in options.arch:
        if options.keras:
            train_keras(arch, seeds)
        else:
            train(arch, options.text, seeds, options.workdir)


if __name__ == "__main__":
    main()
