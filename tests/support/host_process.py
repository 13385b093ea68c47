"""A host process that can be killed: runs the ctx given as JSON on its stdin, and says so on stdout.

Prints `started` once the agent's first line has come, and the wire result at the end. Told where to die, it
kills itself there, at that call and moment; else its calls come as one more line.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, cast

from tests.support.traced_cluster import Doorway, Heed, Moment

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.ports import ProcessSettings


def dying_at(call: str, moment: str) -> Heed:
    def heed(now: str, when: Moment) -> bool:
        if (now, when) == (call, moment):
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    return heed


async def main(ctx: Mapping[str, Any], env: Mapping[str, str], more: Mapping[str, Any]) -> None:
    doors: list[Doorway] = []
    heed = dying_at(*more.get("dies", ("", "")))

    def connect(kubeconfig: str | None, timings: Timings) -> Cluster:
        doors.append(Doorway(Gateway(kubeconfig, timings), heed))
        return cast("Cluster", doors[-1])

    settings = ProcessSettings(env=env, timings=Timings(**more.get("timings", {})))
    adapter, told = Adapter(settings, connect), False

    async def on_log(stream: str, text: str) -> None:
        nonlocal told
        if not told and stream == "stdout" and not text.startswith("[paperclip] "):
            told = True
            print("started", flush=True)

    result = await adapter.execute({**ctx, "onLog": on_log})
    print(json.dumps(result.to_wire()), flush=True)
    await adapter.shutdown()
    print(json.dumps([call for door in doors for call in door.calls]), flush=True)


if __name__ == "__main__":
    given = json.loads(sys.stdin.readline())
    asyncio.run(main(given["ctx"], given["env"], given))
