"""The vocabulary: words to ids."""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from flax_imdb.data.words import TextRules

PAD, START, UNKNOWN = 0, 1, 2
SPECIAL_TOKENS = ("<pad>", "<start>", "<unk>")


class Vocabulary:
    """Words and their ids: ``<pad>`` 0, ``<start>`` 1, ``<unk>`` 2, then `words` from 3 on.

    Attributes:
      words: the words with an id of their own, most frequent first.
      rules: by which texts are split into such words.
    """

    def __init__(self, words: Iterable[str], rules: TextRules = "unicode"):
        self.rules = rules
        self.words = tuple(words)
        self._ids = {word: i for i, word in enumerate(self.words, start=len(SPECIAL_TOKENS))}

    def __reduce__(self) -> tuple[Any, ...]:
        return Vocabulary, (self.words, self.rules)  # The ids would double its size.

    def __len__(self) -> int:
        """Number of ids, including the special ones."""
        return len(SPECIAL_TOKENS) + len(self.words)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the rules and the words."""
        named = json.dumps([self.rules, [*SPECIAL_TOKENS, *self.words]], allow_nan=False)
        return hashlib.sha256(named.encode()).hexdigest()

    def dump(self) -> dict[str, str | list[str]]:
        """The rules, and the words in order of id, for JSON."""
        return {"text": self.rules, "words": [*SPECIAL_TOKENS, *self.words]}

    @classmethod
    def build(cls, texts: Iterable[Sequence[str]], rules: TextRules = "unicode") -> "Vocabulary":
        """Rank the words of `texts` (each a list of words) by frequency.

        Ties are ordered by code point, so that the ranking is the same on every machine.
        """
        counts = Counter(itertools.chain.from_iterable(texts))
        return cls(sorted(counts, key=lambda word: (-counts[word], word)), rules)

    def limited(self, size: int) -> "Vocabulary":
        """The first `size` ids, including the three special ones."""
        return Vocabulary(self.words[: size - len(SPECIAL_TOKENS)], self.rules)

    def encode(self, words: Sequence[str]) -> np.ndarray:
        """Token ids, int32 [1 + len(words)]: ``<start>``, then one per word."""
        ids = map(self._ids.get, words, itertools.repeat(UNKNOWN))
        return np.fromiter(itertools.chain([START], ids), np.int32, 1 + len(words))
