"""Reads the captures: recorded runs of the CLI.

A capture is the stdout of a run, with a sidecar file that lists the facts that a parser must find.
"""

import gzip
import json
from pathlib import Path
from typing import Any

CAPTURES = Path(__file__).parents[2] / "fixtures" / "claude"
OLD, NEW = "captures", "captures-2.1.332"
"""Folders of the captures of versions 2.1.197 and 2.1.332."""
NAMES = sorted(path.stem for path in (CAPTURES / OLD).glob("*.json"))
"""Names of the captures of 2.1.197."""
ALL = [(folder, path.stem) for folder in (OLD, NEW) for path in sorted((CAPTURES / folder).glob("*.json"))]
"""(folder, name) of every capture."""


def recorded(name: str, folder: str = OLD) -> tuple[bytes, dict[str, Any]]:
    """The stdout of a capture and its sidecar."""
    plain = CAPTURES / folder / f"{name}.ndjson"
    packed = CAPTURES / folder / f"{name}.ndjson.gz"
    stdout = plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())
    return stdout, json.loads((CAPTURES / folder / f"{name}.json").read_text(encoding="utf-8"))


def _name_of(number: str) -> str:
    """The full name, such as "02-text-tools-multiblock", for the number "02"."""
    (name,) = (name for name in NAMES if name.startswith(f"{number}-"))
    return name


def capture(number: str) -> bytes:
    """The stdout of the capture of 2.1.197 with this number, such as "02"."""
    return recorded(_name_of(number))[0]


def sidecar(number: str) -> dict[str, Any]:
    """The sidecar of the capture of 2.1.197 with this number."""
    return recorded(_name_of(number))[1]


def capture_file(number: str) -> str:
    """The name of the uncompressed file of the capture of 2.1.197 with this number."""
    return f"{_name_of(number)}.ndjson"
