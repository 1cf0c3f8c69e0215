"""How texts become token ids, beside the slow way, a text after another."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pytest
from few_reviews import FewReviews
from hypothesis import given
from hypothesis import strategies as st
from pieces import PIECES

from flax_imdb.data import Examples, Vocabulary, encode, split_words
from flax_imdb.data import encoder as module
from flax_imdb.data.sources import ArraySource, Scanned
from flax_imdb.data.words import TextRules


def review(examples: Examples, i: int) -> list[int]:
    return examples.inputs[examples.starts[i] :][: examples.lengths[i]].tolist()


class Mixed(ArraySource):
    """Texts of both splits in one file, which is read from the beginning to the end."""

    def __init__(self, texts: Sequence[str], in_test: Sequence[bool]):
        labels = np.arange(len(texts), dtype=np.int32) % 2
        super().__init__(texts, labels, ("a", "b"))
        self._in_test = np.array(in_test, bool)

    def scan(self, take: Callable[[str], object]) -> Scanned:
        for text in self._texts:
            take(text)
        return Scanned(self._labels, self._in_test)


def slowly(texts: Iterable[str], words: Vocabulary) -> list[list[int]]:
    return [words.encode(split_words(text, words.rules)).tolist() for text in texts]


TEXTS = st.lists(
    st.tuples(st.lists(st.sampled_from([*PIECES, " ", " "])).map("".join), st.booleans())
)


@pytest.mark.parametrize("rules", ["keras", "unicode"])
@given(rows=TEXTS)
def test_ids_are_those_of_each_text_by_itself(
    rules: TextRules, rows: list[tuple[str, bool]]
) -> None:
    texts, in_test = [text for text, _ in rows], [tested for _, tested in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHARACTERS_AT_ONCE", 20)
        corpus = encode(Mixed(texts, in_test), rules)
    trained = [text for text, tested in rows if not tested]
    words = Vocabulary.build([split_words(text, rules) for text in trained], rules)
    assert corpus.info.vocabulary.words == words.words
    for examples, chosen in ((corpus.train, False), (corpus.test, True)):
        of_split = [i for i, tested in enumerate(in_test) if tested == chosen]
        found = [review(examples, i) for i in range(len(examples))]
        assert found == slowly((texts[i] for i in of_split), words)
        assert examples.labels.tolist() == [i % 2 for i in of_split]
        assert examples.ids.tolist() == list(range(len(of_split)))
        assert examples.weights.tolist() == [1] * len(of_split)


def test_both_splits_are_encoded_with_the_words_of_the_training_split() -> None:
    corpus = encode(FewReviews(), "keras")
    assert corpus.info.vocabulary.words == ("good", "film", "bad")
    assert [review(corpus.train, i) for i in range(3)] == [[1, 3, 3, 4], [1, 5, 4], [1, 3]]
    assert [review(corpus.test, i) for i in range(2)] == [[1, 2, 3], [1]]


def test_it_is_said_how_far_the_texts_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TEXTS_AT_ONCE", 2)
    said: list[tuple[str, int, int | None]] = []
    encode(FewReviews(), "keras", lambda *progress: said.append(progress))
    assert said == [
        ("reading and encoding texts", 0, None),
        ("reading and encoding texts", 2, None),
        ("reading and encoding texts", 4, None),
        ("writing the train split", 0, 9),
        ("writing the test split", 0, 4),
    ]


def test_an_error_of_the_source_ends_it() -> None:
    class Broken(FewReviews):
        def scan(self, take: Callable[[str], object]) -> Scanned:
            take("good film")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        encode(Broken(), "unicode")
