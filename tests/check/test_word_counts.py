"""The matrix of words, against scikit-learn's TfidfVectorizer."""

from pathlib import Path

import numpy as np
import pytest
from checked_rows import rows_of, texts_in, write

from flax_imdb.check.word_counts import weigh_words
from flax_imdb.data import split_words


def words_and_pairs(text: str) -> list[str]:
    words = split_words(text)
    return [*words, *map(" ".join, zip(["<start>", *words], words, strict=False))]


@pytest.mark.parametrize(("pairs", "analyzer"), [(True, words_and_pairs), (False, split_words)])
def test_it_is_that_of_scikit_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pairs: bool, analyzer: object
) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not pairs:
        monkeypatch.setattr("flax_imdb.check.word_counts._MOST_TOKENS_OF_PAIRS", 10)
    monkeypatch.setattr("flax_imdb.check.texts._TOKENS_AT_ONCE", 300)
    monkeypatch.setattr("flax_imdb.check.word_counts._PAIR_BITS", 23)  # No two share a column.
    rows = [*rows_of(60), ("", "a"), ("...", "neg"), ("Fine, fine -- film", "pos")]
    found = weigh_words(texts_in(write(tmp_path / "rows.csv", rows), skip_bad_rows=True))
    texts = [text for text, _ in rows if text]
    vectorizer = TfidfVectorizer(
        analyzer=analyzer, binary=True, min_df=2, smooth_idf=False, dtype=np.float64
    )
    expected = vectorizer.fit_transform(texts)
    assert found.shape == expected.shape
    # Columns are in another order, which products of rows do not depend on.
    np.testing.assert_allclose(
        (found @ found.T).toarray(), (expected @ expected.T).toarray(), atol=1e-5
    )
    order, theirs = (np.sort(np.asarray(m.sum(axis=0)).ravel()) for m in (found, expected))
    np.testing.assert_allclose(order, theirs, rtol=1e-4)
