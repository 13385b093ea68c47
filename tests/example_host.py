"""The in-process way in, whole: a host that finds the adapter, runs two agents at once and can stop them.

python tests/example_host.py KUBECONFIG NAMESPACE IMAGE
"""

import asyncio
import importlib.metadata
import json
import sys
import uuid
from typing import Any


def load_adapter() -> Any:
    """Any adapter that is installed announces itself in the entry point group `paperclip.adapters`."""
    (entry,) = importlib.metadata.entry_points(group="paperclip.adapters", name="claude_k8s")
    return entry.load()()


async def run_agent(adapter: Any, agent: str, config: dict[str, Any], stop: asyncio.Event) -> dict[str, Any]:
    """One run: output is printed as it comes, the result is plain JSON."""

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
        "signal": stop,  # set it, and the run ends as `cancelled`
    }
    result = await adapter.execute(ctx)
    return dict(result.to_wire())


async def run_two(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Two agents side by side in one process."""
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
