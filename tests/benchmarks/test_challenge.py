"""The challenge's sentences, and how they are counted."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import challenge

from flax_imdb.data import split_words


def test_each_kind_has_as_many_sentences_of_each_label() -> None:
    sentences = challenge.read()
    assert len(sentences) >= 200
    assert len({sentence.text for sentence in sentences}) == len(sentences)
    by_kind = Counter((sentence.kind, sentence.label) for sentence in sentences)
    assert len({kind for kind, _ in by_kind}) == 6
    assert set(by_kind.values()) == {20}


def test_pairs_share_most_of_their_words() -> None:
    """So that what is frequent in positive or negative reviews does not decide."""
    sentences = challenge.read()
    shared = []
    for positive, negative in zip(sentences[::2], sentences[1::2], strict=True):
        assert (positive.kind, positive.label) == (negative.kind, "positive")
        assert negative.label == "negative"
        ours, theirs = (set(split_words(pair.text)) for pair in (positive, negative))
        shared.append(len(ours & theirs) / min(len(ours), len(theirs)))
    assert sum(shared) / len(shared) > 0.5


def test_right_answers_are_counted_by_kind() -> None:
    class Yes:
        """Calls everything positive."""

        def predict(self, texts: list[str]) -> list[Any]:
            return [SimpleNamespace(label="positive") for _ in texts]

    sentences = challenge.read()[:3]
    assert challenge.accuracies(Yes(), sentences) == {"negation": 2 / 3, "all": 2 / 3}  # type: ignore[arg-type]
