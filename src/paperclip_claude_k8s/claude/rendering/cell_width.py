"""How many columns of a terminal a text needs."""

from unicodedata import category, east_asian_width

_EMOJI_STYLE = "\ufe0f"
"""Turns the narrow character that it follows into a wide emoji."""


def cell_width(text: str) -> int:
    """The columns of a text without control characters. Wide characters need two, combining ones none.

    In doubt the result is one too many. With one too few, the terminal itself would break the line, and the
    rest of the line would have no bar before it.
    """
    if text.isascii():
        return len(text)
    return sum(map(char_width, text))


def char_width(char: str) -> int:
    if char < "\u0300":
        return 1
    if east_asian_width(char) in {"W", "F"}:
        return 2
    if char == _EMOJI_STYLE:
        return 1
    kind = category(char)
    if kind == "Cn":  # newer than Python's table, and perhaps an emoji
        return 2
    return 0 if kind in {"Mn", "Me", "Cf"} else 1
