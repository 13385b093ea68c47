"""Versions of the Claude CLI."""

import re

NEWEST_KNOWN = "2.1.332"
"""The newest version whose output was recorded and compared with what this package reads."""
_NUMBERS = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})", re.ASCII)


def numbers_of(version: str) -> tuple[int, ...]:
    """The numbers of a version such as "2.1.332", for comparisons; empty if there are none."""
    found = _NUMBERS.match(version)
    return tuple(int(part) for part in found.groups()) if found else ()


def is_newer_than_known(version: str) -> bool:
    """Whether the version is newer than `NEWEST_KNOWN`."""
    return numbers_of(version) > numbers_of(NEWEST_KNOWN)
