"""Runs the hook that shortens the output of tools with node, as the Claude CLI does."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support.programs import program

from paperclip_claude_k8s.plan import rtk

SCRIPT = Path(rtk.__file__).with_name(rtk.SCRIPT)


def run_hook(payload: Any, limit: int) -> dict[str, Any] | None:
    """What the hook tells the CLI; None if it prints nothing. `limit`: most bytes of output that it keeps."""
    ran = subprocess.run(
        [program("node"), str(SCRIPT), str(limit)],
        input=payload if isinstance(payload, bytes) else json.dumps(payload).encode(),
        capture_output=True,
        check=True,
    )
    printed: dict[str, Any] | None = json.loads(ran.stdout)["hookSpecificOutput"] if ran.stdout else None
    return printed
