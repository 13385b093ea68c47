"""The command line as operators start it, of the very package that is tested here."""

import asyncio
import sys
from pathlib import Path

import paperclip_claude_k8s

SOURCE = str(Path(paperclip_claude_k8s.__file__).parents[1])


async def claude_k8s(*args: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "paperclip_claude_k8s",
        *args,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": SOURCE, **(env or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()
