"""Reads the captures: recorded runs of the Claude CLI, in the folder `captures`.

A capture is the stdout of a run. Beside it, a JSON file describes the run, and lists the facts that a parser
must find in the stdout.
"""

import gzip
import json
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

CAPTURE_VERSIONS = ("2.1.197", "2.1.332")
"""Versions of the CLI of which there are captures; the first is the default."""


def _folder(version: str) -> Traversable:
    if version not in CAPTURE_VERSIONS:
        raise ValueError(f"there are no captures of version {version}, only of {', '.join(CAPTURE_VERSIONS)}")
    return files("paperclip_claude_k8s.testing").joinpath("captures", version)


@cache
def capture_names(version: str = CAPTURE_VERSIONS[0]) -> tuple[str, ...]:
    """The sorted names of all captures of a version, such as "02-tools-multiblock"."""
    names = (file.name for file in _folder(version).iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


def _full_name(name: str, version: str) -> str:
    names = [known for known in capture_names(version) if known == name or known.startswith(f"{name}-")]
    if len(names) != 1:
        raise ValueError(f"no capture of version {version} is named {name}: see capture_names()")
    return names[0]


def capture(name: str, version: str = CAPTURE_VERSIONS[0]) -> bytes:
    """The stdout of a capture.

    `name`: the name, or its part before the first hyphen, such as "02".

    Raises:
        ValueError: there is no such capture.
    """
    folder, full = _folder(version), _full_name(name, version)
    plain = folder.joinpath(f"{full}.ndjson")
    if plain.is_file():
        return plain.read_bytes()
    return gzip.decompress(folder.joinpath(f"{full}.ndjson.gz").read_bytes())


def capture_facts(name: str, version: str = CAPTURE_VERSIONS[0]) -> dict[str, Any]:
    """The description of a capture: how the CLI was started, how it exited, what its output contains.

    `exit_code`: null if a signal ended the CLI. `facts.expected_class`: "ok" or the kind of failure.

    Raises:
        ValueError: there is no such capture.
    """
    file = _folder(version).joinpath(f"{_full_name(name, version)}.json")
    facts: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return facts
