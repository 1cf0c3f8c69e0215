"""How far counting words gets on the synthetic reviews, beside which an LSTM's accuracy is read.

    python benchmarks/synthetic_ceiling.py --json benchmarks/results/synthetic_ceiling.json

Fits logistic regression on the counts of words, and on those of words and of pairs of neighbours.
How strongly to hold the weights down is chosen on rows held out of train; the accuracy is that on
test. Takes a minute or two on one core.
"""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import runner

from flax_imdb.data import split_words
from flax_imdb.data.sources import synthetic

EPOCHS, BATCH_SIZE, LEARNING_RATE = 10, 500, 0.01
PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
VALIDATION_EXAMPLES = 5_000
LEAST_FREQUENT = 5  # A feature that occurs less often in train is left out.


def features(texts: list[str], longest: int) -> list[list[str]]:
    """All runs of 1 to `longest` neighbouring words of each review."""
    found = []
    for text in texts:
        words = split_words(text, "keras")
        shifted = [words[start:] for start in range(longest)]
        found.append(
            [
                " ".join(run)
                for n in range(1, longest + 1)
                for run in zip(*shifted[:n], strict=False)
            ]
        )
    return found


def encode(reviews: list[list[str]], ids: dict[str, int]) -> np.ndarray:
    """Ids of the known features of each review, filled up on the right with `len(ids)`."""
    rows = [[ids[feature] for feature in review if feature in ids] for review in reviews]
    encoded = np.full((len(rows), max(map(len, rows))), len(ids), np.int32)
    for row, known in zip(encoded, rows, strict=True):
        row[: len(known)] = known
    return encoded


def scores(parameters: optax.Params, ids: jax.typing.ArrayLike) -> jax.Array:
    """Log odds that each review is positive."""
    weights = parameters["weights"].at[ids].get(mode="fill", fill_value=0)
    return weights.sum(axis=1) + parameters["bias"]


def fit(ids: np.ndarray, labels: np.ndarray, size: int, penalty: float) -> optax.Params:
    """Fits the weights of `size` features by Adam, its rate falling to 0."""
    steps = EPOCHS * (len(ids) // BATCH_SIZE)
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps))

    def loss(parameters: optax.Params, ids: jax.Array, labels: jax.Array) -> jax.Array:
        losses = optax.sigmoid_binary_cross_entropy(scores(parameters, ids), labels)
        return losses.mean() + penalty / 2 * jnp.sum(parameters["weights"] ** 2)

    @jax.jit
    def step(
        parameters: optax.Params, state: optax.OptState, ids: jax.Array, labels: jax.Array
    ) -> tuple[optax.Params, optax.OptState]:
        gradients = jax.grad(loss)(parameters, ids, labels)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(parameters, updates), state

    parameters = {"weights": jnp.zeros(size), "bias": jnp.zeros(())}
    state = optimizer.init(parameters)
    rng = np.random.default_rng(0)
    for _ in range(EPOCHS):
        order = rng.permutation(len(ids))
        for start in range(0, len(ids) - BATCH_SIZE + 1, BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            parameters, state = step(parameters, state, ids[rows], labels[rows])
    return parameters


def accuracy(parameters: optax.Params, ids: np.ndarray, labels: np.ndarray) -> float:
    """Share of the reviews that are on the right side."""
    return float(np.mean((np.asarray(scores(parameters, ids)) > 0) == labels))


def measure(longest: int) -> dict[str, float | int | str]:
    """Fits runs of up to `longest` words and returns a row of the results."""
    train_texts, train_labels = synthetic.generate("train")
    test_texts, test_labels = synthetic.generate("test")
    train_features = features(train_texts, longest)
    counts = Counter(feature for review in train_features for feature in review)
    frequent = sorted(feature for feature, count in counts.items() if count >= LEAST_FREQUENT)
    ids = {feature: index for index, feature in enumerate(frequent)}
    train = encode(train_features, ids)

    held_out, fitted = np.split(np.arange(len(train)), [VALIDATION_EXAMPLES])
    validation = {
        penalty: accuracy(
            fit(train[fitted], train_labels[fitted], len(ids), penalty),
            train[held_out],
            train_labels[held_out],
        )
        for penalty in PENALTIES
    }
    penalty = max(validation, key=lambda penalty: validation[penalty])
    parameters = fit(train, train_labels, len(ids), penalty)
    return {
        "features": "words" if longest == 1 else f"runs of up to {longest} words",
        "feature_count": len(ids),
        "penalty": penalty,
        "train_accuracy": round(accuracy(parameters, train, train_labels), 4),
        "validation_accuracy": round(validation[penalty], 4),
        "test_accuracy": round(
            accuracy(parameters, encode(features(test_texts, longest), ids), test_labels), 4
        ),
    }


def main() -> None:
    """Measures, prints, and writes the file that was asked for."""
    options = runner.Parser(__doc__).parse_args()
    rows = [measure(longest) for longest in (1, 2)]
    for row in rows:
        print(row)
    results = {"synthetic_version": synthetic.VERSION, "examples": synthetic.EXAMPLES}
    runner.write(options.json, {**results, "rows": rows})


if __name__ == "__main__":
    main()
