"""Reads the tables that document settings, policy fields and error codes: lists of entries under headings."""

import tomllib
from collections.abc import Iterator
from typing import Any


def entries_under_headings(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each entry of a TOML document `[["Heading"]] …`, with its heading, in the document's order."""
    for heading, entries in tomllib.loads(text).items():
        for entry in entries:
            yield heading, entry
