"""Tokenization: text to words, and words to ids."""

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from flax_imdb.errors import InputError
from flax_imdb.paths import unreadable

TextRules = Literal["keras", "unicode"]

PAD, START, UNKNOWN = 0, 1, 2
SPECIAL_TOKENS = ("<pad>", "<start>", "<unk>")

# Keras's Tokenizer replaces these by spaces.
_FILTERS = str.maketrans(dict.fromkeys('!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n', " "))


def split_words(text: str, rules: TextRules = "keras") -> list[str]:
    """Lower-case a review, remove ``<br />`` and split it into words as Keras's ``Tokenizer`` does.

    Words are separated by whitespace and by punctuation other than the apostrophe.
    """
    return text.lower().replace("<br />", " ").translate(_FILTERS).split()


class Vocabulary:
    """Words and their ids: ``<pad>`` 0, ``<start>`` 1, ``<unk>`` 2, then `words` from 3 on.

    Attributes:
      words: the words with an id of their own, most frequent first.
    """

    def __init__(self, words: Iterable[str], text: TextRules = "keras"):
        self.text = text
        self.words = tuple(words)
        self._ids = {word: i for i, word in enumerate(self.words, start=len(SPECIAL_TOKENS))}

    def __len__(self) -> int:
        """Number of ids, including the special ones."""
        return len(SPECIAL_TOKENS) + len(self.words)

    @classmethod
    def build(cls, reviews: Iterable[Sequence[str]], text: TextRules = "keras") -> "Vocabulary":
        """Rank the words of `reviews` (each a list of words) by frequency.

        Ties are ordered by code point, so that the ranking is the same on every machine.
        """
        counts = Counter(itertools.chain.from_iterable(reviews))
        return cls(sorted(counts, key=lambda word: (-counts[word], word)), text)

    def limited(self, size: int) -> "Vocabulary":
        """The first `size` ids, including the three special ones."""
        return Vocabulary(self.words[: size - len(SPECIAL_TOKENS)], self.text)

    def encode(self, words: Sequence[str]) -> np.ndarray:
        """Token ids, int32 [1 + len(words)]: ``<start>``, then one per word."""
        ids = map(self._ids.get, words, itertools.repeat(UNKNOWN))
        return np.fromiter(itertools.chain([START], ids), np.int32, 1 + len(words))

    def dump(self, *, dataset: str, fingerprint: str) -> str:
        """The vocabulary as JSON: all words in order of id, and which reviews they come from."""
        words = [*SPECIAL_TOKENS, *self.words]
        return json.dumps({"dataset": dataset, "fingerprint": fingerprint, "words": words})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> tuple["Vocabulary", str]:
        """Read a file written with `dump`: the vocabulary, and the fingerprint of its reviews.

        Raises:
          InputError: the file cannot be read or is not a vocabulary.
        """
        try:
            content = json.loads(Path(path).read_text())
            words, fingerprint = content["words"], content["fingerprint"]
            if tuple(words[:3]) != SPECIAL_TOKENS or len(set(words)) != len(words):
                raise ValueError("its words are not a vocabulary")
            if not all(isinstance(text, str) for text in (fingerprint, *words)):
                raise ValueError("it has values that are not text")
        except OSError as error:
            raise unreadable(path, error) from None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{path} is not a vocabulary: {error}") from error
        return cls(words[3:]), fingerprint
