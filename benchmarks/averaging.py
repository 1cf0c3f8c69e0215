"""What averaging the parameters gains, on rows held out of train.

    python benchmarks/averaging.py --json benchmarks/results/averaging.json

Trains on 20,000 reviews and validates on the other 5,000 after each epoch, once with the parameters
of the last step and once with each average of them. The test split is not looked at.
docs/results.md shows the results. Takes half an hour on two cores.
"""

from typing import Any

import jax
import runner
from peers import ARCHITECTURES

from flax_imdb.config import ExperimentConfig
from flax_imdb.data import DataConfig, Dataset, load_dataset
from flax_imdb.devices import select_devices
from flax_imdb.models import ModelConfig
from flax_imdb.training import TrainConfig, average_params
from flax_imdb.tuning import tune_process

VALIDATION_EXAMPLES = 5_000
POWERS = (0.0, 1.0, 3.0, 8.0, 16.0)


def validate(config: ExperimentConfig, dataset: Dataset) -> list[dict[str, Any]]:
    """For each epoch the accuracy on the validation rows, with each average and with none."""
    devices = select_devices("cpu", config.training.batch_size)
    trainer = config.trainer(devices)
    state = trainer.place(config.create_state())
    averages = {power: average_params(power) for power in POWERS}
    kept = {power: average.init(state.params) for power, average in averages.items()}
    kept = jax.tree.map(jax.numpy.copy, kept)  # The state's own buffers are donated.

    @jax.jit
    def average(kept: Any, params: Any) -> Any:
        still = jax.tree.map(jax.numpy.zeros_like, params)
        return {
            power: averages[power].update(still, state, params)[1] for power, state in kept.items()
        }

    records = []
    for epoch in range(1, config.training.epochs + 1):
        plan = trainer.batching.plan_epoch(dataset.train, seed=config.training.seed, epoch=epoch)
        steps = trainer.steps(state, dataset.train, plan)
        for state, _ in steps:
            kept = average(kept, state.params)
        of_epoch = {"last": trainer.evaluate(state, dataset.validation)[1]}
        for power in POWERS:
            averaged = state.replace(params=kept[power].average)
            of_epoch[f"{power:g}"] = trainer.evaluate(averaged, dataset.validation)[1]
        records.append({"epoch": epoch, "validation_accuracy": of_epoch})
    return records


def main() -> None:
    """Train each architecture with each seed."""
    parser = runner.Parser(__doc__)
    archs = "lstm,lstm_recurrent_dropout,bilstm,conv_lstm"
    parser.add_argument("--arch", type=runner.names(*ARCHITECTURES), default=archs)
    parser.add_argument("--seeds", type=int, default=2, help="how many, from 1 on")
    options = parser.parse_args()
    tune_process()
    data = DataConfig(dataset="imdb_reviews", text="keras", validation_examples=VALIDATION_EXAMPLES)
    dataset = load_dataset(data)
    rows = []
    for arch in options.arch:
        for seed in range(1, options.seeds + 1):
            config = ExperimentConfig(
                model=ModelConfig(arch), data=data, training=TrainConfig(seed=seed, averaging=None)
            )
            rows += [{"arch": arch, "seed": seed, **record} for record in validate(config, dataset)]
            runner.write(options.json, {"rows": rows})


if __name__ == "__main__":
    main()
