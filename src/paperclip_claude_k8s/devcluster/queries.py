"""Reads numbers from the query of a request."""

from paperclip_claude_k8s.devcluster.problems import bad_request

MAX_DIGITS = 18
"""Every number of so many digits fits into 64 bits."""


def number(query: dict[str, str], name: str) -> int | None:
    """The value of a parameter; None if it is missing. Raises a 400 `Problem` if it is not a whole number."""
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise bad_request(f"invalid query parameter {name}: not a whole number")
    return int(text)
