r"""Makes text from outside safe to show: replaces characters that control a terminal or that nobody sees.

These are control characters (Unicode's category Cc, except tab and newline), format characters (Cf, such as
zero-width spaces and changes of the reading order), line separators that are not a newline, other invisible
characters, and halves of surrogate pairs.

`neutral` is for people: a visible character replaces each of them. `escape_in_json` is for programs: the
JSON stays equal, with `\u` and four digits in place of each of them.
"""

import re

_JOINERS = "\u00ad\u200c\u200d"
"""Soft hyphen, non-joiner and joiner. `neutral` removes them and puts nothing in their place: a visible
character would disfigure words of ordinary text.

As a consequence, the emoji of a family, which contains joiners, is shown as one emoji for each person.
"""

_UNSAFE_CHARS = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, 7-bit and 8-bit, except tab and newline
    "\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u17b4-\u17b5\u180b-\u180f"
    "\u115f\u1160\u3164\uffa0"  # fillers of Hangul, which are letters that are not drawn
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
    "\ud800-\udfff"  # halves of surrogate pairs, which cannot be encoded
)
_UNSAFE = re.compile(f"[{_UNSAFE_CHARS}]")
_CONTROL_PICTURES = 0x2400
"""Start of the Unicode block with a visible symbol for each of the 32 control characters."""


def neutral(text: str) -> str:
    """The text with each unsafe character replaced by a visible one; joiners and soft hyphens are removed."""
    return _UNSAFE.sub(_visible, text)


def encodable(text: str) -> str:
    """The text with question marks in place of lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode("utf-8")


def escape_in_json(text: str) -> str:
    r"""A JSON text with each unsafe character as `\uXXXX`, which means the same to every JSON parser.

    Tabs and newlines stay: in valid JSON they only stand between values.
    """
    return _UNSAFE.sub(_escaped, text)


def _visible(found: re.Match[str]) -> str:
    char = found[0]
    if char in _JOINERS:
        return ""
    code = ord(char)
    if code < 0x20:
        return chr(_CONTROL_PICTURES + code)
    return "\u2421" if code == 0x7F else "\ufffd"


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
