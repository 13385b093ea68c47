"""The recorded runs of the CLI: stdout of each, and a sidecar file with the facts that a parser must find."""

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


def _name(number: str) -> str:
    (name,) = (name for name in NAMES if name.startswith(f"{number}-"))
    return name


def capture(number: str) -> bytes:
    """The stdout of the capture of 2.1.197 with this number, such as "02"."""
    return recorded(_name(number))[0]


def sidecar(number: str) -> dict[str, Any]:
    """The sidecar of that capture."""
    return recorded(_name(number))[1]


def capture_file(number: str) -> str:
    """The file name of that capture, uncompressed."""
    return f"{_name(number)}.ndjson"
