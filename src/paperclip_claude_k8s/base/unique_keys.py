"""Objects in which no key comes twice. Of two values of one key, one would silently have no effect."""

from typing import Any, TypeVar

K = TypeVar("K")
MAX_KEY_CHARS = 80
"""Longest part of a key that an error quotes."""


class DuplicateKeyError(ValueError):
    """A key comes twice."""

    def __init__(self, key: object) -> None:
        self.key = str(key)[:MAX_KEY_CHARS]
        super().__init__(f"{self.key} is there twice: leave one out")


def object_of(pairs: list[tuple[K, Any]]) -> dict[K, Any]:
    """The object of these pairs; an `object_pairs_hook` of `json.loads`. Raises `DuplicateKeyError`."""
    found: dict[K, Any] = {}
    for key, value in pairs:
        if key in found:
            raise DuplicateKeyError(key)
        found[key] = value
    return found
