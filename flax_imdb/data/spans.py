"""Where in a text its words stand."""

import itertools
from collections.abc import Iterator, Sequence

from flax_imdb.data.words import TextRules, split_words

Span = tuple[int, int]
"""Where a word begins in its text, and where it has ended: ``text[begin:end]``."""

# So many places are tried, so that a long text without any takes no longer.
_MAX_TRIES = 1000


def word_spans(text: str, rules: TextRules = "unicode") -> list[Span]:
    """The span of each word of a text, in reading order.

    It asks the rules alone: a text may be cut wherever both parts, split into words, have the words
    of the whole. So whatever the rules undo, such as an entity or a soft hyphen, is in the span.
    Words that cannot be told apart, such as two that one entity stands for, share a span.

    Args:
      text: the text.
      rules: those by which it is split (see `split_words`).

    Returns:
      As many spans as `split_words` returns words.
    """
    return list(_spans(text, 0, split_words(text, rules), rules))


def _spans(text: str, begin: int, words: Sequence[str], rules: TextRules) -> Iterator[Span]:
    """The spans of the `words` of a text that begins at `begin` in another."""
    if len(words) > 1:
        for cut in itertools.islice(_from_the_middle(len(text)), _MAX_TRIES):
            left, right = text[:cut], text[cut:]
            of_left = split_words(left, rules)
            # The left part first: if it has other words, the right one need not be split.
            if of_left == words[: len(of_left)] and (of_left + split_words(right, rules) == words):
                yield from _spans(left, begin, of_left, rules)
                yield from _spans(right, begin + cut, words[len(of_left) :], rules)
                return
    if words:
        first, end = _trimmed(text, words, rules)
        yield from [(begin + first, begin + end)] * len(words)


def _from_the_middle(length: int) -> Iterator[int]:
    """The places inside a text of this length, those nearest to its middle first."""
    middle = length // 2
    for distance in range(length):
        for place in dict.fromkeys((middle - distance, middle + distance)):
            if 0 < place < length:
                yield place


def _trimmed(text: str, words: Sequence[str], rules: TextRules) -> Span:
    """The smallest part of a text with the same words, if it is not very long."""

    def same(begin: int, end: int) -> bool:
        return split_words(text[begin:end], rules) == words

    begin, end = 0, len(text)
    # In steps that are halved: behind a word may be any number of other characters.
    step = end
    while step := step // 2:
        while end - step > begin and same(begin, end - step):
            end -= step
        while begin + step < end and same(begin + step, end):
            begin += step
    if end - begin <= _MAX_TRIES:  # Half of a tag is no tag: nothing less than all of it goes.
        begin = max(place for place in range(begin, end) if same(place, end))
        end = min(place for place in range(begin + 1, end + 1) if same(begin, place))
    return begin, end
