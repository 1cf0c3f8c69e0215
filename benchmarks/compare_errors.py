"""Where a recipe's answers and those of word counts differ, on the test reviews.

    python benchmarks/compare_errors.py runs/recipes/strong --json benchmarks/results/errors.json

The directory is that of a run on the IMDB reviews, or of several seeds. Word counts are
`peers.word_counts`. Reviews are grouped by length, by how many words negate, by how many
contrast, and by the share of rare words. Only counts are kept, no text. docs/results.md shows them.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import runner
from peers import word_counts

from flax_imdb.data import (
    MAX_CHARACTERS,
    MAX_VOCAB_SIZE,
    Examples,
    Vocabulary,
    load_dataset,
)
from flax_imdb.data.sources import find_source
from flax_imdb.data.tokenizer import SPECIAL_TOKENS, UNKNOWN
from flax_imdb.predict import TrainedModel, load

# Beside all words that end with "n't".
NEGATIONS = (
    "no",
    "nor",
    "not",
    "never",
    "none",
    "nobody",
    "nothing",
    "neither",
    "without",
    "cannot",
)
CONTRASTS = (
    "although",
    "but",
    "despite",
    "except",
    "however",
    "instead",
    "though",
    "unless",
    "yet",
)

# Ids are by frequency in the training reviews. Rare words have higher ones, or none.
COMMON_WORDS = 10_000

Groups = dict[str, dict[str, np.ndarray]]


def group(examples: Examples, vocabulary: Vocabulary) -> Groups:
    """Which examples are in which group, by what is grouped: boolean [examples]."""
    lengths = examples.lengths

    owners, _, tokens = examples.spread()

    def words(chosen: np.ndarray) -> np.ndarray:
        """How many tokens of each example are `chosen`, which is boolean [vocabulary]."""
        return np.bincount(owners[chosen[tokens]], minlength=len(examples))

    known = np.array([*SPECIAL_TOKENS, *vocabulary.words])
    negations = words(np.isin(known, NEGATIONS) | np.char.endswith(known, "n't"))
    contrasts = words(np.isin(known, CONTRASTS))
    ids = np.arange(len(known))
    rare = words((ids >= COMMON_WORDS) | (ids == UNKNOWN)) / np.maximum(lengths, 1)
    return {
        "words": _ranges(lengths, (0, 100, 200, 400)),
        "negations": _ranges(negations, (0, 1, 3, 6)),
        "contrasts": _ranges(contrasts, (0, 1, 2, 4)),
        "rare words, %": _ranges(np.floor(100 * rare).astype(int), (0, 2, 4, 6)),
    }


def _ranges(values: np.ndarray, starts: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The examples by ranges of values, which begin at `starts`."""
    groups = {}
    for start, end in zip(starts, (*starts[1:], None), strict=True):
        if end is None:
            groups[f"{start} or more"] = values >= start
        else:
            name = str(start) if end == start + 1 else f"{start} to {end - 1}"
            groups[name] = (values >= start) & (values < end)
    return groups


def compare(groups: Groups, ours: np.ndarray, counts: np.ndarray) -> list[dict[str, Any]]:
    """Of each group, how many answers are right: of ours alone, of word counts alone, of both.

    Args:
      groups: those of `group`.
      ours: which of the recipe's answers are right, boolean [seeds, examples]. Counts are means
        over the seeds.
      counts: which of the word counts' answers are right, boolean [examples].
    """

    def row(by: str, name: str, within: np.ndarray) -> dict[str, Any]:
        right, also = ours[:, within], counts[within]
        seeds = len(ours)
        return {
            "by": by,
            "group": name,
            "reviews": int(within.sum()),
            "both": float((right & also).sum() / seeds),
            "recipe_alone": float((right & ~also).sum() / seeds),
            "word_counts_alone": float((~right & also).sum() / seeds),
        }

    every = np.ones(len(counts), bool)
    rows = [row("", "all", every)]
    return rows + [
        row(by, name, within) for by, parts in groups.items() for name, within in parts.items()
    ]


def right_answers(model: TrainedModel) -> np.ndarray:
    """Which of a run's answers on its test split are right, boolean [examples]."""
    examples = model.test_examples()
    return model.trainer.evaluate(model.state, examples).predicted == examples.labels


def main() -> None:
    """Compare, and print the rows."""
    parser = runner.Parser(__doc__)
    parser.add_argument("run", type=Path, help="directory of a run, or of several seeds")
    options = parser.parse_args()
    models = [load(run) for run in runner.seeds_of(options.run)]
    ours = np.stack([right_answers(model) for model in models])
    config = models[0].config
    source = find_source(config.data)
    texts, labels = source.read("test")
    counts = word_counts.fit(*source.read("train")).predict(texts) == labels
    whole = dataclasses.replace(
        config.data, vocab_size=MAX_VOCAB_SIZE, max_length=MAX_CHARACTERS, test_examples=None
    )
    dataset = load_dataset(whole)
    rows = compare(group(dataset.test, dataset.info.vocabulary), ours, counts)
    for row in rows:
        print(row)
    runner.write(options.json, {"recipe": config.recipe, "seeds": len(ours), "rows": rows})


if __name__ == "__main__":
    main()
