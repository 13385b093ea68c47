"""Runs the npm package in a minimal Paperclip-like host, `node_host.mjs`."""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.cli_commands import SOURCE
from tests.support.programs import program

NODE_HOST = Path(__file__).with_name("node_host.mjs")
STEPS_TIMEOUT = 50.0
"""Seconds for all steps, until the host exits because nothing is pending."""


async def node_host(
    folder: Path, steps: Sequence[Any], env: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], str]:
    """Run the steps one after another, those in an inner list concurrently.

    Return `{"results": ..., "callbacks": ...}`, each by name of the step, and stderr.
    """
    process = await asyncio.create_subprocess_exec(
        *(program("node"), "--no-warnings", str(NODE_HOST)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": SOURCE, **(env or {})},
    )
    stdin = json.dumps({"folder": str(folder), "steps": steps}).encode()
    async with asyncio.timeout(STEPS_TIMEOUT):
        out, err = await process.communicate(stdin)
    assert process.returncode == 0, err.decode()
    outcome: dict[str, Any] = json.loads(out)
    return outcome, err.decode()


def warnings_in(stderr: str) -> list[str]:
    """The lines that are no log record of level INFO."""
    return [line for line in stderr.splitlines() if '"level": "INFO"' not in line]
