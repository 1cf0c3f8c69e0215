"""What held-out training reviews say of n-grams: random ones, and those of other films.

    python benchmarks/held_out.py --json benchmarks/results/held_out.json

Reviews of one film share its names and phrases. The test reviews are of other films than the
training reviews, so reviews that are held out at random flatter what remembers them. Here groups of
reviews with the same rare words, which are mostly of one film, are held out as a whole, too. The
features are those of `flax_imdb.models.Wide`, without hashing; liblinear fits them. The test split
is not looked at. docs/results.md shows the figures. Takes five minutes on one core.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import runner
from pyarrow import parquet
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold

from flax_imdb.data import DataConfig, Examples, load_dataset
from flax_imdb.data.sources import find_source

FOLDS = 5

# A rare word is in this many reviews.
RARE = (2, 40)

# Pairs of reviews below this similarity are not of one film. The largest groups have 45 reviews:
# IMDB's collection has at most 30 of one film for each label.
SIMILAR, LARGEST_GROUP = 0.07, 45


def presence(examples: Examples, ngrams: int, vocab_size: int) -> sparse.csr_array:
    """Which n-grams of 1 to `ngrams` tokens are in which examples: 0 or 1."""
    texts, steps, tokens = examples.spread()
    tokens = tokens.astype(np.int64)
    parts = []
    for n in range(1, ngrams + 1):
        whole = steps >= n - 1
        numbers = sum(np.roll(tokens, back) * vocab_size**back for back in range(n))
        found, columns = np.unique(numbers[whole], return_inverse=True)
        # scikit-learn needs indices of 32 bits.
        places = texts[whole].astype(np.int32), columns.astype(np.int32)
        ones = np.ones(len(columns), np.float32)
        part = sparse.csr_array((ones, places), (len(examples), len(found)))
        part.sum_duplicates()
        part.data[:] = 1
        parts.append(part)
    return sparse.hstack(parts, format="csr")


def group(words: sparse.csr_array) -> np.ndarray:
    """The group of each review, int [reviews]: those that share rare words, greedily.

    The pairs of reviews that are most similar are joined first, by the cosine of their rare words,
    weighted by idf.
    """
    texts = np.asarray(words.sum(axis=0)).ravel()
    is_rare = (texts >= RARE[0]) & (texts <= RARE[1])
    rare = words[:, is_rare] * np.log(words.shape[0] / texts[is_rare]).astype(np.float32)
    norms = np.sqrt(np.asarray(rare.multiply(rare).sum(axis=1))).ravel()
    rare = sparse.csr_array(sparse.diags_array(1 / np.maximum(norms, 1e-6)) @ rare)
    pairs = sparse.triu(rare @ rare.T, k=1).tocoo()
    order = np.argsort(-pairs.data, kind="stable")
    order = order[pairs.data[order] >= SIMILAR]
    groups = np.arange(words.shape[0])
    sizes = np.ones(words.shape[0], int)

    def find(review: int) -> int:
        while groups[review] != review:
            groups[review] = review = groups[groups[review]]
        return review

    for one, other in zip(pairs.row[order], pairs.col[order], strict=True):
        first, second = find(one), find(other)
        if first != second and sizes[first] + sizes[second] <= LARGEST_GROUP:
            groups[second] = first
            sizes[first] += sizes[second]
    return np.array([find(review) for review in range(words.shape[0])])


def features(
    train: sparse.csr_array, labels: np.ndarray, least_texts: int
) -> Callable[[sparse.csr_array], sparse.csr_array]:
    """What scales n-grams by their log-count ratio, over the square root of how many there are."""
    positive = np.asarray(train[labels == 1].sum(axis=0)).ravel()
    negative = np.asarray(train[labels == 0].sum(axis=0)).ravel()
    found = positive + negative >= least_texts
    p, q = positive[found] + 1, negative[found] + 1
    ratios = np.log(p / p.sum() / (q / q.sum())).astype(np.float32)

    def scale(texts: sparse.csr_array) -> sparse.csr_array:
        texts = texts[:, found]
        number = np.maximum(np.asarray(texts.sum(axis=1)).ravel(), 1)
        return sparse.csr_array(sparse.diags_array(10 / np.sqrt(number)) @ (texts * ratios))

    return scale


def accuracies(
    ngrams: sparse.csr_array, labels: np.ndarray, least_texts: int, splits: Any
) -> list[float]:
    """The accuracy on each held-out fold."""
    right = []
    for train, test in splits:
        scale = features(ngrams[train], labels[train], least_texts)
        model = LogisticRegression(C=3, solver="liblinear", dual=True, tol=1e-2, max_iter=200)
        model.fit(scale(ngrams[train]), labels[train])
        right.append(float(model.score(scale(ngrams[test]), labels[test])))
    return right


def films() -> np.ndarray:
    """The group of each training review, int [reviews]: mostly those of one film."""
    every = load_dataset(DataConfig(dataset="imdb_reviews", vocab_size=10**6, max_length=10**5))
    return group(presence(every.train, 1, 10**6))


def write_split(directory: Path) -> tuple[Path, Path]:
    """Write four fifths of the training reviews, and those of other films, as Parquet files."""
    paths = directory / "train.parquet", directory / "other_films.parquet"
    if not paths[-1].exists():
        source = find_source(DataConfig(dataset="imdb_reviews"))
        texts, labels = source.read("train")
        names = np.array(source.classes)[labels]
        split = next(GroupKFold(FOLDS).split(texts, groups=films()))
        directory.mkdir(parents=True, exist_ok=True)
        for path, rows in zip(paths, split, strict=True):
            columns = {"text": [texts[row] for row in rows], "label": names[rows]}
            parquet.write_table(pyarrow.table(columns), path)
    return paths


def main() -> None:
    """Measure all features on both kinds of folds."""
    parser = runner.Parser(__doc__)
    options = parser.parse_args()
    config = DataConfig(dataset="imdb_reviews", vocab_size=30_000, max_length=1000)
    train = load_dataset(config).train
    groups = films()
    rows = np.arange(len(train))
    splits = {
        "random": [*KFold(FOLDS, shuffle=True, random_state=0).split(rows)],
        "other films": [*GroupKFold(FOLDS).split(rows, groups=groups)],
    }
    results = []
    for longest in (1, 2, 3):
        ngrams = presence(train, longest, config.vocab_size)
        for least_texts in (1, 2):
            for name, folds in splits.items():
                of_folds = accuracies(ngrams, train.labels, least_texts, folds)
                row = {"ngrams": longest, "least_texts": least_texts, "held_out": name}
                results.append({**row, "accuracies": of_folds})
                print(results[-1], flush=True)
    runner.write(options.json, {"groups": len(np.unique(groups)), "rows": results})


if __name__ == "__main__":
    main()
