"""A host process that can be killed: runs the ctx given as JSON on its stdin, and says so on stdout.

Prints `started` once the agent's first line has come, and the wire result at the end.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.ports import House


async def main(ctx: Mapping[str, Any], env: Mapping[str, str]) -> None:
    adapter, told = Adapter(House(env=env)), False

    async def on_log(stream: str, text: str) -> None:
        nonlocal told
        if not told and stream == "stdout" and not text.startswith("[paperclip] "):
            told = True
            print("started", flush=True)

    result = await adapter.execute({**ctx, "onLog": on_log})
    print(json.dumps(result.to_wire()), flush=True)
    await adapter.shutdown()


if __name__ == "__main__":
    given = json.loads(sys.stdin.readline())
    asyncio.run(main(given["ctx"], given["env"]))
