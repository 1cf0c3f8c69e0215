"""The tutorial's seven systems on the real reviews, over several seeds, here and in Keras.

    python benchmarks/tutorial.py             # flax_imdb, as the command trains by default
    KERAS_BACKEND=tensorflow python benchmarks/tutorial.py --keras --seeds 3
    python benchmarks/tutorial.py --page      # docs/results.md, from the results

`--arch lstm,bilstm` trains these alone. What is finished is not trained again, and a run that was
stopped goes on. flax_imdb's seven systems with five seeds take about an hour on two cores; Keras
needs the extra `peers` and three to eleven minutes a seed. The results are kept in
benchmarks/results/tutorial, flax_imdb's by the version of jax.
"""

import argparse
import dataclasses
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tables import ROOT, load, markdown, versions

RESULTS = ROOT / "benchmarks" / "results" / "tutorial"
PAGE = ROOT / "docs" / "results.md"

# Accuracy as printed, and milliseconds of a step. Source: "Sequence Classification with LSTM
# Recurrent Neural Networks in Python with Keras", machinelearningmastery.com.
PRINTED = {
    "lstm": ("86.83", "316 - 323"),
    "lstm_dropout": ("85.66", "297 - 346"),
    "lstm_recurrent_dropout": ("86.78", "560"),
    "reversed_lstm": ("", ""),
    "bilstm": ("87.69", "about 1,000"),
    "conv_lstm": ("88.45", "163 - 188"),
    "conv_lstm_dropout": ("", ""),
}
EPOCHS = 3


def train(arch: str, seeds: list[int], workdir: Path) -> None:
    """Train with each seed as `train.py --arch ARCH` does, and keep the summary."""
    import flax_imdb
    from flax_imdb.data import DataConfig
    from flax_imdb.models import ModelConfig
    from flax_imdb.training import TrainConfig

    config = flax_imdb.ExperimentConfig(
        model=ModelConfig(arch=arch),
        data=DataConfig(dataset="imdb_reviews"),
        training=TrainConfig(epochs=EPOCHS, seed=seeds[0]),
        runs=len(seeds),
    )
    release = ".".join(jax.__version__.split(".")[:2])
    summary = flax_imdb.train(config, workdir / f"jax-{release}" / arch, resume=True)
    content = {**dataclasses.asdict(summary), "cpus": os.cpu_count()}
    write(RESULTS / f"jax-{release}" / f"{arch}.json", content)


def train_keras(arch: str, seeds: list[int]) -> None:
    """Train Keras's model as the tutorial does: `fit` on rows padded at the front, three epochs."""
    import keras
    from peers import Task
    from peers.keras import Peer, build

    from flax_imdb.data import Batching, DataConfig, Examples, Planned, load_dataset

    task = Task(arch, "cpu")
    config = DataConfig(
        dataset="imdb_reviews", vocab_size=task.vocab_size, max_length=task.max_length
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
        done |= {"arch": arch, "epochs": EPOCHS, "cpus": os.cpu_count()}
        done["versions"] = Peer(task).versions() | {"numpy": np.__version__}
        write(path, done)


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a file of results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def spread(accuracies: list[float]) -> str:
    """Mean and standard deviation of accuracies, in %."""
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    return f"{100 * statistics.mean(accuracies):.2f} ± {100 * deviation:.2f}"


def each(accuracies: list[float]) -> str:
    """The accuracy of each seed, in %."""
    return " ".join(f"{100 * accuracy:.2f}" for accuracy in accuracies)


def results(folder: str) -> dict[str, Any]:
    """What is in a folder of results, by architecture, in the tutorial's order."""
    return {
        arch: load(f"tutorial/{folder}/{arch}.json")
        for arch in PRINTED
        if (RESULTS / folder / f"{arch}.json").exists()
    }


def releases() -> list[str]:
    """The folders with flax_imdb's results, the oldest version of jax first."""
    return sorted(path.name for path in RESULTS.glob("jax-*"))


def accuracies() -> list[str]:
    """A row for each architecture: here, as printed, in Keras."""
    keras = results("keras")
    rows = []
    for arch, ours in results(releases()[0]).items():
        rows.append([f"`{arch}`", f"**{spread(ours['test_accuracies'])}**"])
        rows[-1] += [each(ours["test_accuracies"]), PRINTED[arch][0]]
        theirs = keras.get(arch, {}).get("test_accuracies")
        rows[-1] += [spread(theirs), each(theirs)] if theirs else ["", ""]
    heads = ["test accuracy, %", "each seed", "printed", "Keras", "each seed"]
    return markdown(["", *heads], rows)


def below() -> str:
    """A sentence that names the means below a figure that they are compared with."""
    keras = results("keras")
    lines = []
    for arch, ours in results(releases()[0]).items():
        mean = 100 * statistics.mean(ours["test_accuracies"])
        figures = {"the printed figure": PRINTED[arch][0]}
        if arch in keras:
            theirs = 100 * statistics.mean(keras[arch]["test_accuracies"])
            figures["Keras's mean"] = f"{theirs:.2f}"
        lines += [
            f"`{arch}` is {float(figure) - mean:.2f} points below {name}"
            for name, figure in figures.items()
            if figure and mean < float(figure)
        ]
    if not lines:
        return "No mean is below a figure that it is compared with."
    return f"Of the means here {'; '.join(lines)}; no other is below a figure beside it."


def other_releases() -> list[str]:
    """The same with other versions of jax, which round differently."""
    lines = []
    for release in releases()[1:]:
        here = results(release)
        rows = [
            [f"`{arch}`", f"**{spread(ours['test_accuracies'])}**", each(ours["test_accuracies"])]
            for arch, ours in here.items()
        ]
        lines += [f"With {versions(next(iter(here.values())))}:", ""]
        lines += markdown(["", "test accuracy, %", "each seed"], rows)
    return lines


def times() -> list[str]:
    """A row for each architecture: how long a run and a step take."""
    keras = results("keras")
    rows = []
    for arch, ours in results(releases()[0]).items():
        seconds, step = statistics.mean(ours["train_seconds"]), ours["step_ms_median"]
        theirs = keras.get(arch, {}).get("train_seconds")
        rows.append([f"`{arch}`", f"{seconds:.0f}", f"{step:.0f}", PRINTED[arch][1]])
        rows[-1].append(f"{statistics.mean(theirs):.0f}" if theirs else "")
    return markdown(["", "training, s", "step, ms", "printed", "Keras, training, s"], rows)


def page() -> str:
    """The page, made of committed results alone."""
    first = next(iter(results(releases()[0]).values()))
    missing = [f"`{arch}`" for arch in PRINTED if arch not in results(releases()[0])]
    lines = [
        "# Results",
        "",
        "<!-- Written by benchmarks/tutorial.py from benchmarks/results/tutorial: do not edit. -->",
        "",
        "The tutorial's architectures, each trained on all 25,000 training reviews of IMDB as "
        f"`python train.py --arch ARCH --runs {first['runs']} --seed {first['seeds'][0]}` does: "
        f"{first['epochs']} epochs, `--padding {first['padding']}`, {first['precision']}, on "
        f"{first['devices']} devices of a machine with {first['cpus']} cores. Accuracy on the "
        "25,000 test reviews after the last epoch, mean ± standard deviation over the seeds; "
        "the test split chose nothing. *Printed* is the tutorial's own figure, of one run each. "
        "*Keras* is the tutorial's model trained in its way (padded at the front to 500 words, "
        "`fit`, three epochs) on the same reviews and words"
        + "".join(f", with {versions(theirs)}" for theirs in [*results("keras").values()][:1])
        + ".",
        "",
        *accuracies(),
        below(),
        "",
        f"Here with {versions(first)}.",
        "",
        *([f"Not trained yet with several seeds: {', '.join(missing)}.", ""] if missing else []),
        *other_releases(),
        "## Time",
        "",
        "Seconds of a run's three epochs, evaluation apart, and the median milliseconds of a step. "
        "Other work shared the cores while these runs went on, so they are upper bounds: "
        "[speed](speed.md) measures properly.",
        "",
        *times(),
    ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Train what is asked for and is not finished, or make the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", default=",".join(PRINTED))
    parser.add_argument("--seeds", type=int, default=5, help="so many, from 1 on")
    parser.add_argument("--keras", action="store_true", help="train Keras's models instead")
    parser.add_argument("--workdir", type=Path, default=ROOT / "runs" / "tutorial")
    parser.add_argument("--page", action="store_true", help="make the page alone")
    options = parser.parse_args()
    seeds = list(range(1, options.seeds + 1))
    for arch in [] if options.page else options.arch.split(","):
        if options.keras:
            train_keras(arch, seeds)
        else:
            train(arch, seeds, options.workdir)
    if options.page:
        PAGE.write_text(page())


if __name__ == "__main__":
    main()
