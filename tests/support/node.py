"""Runs the npm package in a minimal Paperclip-like host, `node_host.mjs`."""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.cli_commands import SOURCE
from tests.support.programs import program

from paperclip_claude_k8s.bridge.package import MIN_SERVER

NODE_HOST = Path(__file__).with_name("node_host.mjs")
LIVE_EVENTS = Path(__file__).with_name("live_events.mjs")
STEPS_TIMEOUT = 50.0
"""Seconds within which the host must exit, which it does when nothing is pending any more."""


async def node_host(
    folder: Path, steps: Sequence[Any], env: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], str]:
    """Run steps with the npm package in `folder`: one after another, but those of an inner list concurrently.

    Return what `node_host.mjs` prints, and stderr. `results` and `callbacks` are by name of the step.
    """
    process = await asyncio.create_subprocess_exec(
        *(program("node"), "--no-warnings", str(_installed_host(folder.with_name("host")))),
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


def _installed_host(folder: Path) -> Path:
    """Write the host's program and a stub of the package `@paperclipai/server`; return the program's path."""
    package = folder / "node_modules" / "@paperclipai" / "server"
    services = package / "dist" / "services"
    services.mkdir(parents=True, exist_ok=True)
    events = "./dist/services/live-events.js"
    manifest = {
        "name": "@paperclipai/server",
        "version": MIN_SERVER,
        "type": "module",
        "exports": {".": events, "./live-events": events},
    }
    (package / "package.json").write_text(json.dumps(manifest))
    (services / "live-events.js").write_text(LIVE_EVENTS.read_text())
    host = folder / NODE_HOST.name
    host.write_text(NODE_HOST.read_text())
    return host


def run_step(name: str, ctx: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A step of `node_host`: one run."""
    return {"name": name, "method": "execute", "ctx": ctx, **more}


def warnings_in(stderr: str) -> list[str]:
    """The lines that are no log record of level INFO."""
    return [line for line in stderr.splitlines() if '"level": "INFO"' not in line]
