"""Text to words, and words to ids."""

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from flax_imdb.errors import InputError
from flax_imdb.paths import unreadable

PAD, START, UNKNOWN = 0, 1, 2
SPECIAL_TOKENS = ("<pad>", "<start>", "<unk>")

# Keras's Tokenizer removes these; what they surround becomes separate words.
_FILTERS = str.maketrans(dict.fromkeys('!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n', " "))


def split_words(text: str) -> list[str]:
    """The words of a review: lower-cased, ``<br />`` dropped, split as Keras's ``Tokenizer`` does.

    Its filters (punctuation but the apostrophe, tab and newline) and white space separate words.
    """
    return text.lower().replace("<br />", " ").translate(_FILTERS).split()


class Vocabulary:
    """Words with their ids: ``<pad>`` 0, ``<start>`` 1, ``<unk>`` 2, then `words` from 3 on.

    Attributes:
      words: the words that have an id of their own, most frequent first.
    """

    def __init__(self, words: Iterable[str]):
        self.words = tuple(words)
        self._ids = {word: i for i, word in enumerate(self.words, start=len(SPECIAL_TOKENS))}

    def __len__(self) -> int:
        """Number of ids, the special ones included."""
        return len(SPECIAL_TOKENS) + len(self.words)

    @classmethod
    def build(cls, reviews: Iterable[Sequence[str]]) -> "Vocabulary":
        """Rank the words of `reviews` (each a list of words) by frequency.

        Words equally frequent are ranked by code point, so that every machine ranks alike.
        """
        counts = Counter(itertools.chain.from_iterable(reviews))
        return cls(sorted(counts, key=lambda word: (-counts[word], word)))

    def limited(self, size: int) -> "Vocabulary":
        """The `size` first ids alone, the three special ones counted."""
        return Vocabulary(self.words[: size - len(SPECIAL_TOKENS)])

    def encode(self, words: Sequence[str]) -> np.ndarray:
        """Ids int32 [1 + len(words)]: ``<start>``, then each word's, or that of ``<unk>``."""
        ids = map(self._ids.get, words, itertools.repeat(UNKNOWN))
        return np.fromiter(itertools.chain([START], ids), np.int32, 1 + len(words))

    def dump(self, *, dataset: str, fingerprint: str) -> str:
        """As JSON: ``words``, all of them in order of id, and which reviews they are from."""
        words = [*SPECIAL_TOKENS, *self.words]
        return json.dumps({"dataset": dataset, "fingerprint": fingerprint, "words": words})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> tuple["Vocabulary", str]:
        """The vocabulary in a file of what `dump` gives, and the fingerprint of its reviews.

        Raises:
          InputError: the file cannot be read or is not a vocabulary.
        """
        try:
            content = json.loads(Path(path).read_text())
            words, fingerprint = content["words"], content["fingerprint"]
            if tuple(words[:3]) != SPECIAL_TOKENS or len(set(words)) != len(words):
                raise ValueError("its words are not those of a vocabulary")
            if not all(isinstance(text, str) for text in (fingerprint, *words)):
                raise ValueError("something in it is no text")
        except OSError as error:
            raise unreadable(path, error) from None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{path} is not a vocabulary: {error}") from error
        return cls(words[3:]), fingerprint
