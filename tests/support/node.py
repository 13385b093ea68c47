"""Runs the npm package in a minimal Node host."""

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
"""Seconds for all steps; the host exits by itself when nothing keeps it alive."""


async def node_host(
    folder: Path, steps: Sequence[Any], env: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], str]:
    """Run steps, an inner list of them concurrently; return `{answers, callbacks}` by step, and stderr."""
    process = await asyncio.create_subprocess_exec(
        *(program("node"), "--no-warnings", str(HOST)),
        stdin=-1,
        stdout=-1,
        stderr=-1,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": SOURCE, **(env or {})},
    )
    stdin = json.dumps({"folder": str(folder), "steps": steps}).encode()
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate(stdin)
    assert process.returncode == 0, err.decode()
    outcome: dict[str, Any] = json.loads(out)
    return outcome, err.decode()
