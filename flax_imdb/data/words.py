"""The words of a text, by named rules."""

import functools
import html
import re
import unicodedata
from collections.abc import Callable
from html.entities import html5
from typing import Any, Literal

TextRules = Literal["keras", "unicode"]
"""A run keeps the name of its rules with its vocabulary. Rules never change under a name."""


def split_words(text: str, rules: TextRules = "unicode") -> list[str]:
    """The words of a text.

    Args:
      text: the text.
      rules: the name of the rules. ``"keras"`` splits as Keras's ``Tokenizer`` does, at white space
        and at ASCII's punctuation other than the apostrophe, and removes ``<br />``. ``"unicode"``
        first undoes what word processors, phones and web pages do to a text. Its words are runs of
        letters, marks and digits of any script, with apostrophes between them; emoji are words; so
        is each character of a script that has no spaces between words. For both, letter case does
        not matter.

    Returns:
      The words in their order. Joined by blanks, they have the same words again.
    """
    return _RULES[rules](text)


# Keras's Tokenizer replaces these by spaces.
FILTERS = str.maketrans(dict.fromkeys('!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n', " "))


def _keras(text: str) -> list[str]:
    return text.lower().replace("<br />", " ").translate(FILTERS).split()


def _unicode(text: str) -> list[str]:
    text = without_markup(text)
    if text.isascii():
        # The same words as below, found several times as fast.
        return _QUOTE.sub(" ", text.lower()).translate(_SEPARATORS).split()
    return compiled(WORD).findall(normalized(text))


# Many texts were escaped twice, as in "&amp;quot;", or more often.
_ENTITY = re.compile("&(?:amp;)*(#[0-9]{1,7};|#[xX][0-9a-fA-F]{1,6};|[a-zA-Z][a-zA-Z0-9]{1,31};)")

# Only elements of HTML, bare or with attributes that have values, so that "I <really> liked it" and
# "a <b and c> d" keep their words. Nothing reads past the next bracket, and nothing that may be
# long is read again, so hostile texts take no longer.
TAG = re.compile(
    r"""
    </?(?:
        a|abbr|address|article|aside|b|big|blockquote|body|br|button|caption|center|cite|code|col|dd
        |del|details|div|dl|dt|em|figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html|i
        |iframe|img|input|ins|kbd|label|li|link|main|mark|meta|nav|ol|option|p|picture|pre|q|s|samp
        |script|section|select|small|source|span|strike|strong|style|sub|summary|sup|svg|table|tbody
        |td|textarea|tfoot|th|thead|time|title|tr|tt|u|ul|var|video|wbr
    )(?:\s++[a-z:-]++\s*+=[^<>]*+|\s*+/?)>
    | <!--[^<>]*-->
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


def without_markup(text: str) -> str:
    """The text without entities and elements of HTML."""
    text = text.replace(r"\n", " ")  # A line break, as some files write it.
    if "&" in text:
        text = _ENTITY.sub(_character, text)
    if "<" in text:
        # Nearly all tags of IMDB's reviews, the fast way.
        text = text.replace("<br />", " ")
        if "<" in text:
            text = TAG.sub(" ", text)
    return text


def _character(entity: re.Match[str]) -> str:
    name = entity[1]
    # `unescape` alone would find "&copy" in "&copyright;".
    return html.unescape(f"&{name}") if name[0] == "#" or name in html5 else f"&{name}"


# What people do not distinguish and NFKC does, or what it makes something else of.
TYPOGRAPHY = {
    # Control characters are those of Windows-1252, read as Latin-1: in IMDB's reviews, too.
    **{chr(code): bytes([code]).decode("cp1252", "ignore") for code in range(0x80, 0xA0)},
    **dict.fromkeys("‘’‛′´ʻʼ՚׳\x91\x92", "'"),
    **dict.fromkeys("™℠\x99", " "),
    "ŉ": "'n",
}
_TYPOGRAPHIC = re.compile(f"[{''.join(TYPOGRAPHY)}]")

# Soft hyphens, zero-width characters, byte-order marks, directions, variants and keycaps of emoji.
# Joiners are among them, as in NFKC_Casefold: writers of Persian or Hindi often leave them out, and
# a word without them is still one word.
INVISIBLE = r"[\p{Default_Ignorable_Code_Point}\p{Cf}\p{Me}]+"

# No language needs more on a letter, and normalizing takes the square of their number: the limit of
# Unicode's Stream-Safe Text Format.
_PILED = r"([\p{M}ﾞﾟ]{30})[\p{M}ﾞﾟ]+"

# NFKC would make "31/2" of "3½", and "alien3" of "Alien³".
_NUMBER = r"\p{No}"

# The Turkish "İ" in lower case. The "i" of others has that dot already.
_DOTTED_I = re.compile("i\u0307+")


def normalized(text: str) -> str:
    """One spelling of what looks the same, without letter case or invisible characters.

    This is Unicode's NFKC_Casefold (Unicode Standard, 3.13), but for the above.
    """
    text = _TYPOGRAPHIC.sub(lambda sign: TYPOGRAPHY[sign[0]], text)
    text = compiled(INVISIBLE).sub("", text)
    text = compiled(_PILED).sub(r"\1", text)
    text = compiled(_NUMBER).sub(r" \g<0> ", text)
    text = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", _DOTTED_I.sub("i", text))


# An apostrophe that is not between letters.
_QUOTE = re.compile("'(?:(?<![a-z0-9]')|(?![a-z0-9]))")
_SEPARATORS = FILTERS | dict.fromkeys([*range(0x20), 0x7F], " ")

# Letters of scripts without spaces between words.
_ALONE = r"[\p{L}&&[\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]]"
_LETTER = rf"[[\p{{L}}\p{{N}}]&&[^{_ALONE}]]"
WORD = rf"""
    [a-z0-9]++ (?! [^\x00-\x7F] | ' )  # Most words, the fast way.
    | {_LETTER} [{_LETTER}\p{{M}}]*+ (?: ' {_LETTER} [{_LETTER}\p{{M}}]*+ )*+
    | {_ALONE} [\p{{M}}ー]*+
    | \p{{Regional_Indicator}}{{2}}  # A flag.
    # Emoji, stars and the like, but no bullets, lines, Braille or signs of lost characters.
    | (?! [\x00-\u25FF\u2800-\u28FF\uFFFC\uFFFD] ) \p{{So}}
"""


@functools.cache
def compiled(pattern: str) -> Any:
    """A pattern with properties of Unicode, which `re` lacks. To import `regex` takes a while."""
    import regex

    return regex.compile(pattern, regex.VERSION1 | regex.VERBOSE)


_RULES: dict[TextRules, Callable[[str], list[str]]] = {"keras": _keras, "unicode": _unicode}
