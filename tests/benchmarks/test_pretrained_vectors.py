"""What the benchmark of word vectors makes and measures."""

from pathlib import Path

import numpy as np
import pretrained_vectors

from flax_imdb.data import Examples, Vocabulary, read_word_vectors


def test_a_large_file_is_read_for_the_words_that_are_known(tmp_path: Path) -> None:
    pretrained_vectors.write_large(path := tmp_path / "v.txt", lines=300, width=4)
    assert len(path.read_text().splitlines()) == 300
    figures = pretrained_vectors.read_large(str(path), lines=300, known=20)
    assert figures["found"] == 20  # Some of them capitalized in the file.
    assert figures["seconds"] > 0


def test_words_near_each_other_are_counted_within_their_texts() -> None:
    examples = Examples.build([np.array([3, 4, 3]), np.array([4])], np.zeros(2))
    expected = np.zeros((5, 5))
    expected[3, 4] = expected[4, 3] = 2
    expected[3, 3] = 2 * 1 / 2  # Two steps apart, seen from both.
    np.testing.assert_array_equal(pretrained_vectors.near_each_other(examples, 5), expected)


def test_words_of_the_same_neighbours_have_like_vectors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    # Words 3 and 4 stand among 5 to 9, and words 10 and 11 among 12 to 16.
    texts = [
        np.array(
            [rng.choice([3, 4] if i % 2 else [10, 11]), *rng.integers(5, 10, 3) + 7 * (1 - i % 2)]
        )
        for i in range(400)
    ]
    vectors = pretrained_vectors.make_vectors(Examples.build(texts, np.zeros(400)), 17, width=4)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = unit @ unit.T
    assert alike[0, 1] > 0.9
    assert alike[7, 8] > 0.9
    assert abs(alike[0, 7]) < 0.1
    words = [f"w{i}" for i in range(14)]
    pretrained_vectors.write_vectors(tmp_path / "v.txt", words, vectors)
    read = read_word_vectors(tmp_path / "v.txt", Vocabulary(words))
    np.testing.assert_allclose(read.vectors, vectors, rtol=1e-5)
