"""Files of the shapes of well-known datasets, with a rule that a model can learn.

    python benchmarks/own_data.py --json benchmarks/results/own_data.json
    python benchmarks/own_data.py --recipe strong --only "AG News,Amazon reviews"

Each text says "the plot was A to begin with, but all in all it was B", or the same the other way
round. A and B are words for two classes, and B decides: the words alone do not tell, their order
does. One label in twenty is wrong, so no model can be right more often than the rule. The command
trains on each file as by default or by a recipe, but for longer, since there are few texts.
docs/own_data.md shows the results. Takes four to eight minutes on two cores.
"""

import dataclasses
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dataset_shapes
import numpy as np
import runner
from rich.console import Console

import flax_imdb
from flax_imdb.config import RECIPES
from flax_imdb.data import DataConfig
from flax_imdb.data.sources import find_source
from flax_imdb.tuning import tune_process
from flax_imdb.workdir import Workdir

ROWS = 4_000
WRONG = 0.05
FILLER = (
    *("story", "plot", "sound", "price", "cast", "colour", "service", "book", "place", "idea"),
    *("cover", "taste", "screen", "song", "end", "start", "room", "staff", "design", "voice"),
)

# The class that decides.
_MEANT = re.compile(r"all in all it was class(\d+)like")

Writer = Callable[[Path, Sequence[str], Sequence[Any]], Path]


def hugging_face(directory: Path, texts: Sequence[str], labels: Sequence[Any]) -> Path:
    """A Parquet file with the names of its classes."""
    names = sorted(set(labels))
    return dataset_shapes.write_hugging_face(
        directory, texts, [names.index(label) for label in labels], names
    )


@dataclasses.dataclass(frozen=True)
class Shape:
    """A dataset's shape.

    Attributes:
      name: of the dataset.
      labels: its labels, in the order of the classes.
      write: writes a file of its shape.
      settings: what a person has to say to have it read.
      epochs: to train for. Of many classes each has few texts, and takes longer to learn.
    """

    name: str
    labels: tuple[str, ...]
    write: Writer
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    epochs: int = 10


SENTIMENT140 = "target,ids,date,flag,user,text"
SHAPES = (
    Shape("IMDB Dataset.csv (Kaggle)", ("negative", "positive"), dataset_shapes.write_imdb),
    Shape(
        "AG News",
        ("1", "2", "3", "4"),
        dataset_shapes.write_ag_news,
        {"columns": "label,title,text"},
    ),
    Shape(
        "Yelp polarity", ("1", "2"), dataset_shapes.write_yelp_polarity, {"columns": "label,text"}
    ),
    Shape(
        "Sentiment140",
        ("0", "4"),
        dataset_shapes.write_sentiment140,
        {"columns": SENTIMENT140, "encoding": "latin-1"},
    ),
    Shape("SST-2", ("0", "1"), dataset_shapes.write_sst2),
    Shape(
        "Amazon reviews",
        ("1", "2", "3", "4", "5"),
        dataset_shapes.write_amazon,
        {"text_columns": "reviewText"},
    ),
    Shape(
        "DBpedia",
        tuple(map(str, range(1, 15))),
        dataset_shapes.write_dbpedia,
        {"columns": "label,title,content"},
        epochs=20,
    ),
    Shape("Hugging Face Parquet", ("neg", "neu", "pos"), hugging_face),
    Shape("rotten tomatoes (folders)", ("neg", "pos"), dataset_shapes.write_folder),
)


def generate(labels: Sequence[str], rows: int) -> tuple[list[str], list[str]]:
    """Texts, and the label of each: for any labels, the same for the same number of them."""
    rng = np.random.default_rng(len(labels))
    texts, written = [], []
    for _ in range(rows):
        other, decides = rng.choice(len(labels), 2, replace=False)
        first, second, *more = rng.choice(FILLER, 7, replace=False)
        said = f"the {first} was class{other}like"
        meant = f"all in all it was class{decides}like"
        if rng.random() < 0.5:
            text = f"Well, {said} to begin with, but {meant} for a {second}."
        else:
            text = f"Well, {meant} for a {second}, although {said} to begin with."
        text += f" I mean {', '.join(more)}."
        right = rng.random() >= WRONG
        label = decides if right else rng.choice([i for i in range(len(labels)) if i != decides])
        texts.append(text)
        written.append(labels[label])
    return texts, written


def rule_accuracy(data: DataConfig) -> float:
    """How often the rule is right on the texts that are tested on."""
    texts, numbers = find_source(data).read("test")
    meant = [int(number) for (number,) in map(_MEANT.findall, texts)]
    return float(np.mean(meant == numbers))


def measure(
    shape: Shape, rows: int, epochs: int, directory: Path, base: flax_imdb.ExperimentConfig
) -> dict[str, Any]:
    """Train on a file of this shape, with the settings of `base`."""
    texts, labels = generate(shape.labels, rows)
    file = str(shape.write(directory, texts, labels))
    data = dataclasses.replace(base.data, dataset=file, **shape.settings)
    training = dataclasses.replace(base.training, epochs=epochs)
    config = dataclasses.replace(base, data=data, training=training)
    workdir = directory / "run"
    start = time.perf_counter()
    result = flax_imdb.train(config, workdir, console=Console(quiet=True))
    seconds = time.perf_counter() - start
    return {
        "shape": shape.name,
        "rows": rows,
        "classes": len(shape.labels),
        "epochs": epochs,
        "seconds": seconds,
        "rule_accuracy": rule_accuracy(data),
        "test_accuracy": result.test_accuracy,
        "test_accuracies": [record.eval_accuracy for record in Workdir(workdir).records()],
        "baseline_accuracy": result.baseline_accuracy,
    }


def main() -> None:
    """Train on each shape."""
    parser = runner.Parser(__doc__)
    parser.add_argument("--rows", type=runner.at_least(100), default=ROWS)
    names = [shape.name for shape in SHAPES]
    parser.add_argument("--only", type=runner.names(*names), default=",".join(names))
    parser.add_argument("--epochs", type=runner.at_least(1), help="for each (default: its own)")
    parser.add_argument("--recipe", choices=list(RECIPES), help="its settings (default: none)")
    options = parser.parse_args()
    base = flax_imdb.recipe(options.recipe) if options.recipe else flax_imdb.ExperimentConfig()
    tune_process()
    rows = []
    for shape in (shape for shape in SHAPES if shape.name in options.only):
        with tempfile.TemporaryDirectory() as directory:
            epochs = options.epochs or shape.epochs
            rows.append(measure(shape, options.rows, epochs, Path(directory), base))
        print(*rows[-1].values(), sep="  ", flush=True)
        runner.write(options.json, {"wrong_labels": WRONG, "rows": rows})


if __name__ == "__main__":
    main()
