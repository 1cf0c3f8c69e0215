"""The words of a text, by named rules."""

import functools
import html
import re
import unicodedata
from collections.abc import Callable
from typing import Any, Literal

TextRules = Literal["keras", "unicode"]
"""A run keeps the name of its rules with its vocabulary. Rules never change under a name."""


def split_words(text: str, rules: TextRules = "unicode") -> list[str]:
    """The words of a text.

    Args:
      text: the text.
      rules: ``"keras"`` splits as Keras's ``Tokenizer`` does, at white space and at ASCII's
        punctuation other than the apostrophe, and removes ``<br />``. ``"unicode"`` first undoes
        what word processors, phones and web pages do to a text. Its words are runs of letters,
        marks and digits of any script, with apostrophes between them; emoji are words; so is each
        character of a script that has no spaces between words. For both, letter case does not
        matter.
    """
    return _RULES[rules](text)


# Keras's Tokenizer replaces these by spaces.
_FILTERS = str.maketrans(dict.fromkeys('!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n', " "))


def _keras(text: str) -> list[str]:
    return text.lower().replace("<br />", " ").translate(_FILTERS).split()


_ENTITY = re.compile("&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")

# Only elements of HTML, with attributes that have values, so that "I <really> liked it" and
# "a <b and c> d" keep their words. Nothing is tried twice, so that hostile texts take no longer.
_ELEMENTS = (
    "a|abbr|article|aside|b|big|blockquote|body|br|button|caption|center|cite|code|dd|del|details|"
    "div|dl|dt|em|figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|"
    "ins|kbd|label|li|link|main|mark|meta|nav|ol|option|p|picture|pre|q|s|samp|script|section|"
    "select|small|source|span|strike|strong|style|sub|summary|sup|table|tbody|td|textarea|tfoot|th|"
    "thead|time|title|tr|tt|u|ul|var|video|wbr"
)
_ATTRIBUTES = r"""(?:\s+[a-z][a-z:-]*+\s*+=\s*+(?:"[^"<>]*+"|'[^'<>]*+'|[^\s"'<>]++))*+"""
_TAG = re.compile(rf"</?(?:{_ELEMENTS}){_ATTRIBUTES}\s*+/?>|<!--[^<>]*+>", re.IGNORECASE)

# What NFKC would turn into something else: accents and trade marks at the end of a word.
_TYPOGRAPHY = str.maketrans({**dict.fromkeys("‘’‚‛ʼ´′", "'"), **dict.fromkeys("™℠¨¯¸", " ")})

_ASCII_WORD = re.compile("[a-z0-9]+(?:'[a-z0-9]+)*")


def _unicode(text: str) -> list[str]:
    text = text.replace(r"\n", " ")  # A line break, as some files write it.
    if "&" in text:
        text = _unescaped(_unescaped(text))  # Many texts are escaped twice.
    if "<" in text:
        text = _TAG.sub(" ", text)
    if not text.isascii():
        text = _normalized(text)
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    return _patterns()[1].findall(text)


def _unescaped(text: str) -> str:
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)


def _normalized(text: str) -> str:
    """One spelling of what looks the same, without letter case or invisible characters.

    This is Unicode's NFKC_Casefold (Unicode Standard, 3.13), after `_TYPOGRAPHY`.
    """
    text = unicodedata.normalize("NFKC", text.translate(_TYPOGRAPHY))
    text = unicodedata.normalize("NFKC", text.casefold())
    return str(_patterns()[0].sub("", text))


@functools.cache
def _patterns() -> tuple[Any, Any]:
    """Patterns of invisible characters, and of words in any script."""
    import regex

    without_spaces = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
    letters = (
        rf"[[\p{{L}}\p{{N}}]--[{without_spaces}]][[\p{{L}}\p{{M}}\p{{N}}]--[{without_spaces}]]*+"
    )
    return regex.compile(r"[\p{Cf}\p{Variation_Selector}]+"), regex.compile(
        rf"[{without_spaces}][\p{{M}}ー]*+"
        rf"|{letters}(?:'{letters})*+"
        r"|[\p{So}--[\u0000-\u218F]]",
        regex.V1,
    )


_RULES: dict[TextRules, Callable[[str], list[str]]] = {"keras": _keras, "unicode": _unicode}
