"""Time from the start of the process to the end of the first training step, and where it goes.

    python benchmarks/first_step.py --arch lstm,bilstm --json FILE

Each architecture is started from nothing (empty caches: the reviews are encoded, all is compiled)
and then again from what that left. The reviews are the real ones, of $TFDS_DATA_DIR.
"""

import os
import statistics
import tempfile
import time
from typing import Any

import runner
from peers import ARCHITECTURES

WARM_STARTS = 3


def start(arch: str, began: float) -> dict[str, float]:
    """Do what the command does up to a first step; seconds since `began` after each stage."""
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)  # Another cache.
    stages = {}

    def done(stage: str) -> None:
        stages[stage] = time.time() - began

    import jax

    from flax_imdb import cli  # noqa: F401 (the command imports it)
    from flax_imdb.config import ExperimentConfig
    from flax_imdb.data import DataConfig, load_dataset
    from flax_imdb.devices import select_devices
    from flax_imdb.models import ModelConfig
    from flax_imdb.tuning import tune_process

    done("imports")
    config = ExperimentConfig(model=ModelConfig(arch), data=DataConfig("imdb_reviews"))
    tune_process()
    devices = select_devices("auto", config.training.batch_size)
    done("devices")
    dataset = load_dataset(config.data)
    done("reviews")
    trainer = config.trainer(devices)
    state = trainer.place(config.create_state())
    jax.block_until_ready(state.params)
    done("parameters")
    plan = trainer.batching.plan_epoch(dataset.train, seed=config.training.seed, epoch=1)
    for _, metrics in trainer.steps(state, dataset.train, plan[:1]):
        jax.device_get(metrics)
    done("first step")
    return stages


def start_from(cache: str, arch: str) -> Any:
    """`start` in a process of its own, with its caches in that directory."""
    return runner.in_new_process(start, arch, time.time(), FLAX_IMDB_CACHE=cache)


def main() -> None:
    """Measure, print and write."""
    parser = runner.Parser(__doc__)
    parser.add_argument("--arch", type=runner.names(*ARCHITECTURES), default="lstm")
    options = parser.parse_args()
    rows = []
    for arch in options.arch:
        with tempfile.TemporaryDirectory() as cache:
            nothing = start_from(cache, arch)
            starts = [start_from(cache, arch) for _ in range(WARM_STARTS)]
        warm = {stage: statistics.median(one[stage] for one in starts) for stage in nothing}
        for caches, stages in (("empty", nothing), ("warm", warm)):
            rows.append({"arch": arch, "caches": caches, "seconds": stages})
            print(arch, caches, {stage: round(seconds, 2) for stage, seconds in stages.items()})
    runner.write(options.json, {"warm_starts": WARM_STARTS, "rows": rows})


if __name__ == "__main__":
    main()
