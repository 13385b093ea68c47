"""How many columns of a terminal a text needs."""

from unicodedata import category, east_asian_width


def cell_width(text: str) -> int:
    """The columns of a text without control characters. Wide characters need two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(map(char_width, text))


def char_width(char: str) -> int:
    if char < "\u0300":
        return 1
    if east_asian_width(char) in {"W", "F"}:
        return 2
    return 0 if category(char) in {"Mn", "Me", "Cf"} else 1
