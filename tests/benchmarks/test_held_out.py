"""Reviews of one film are held out together."""

import held_out
import numpy as np

from flax_imdb.data import Examples


def test_ngrams_are_of_one_text_each() -> None:
    examples = Examples.build([np.array([3, 4, 3]), np.array([4, 3])], np.zeros(2))
    found = held_out.presence(examples, ngrams=2, vocab_size=5)
    # Of 3, 4, (3, 4) and (4, 3), the second text has no (3, 4).
    assert found.shape == (2, 4)
    np.testing.assert_array_equal(found.sum(axis=1), [4, 3])


def test_groups_share_rare_words_and_stay_small() -> None:
    rng = np.random.default_rng(0)
    common = np.arange(10)
    # Each of 30 films has four reviews, and names of its own.
    texts = [
        np.concatenate([rng.choice(common, 8, replace=False), 50 + 3 * film + np.arange(3)])
        for film in range(30)
        for _ in range(4)
    ]
    words = held_out.presence(Examples.build(texts, np.zeros(120)), 1, 200)
    groups = held_out.group(words)
    np.testing.assert_array_equal(groups, np.repeat(groups[::4], 4))
    assert len(np.unique(groups)) == 30


def test_features_are_scaled_by_ratio_and_number() -> None:
    examples = Examples.build([np.array([1, 2]), np.array([1, 3]), np.array([1, 3])], np.zeros(3))
    words = held_out.presence(examples, 1, 4)
    scale = held_out.features(words, np.array([1, 0, 0]), least_texts=2)
    # Word 2 is in one text alone. Positive counts of 1 and 3 are 1 and 0, negative ones 2 and 2.
    ratios = np.log([(2 / 3) / (3 / 6), (1 / 3) / (3 / 6)])
    expected = [[10 * ratios[0], 0], *2 * [10 / 2**0.5 * ratios]]
    np.testing.assert_allclose(scale(words).toarray(), expected, rtol=1e-6)
