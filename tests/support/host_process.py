"""A Paperclip host process for tests, which can kill itself at a given API call.

It reads one JSON object from stdin and runs an agent with the context `ctx`; `env` is the environment of the
adapter. It prints `started` after the agent's first line, and at last two lines of JSON: the result, and the
list of the API calls. With `"killed_at": [call, "before"]` or `[call, "after"]` it kills itself at that call.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, cast

from tests.support.policies import TEMPORARY_FOLDERS
from tests.support.traced_cluster import CallHook, Moment, TracedCluster

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.kubeconfig import ClusterSource
from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.ports import ProcessSettings

NEVER = ("", "")
"""The call and the moment of no call."""


def killing_at(call: str, moment: str) -> CallHook:
    """A hook that kills this process before or after the call, as `moment` says."""

    def hook(current_call: str, current_moment: Moment) -> bool:
        if (current_call, current_moment) == (call, moment):
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    return hook


async def main(ctx: Mapping[str, Any], env: Mapping[str, str], options: Mapping[str, Any]) -> None:
    traced: list[TracedCluster] = []
    hook = killing_at(*options.get("killed_at", NEVER))

    def connect(source: ClusterSource, settings: ProcessSettings) -> Cluster:
        traced.append(TracedCluster(Gateway(source.kubeconfig, settings.timings), hook))
        return cast("Cluster", traced[-1])

    settings = ProcessSettings(
        env=env, timings=Timings(**options.get("timings", {})), policy=TEMPORARY_FOLDERS
    )
    adapter, started = Adapter(settings, connect), False

    async def on_log(stream: str, text: str) -> None:
        nonlocal started
        if not started and stream == "stdout" and not text.startswith("[paperclip] "):
            started = True
            print("started", flush=True)

    result = await adapter.execute({**ctx, "onLog": on_log})
    print(json.dumps(result.to_wire()), flush=True)
    await adapter.shutdown()
    print(json.dumps([call for cluster in traced for call in cluster.calls]), flush=True)


if __name__ == "__main__":
    given = json.loads(sys.stdin.readline())
    asyncio.run(main(given["ctx"], given["env"], given))
