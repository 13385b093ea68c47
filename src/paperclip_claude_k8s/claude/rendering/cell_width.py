"""How many columns of a terminal a text needs."""

from unicodedata import category, east_asian_width

_EMOJI_STYLE = "\ufe0f"
"""Turns the narrow character before it into a wide emoji, so it adds one column."""


def cell_width(text: str) -> int:
    """The columns of a text without control characters. Wide characters need two, combining ones none.

    If the width is uncertain, the larger one counts. If it were too small, the terminal itself would wrap the
    line, and the second part would have no prefix.
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
    if kind == "Cn":  # newer than Python's Unicode table, and perhaps an emoji
        return 2
    return 0 if kind in {"Mn", "Me", "Cf"} else 1
