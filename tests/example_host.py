"""A complete Paperclip-like host: loads the adapter into this process and runs two agents concurrently.

Usage: `python tests/example_host.py KUBECONFIG NAMESPACE IMAGE`.
"""

import asyncio
import importlib.metadata
import json
import sys
import uuid
from typing import Any

from paperclip_claude_k8s import Adapter, ExecutionResult


def load_adapter() -> Adapter:
    """Load the adapter through its entry point, like a host that knows only the names of adapters."""
    (entry,) = importlib.metadata.entry_points(group="paperclip.adapters", name="claude_k8s")
    adapter: Adapter = entry.load()()
    return adapter


async def run_agent(
    adapter: Adapter, agent: str, config: dict[str, Any], stop: asyncio.Event
) -> dict[str, Any]:
    """Run one agent, print its output as it arrives, and return the result as JSON."""

    async def on_log(stream: str, text: str) -> None:
        for line in text.splitlines():
            print(f"{agent} {stream}: {line[:100]}", file=sys.stderr)

    ctx = {
        "runId": str(uuid.uuid4()),
        "agent": {"id": agent, "companyId": "example", "name": agent.title()},
        "runtime": {"sessionId": None, "sessionParams": None},
        "config": config,
        "context": {"taskId": f"task-of-{agent}", "paperclipTaskMarkdown": "Say hello."},
        "onLog": on_log,
        "signal": stop,  # setting it stops the agent; the run ends with the code `cancelled`
    }
    result: ExecutionResult = await adapter.execute(ctx)
    return result.to_wire()


async def run_two(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Run two agents concurrently.

    If this coroutine is cancelled, their Jobs continue for the next process.
    """
    adapter, stop = load_adapter(), asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            runs = [group.create_task(run_agent(adapter, name, config, stop)) for name in ("ada", "grace")]
    finally:
        await adapter.shutdown()
    return [run.result() for run in runs]


if __name__ == "__main__":
    kubeconfig, namespace, image = sys.argv[1:]
    settings = {"kubeconfig": kubeconfig, "namespace": namespace, "image": image}
    print(json.dumps(asyncio.run(run_two(settings)), indent=2))
