"""The tutorial's seven systems on the real reviews: trains them, and makes docs/results.md.

`python benchmarks/tutorial.py` trains those that are not finished under --workdir (about half an
hour on two cores) as the command does by default, keeps each result.json under
benchmarks/results/tutorial and writes the table. `--table-only` writes the table alone.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "tutorial"
TABLE = ROOT / "docs" / "results.md"

# Printed accuracy and time of a step in milliseconds. Source: "Sequence Classification with LSTM
# Recurrent Neural Networks in Python with Keras", machinelearningmastery.com.
TUTORIAL = {
    "lstm": ("86.83 %", "316 - 323"),
    "lstm_dropout": ("85.66 %", "297 - 346"),
    "lstm_recurrent_dropout": ("86.78 %", "560"),
    "reversed_lstm": ("named, not run", ""),
    "bilstm": ("87.69 %", "about 1,000"),
    "conv_lstm": ("88.45 %", "163 - 188"),
    "conv_lstm_dropout": ("named, not run", ""),
}


def train_all(workdir: Path) -> None:
    """Train what is not finished, one after the other, and keep the results."""
    from flax_imdb import ExperimentConfig, train
    from flax_imdb.data import DataConfig
    from flax_imdb.models import ModelConfig

    RESULTS.mkdir(parents=True, exist_ok=True)
    for arch in TUTORIAL:
        config = ExperimentConfig(
            model=ModelConfig(arch=arch), data=DataConfig(dataset="imdb_reviews")
        )
        train(config, workdir / arch, resume=True)
        shutil.copy(workdir / arch / "result.json", RESULTS / f"{arch}.json")


def table(results: list[dict[str, Any]]) -> str:
    """The page, made of result.json files alone."""
    first = results[0]
    lines = [
        "# Results",
        "",
        "<!-- Written by benchmarks/tutorial.py from benchmarks/results/tutorial: do not edit. -->",
        "",
        f"All seven architectures on the {first['train_examples']:,} training and "
        f"{first['test_examples']:,} test reviews of IMDB as `python train.py --arch ARCH` trains "
        f"them: {first['epochs']} epochs, batch {first['batch_size']}, seed {first['seed']}, "
        f"`--padding {first['padding']}`, {first['precision']}. "
        f"Trained on {first['devices']} {first['device'].upper()} device of a machine with "
        f"{first['cpus']} cores.",
        "",
        "| `--arch` | test accuracy | tutorial's | test loss | training, s | of it compiling, s "
        "| step, ms | tutorial's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        accuracy, step = TUTORIAL[result["arch"]]
        lines.append(
            f"| `{result['arch']}` | {result['test_accuracy']:.2%} | {accuracy} "
            f"| {result['test_loss']:.4f} | {result['train_seconds']:.0f} "
            f"| {result['compile_seconds']:.0f} | {result['step_ms_median']:.0f} | {step} |"
        )
    versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
    lines += [
        "",
        "One seed each: LSTMs after three epochs differ by points from seed to seed "
        "(`--runs 5` shows by how much), so neither column ranks the architectures. "
        "The tutorial computes 500 tokens for every review; here a step's length varies, and its "
        "time is the median over an epoch's batches. The tutorial's times are of another machine. "
        "Other work shared the cores while these runs "
        "went on, so their times are upper bounds: benchmarks/step_time.py measures properly.",
        "",
        f"Versions: {versions}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Train unless told not to, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, default=ROOT / "runs" / "tutorial")
    parser.add_argument("--table-only", action="store_true")
    options = parser.parse_args()
    if not options.table_only:
        train_all(options.workdir)
    results = [json.loads((RESULTS / f"{arch}.json").read_text()) for arch in TUTORIAL]
    TABLE.write_text(table(results))


if __name__ == "__main__":
    main()
