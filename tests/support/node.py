"""The Node package as a host in Node uses it."""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.cli_commands import SOURCE
from tests.support.programs import program

HOST = Path(__file__).with_name("node_host.mjs")
PATIENCE = 50.0
"""Seconds; a host that nothing keeps alive ends by itself."""


async def node_host(
    folder: Path, steps: Sequence[Any], env: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], str]:
    """`{answers, heard}` by the steps' names, and stderr. Steps in a list go at once."""
    process = await asyncio.create_subprocess_exec(
        *(program("node"), "--no-warnings", str(HOST)),
        stdin=-1,
        stdout=-1,
        stderr=-1,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": SOURCE, **(env or {})},
    )
    asked = json.dumps({"folder": str(folder), "steps": steps}).encode()
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate(asked)
    assert process.returncode == 0, err.decode()
    told: dict[str, Any] = json.loads(out)
    return told, err.decode()
