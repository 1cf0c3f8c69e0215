"""The tokenizer as ``tokenizer.json`` of Hugging Face's ``tokenizers``.

docs/exports.md lists the texts that have other ids there.
"""

import html
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from html.entities import html5
from typing import TYPE_CHECKING, Any

from flax_imdb.data.tokenizer import PAD, SPECIAL_TOKENS, START, UNKNOWN
from flax_imdb.data.words import (
    FILTERS,
    INVISIBLE,
    TAG,
    TYPOGRAPHY,
    WORD,
    split_words,
)
from flax_imdb.errors import InputError
from flax_imdb.predict import TrainedModel

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# A word that no text has: both rules separate at its brackets.
_START = SPECIAL_TOKENS[START]


def tokenizer_json(model: TrainedModel) -> str:
    """The vocabulary and the rules for texts, with the limit of length and the padding.

    A single text is truncated and not padded; those of a batch are padded as the model reads them.

    Raises:
      InputError: the library is not installed.
    """
    try:
        return str(_tokenizer(model).to_str())
    except ImportError:
        raise InputError(
            "a tokenizer.json needs tokenizers, which is not installed: pip install tokenizers"
        ) from None


def _tokenizer(model: TrainedModel) -> "Tokenizer":
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    rules, data = model.vocabulary.rules, model.config.data
    # No added tokens: they would be found in texts in which someone typed them. And no template for
    # <start>: of a text that is too long it goes first, as any first word does.
    tokenizer = Tokenizer(models.WordLevel(_ids(model), SPECIAL_TOKENS[UNKNOWN]))
    steps = _keras() if rules == "keras" else _unicode()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(f"{_START} "), *steps])
    word = rf"[^{_characters(_SEPARATORS)}]+" if rules == "keras" else WORD
    pattern = Regex(rf"(?x: \A{_START} | {word})")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern, "removed", invert=True)
    truncated = "right" if data.end == "first" else "left"
    tokenizer.enable_truncation(data.longest, direction=truncated)
    padding = {"pad_id": PAD, "pad_token": SPECIAL_TOKENS[PAD]}
    if data.padding == "keras":
        tokenizer.enable_padding(direction="left", length=data.max_length, **padding)
    else:
        tokenizer.enable_padding(direction="right", **padding)
    return tokenizer


def _ids(model: TrainedModel) -> dict[str, int]:
    """The words that have embeddings, as the steps below leave them."""
    words = [*SPECIAL_TOKENS, *model.vocabulary.words][: model.config.data.vocab_size]
    # Folding makes capitals of Cherokee's small letters, and `Lowercase` the opposite.
    folded = model.vocabulary.rules == "unicode"
    return {
        word.lower() if folded and split_words(word) == [word] else word: number
        for number, word in enumerate(words)
    }


def _replace(pattern: str, by: str) -> Any:
    """A step that replaces all that a regular expression finds."""
    from tokenizers import Regex, normalizers

    return normalizers.Replace(Regex(pattern), by)


def _characters(characters: Iterable[str]) -> str:
    """The characters as the inner part of a class of a regular expression."""
    return "".join(rf"\x{{{ord(character):X}}}" for character in characters)


# White space is what `str.split` takes for it.
_SEPARATORS = sorted({*filter(str.isspace, map(chr, range(0x3001))), *map(chr, FILTERS)})

# "Σ" at the end of a word, as `str.lower` sees it; `Lowercase` sees single characters.
_FINAL_SIGMA = r"""(?x)
    (?<= [\p{Cased}&&[^\p{Case_Ignorable}]] \p{Case_Ignorable}* )
    Σ
    (?! \p{Case_Ignorable}* [\p{Cased}&&[^\p{Case_Ignorable}]] )
"""


def _keras() -> Iterator[Any]:
    from tokenizers import normalizers

    yield _replace(_FINAL_SIGMA, "ς")
    yield normalizers.Lowercase()
    yield normalizers.Replace("<br />", " ")


# The characters that HTML escapes most often, and what is as good as each: it has no character for
# what is found, so every other one would take a step of its own.
_ESCAPED = {
    "<": "<",
    ">": ">",
    "'": "'‘’′´",
    " ": '"\u00a0“”„«»–—…•·©®™°£€',
    "": "\u00ad\u200b\u200c\u200d",
    "&": "&",  # Last, or else it would make new ones.
}

# What folding case changes, lower case does not, and NFKC has not changed before.
_FOLDED = {"ß": "ss", "ς": "σ", **dict(zip("ᲀᲁᲂᲃᲄᲅᲆᲇᲈ", "вдосттъѣꙋ", strict=True))}


def _unicode() -> Iterator[Any]:
    from tokenizers import normalizers

    yield normalizers.Replace(r"\n", " ")
    for by, characters in _ESCAPED.items():
        names = "|".join(name for each in characters for name in _names(each))
        yield _replace(f"&(?:amp;)*(?:{names})", by)
    yield normalizers.Replace("<br />", " ")
    # Of ASCII alone, as `re.ASCII` has it.
    tag = _any_case(TAG.pattern.replace(r"\s", r"[ \t-\r]"))
    yield _replace(f"(?x){tag}", " ")
    typography: dict[str, list[str]] = {}
    for character, meant in TYPOGRAPHY.items():
        separates = split_words(f"a{meant}b") == ["a", "b"]
        typography.setdefault(" " if separates else meant, []).append(character)
    for by, found in typography.items():
        yield _replace(f"[{_characters(found)}]", by)
    yield _replace(INVISIBLE, "")
    yield _replace(r"[\p{M}ﾞﾟ](?<=[\p{M}ﾞﾟ]{31})", "")
    for by, found in _numbers().items():
        yield _replace(f"[{_characters(found)}]", f" {by} ")
    yield normalizers.NFKC()
    yield normalizers.Lowercase()
    yield _replace("i\u0307+", "i")
    for letter, folded in _FOLDED.items():
        yield normalizers.Replace(letter, folded)
    # The iota below a Greek letter becomes one beside it.
    yield normalizers.NFD()
    yield normalizers.Replace("\u0345", "ι")
    yield normalizers.NFKC()


def _numbers() -> dict[str, list[str]]:
    """Digits such as "³" and "①" and fractions such as "½", by what NFKC makes of them.

    There are a hundred more, such as "⑪", and each would take a step of its own.
    """
    numbers: dict[str, list[str]] = {}
    for character in map(chr, range(sys.maxunicode + 1)):
        if unicodedata.category(character) == "No":
            changed = unicodedata.normalize("NFKC", character)
            if (changed.isdecimal() and len(changed) == 1) or "\N{FRACTION SLASH}" in changed:
                numbers.setdefault(changed, []).append(character)
    return numbers


def _names(character: str) -> Iterator[str]:
    """Patterns of what stands behind the "&" of an escaped character."""
    yield from (name for name, meant in html5.items() if meant == character and name[-1] == ";")
    # Codes of Windows-1252 are read as such.
    for code in (ord(character), *range(0x80, 0xA0)):
        if html.unescape(f"&#{code};") == character:
            decimal, hexadecimal = str(code), f"{code:x}"
            yield f"#0{{0,{7 - len(decimal)}}}{decimal};"
            yield f"#[xX]0{{0,{6 - len(hexadecimal)}}}{_any_case(hexadecimal)};"


def _any_case(pattern: str) -> str:
    """The pattern with each letter a-z in both cases."""

    def both(part: re.Match[str]) -> str:
        if part[0][0] == "[":
            return part[0].replace("a-z", "a-zA-Z")
        return f"[{part[0]}{part[0].upper()}]"

    return re.sub(r"\[[^]]*\]|[a-z]", both, pattern)
