"""Start latency on a real cluster, for each session volume and workspace, compared with a run without them.

    python -m tests.perf.start_latency [REPEATS]

The environment variables KUBECONFIG_FOR_TESTS, ADMIN_KUBECONFIG_FOR_TESTS and SHARED_VOLUME_FOR_TESTS are
those of `tests/journeys`; CLAUDE_IMAGE is an image with git. Each repeat starts one run of every kind, and
one Job without the adapter that only prints. Each agent prints the machine's uptime as its first line, so
that Pod and host are measured on one clock. The table shows milliseconds from the call of `execute` until the
Job exists, until the agent runs, and until the host has the agent's first line.
"""

import asyncio
import os
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from tests.support.git_server import GitServer, git_server
from tests.support.policies import TEMPORARY_FOLDERS
from tests.support.real_account import open_account
from tests.support.real_cluster import RESULT
from tests.support.real_namespace import NAMESPACE, THIS_MACHINE
from tests.support.static_volumes import claim_of_auto, volume_for

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.port import LogRequest
from paperclip_claude_k8s.instrumentation import Event, RunLaunched, RunReceived
from paperclip_claude_k8s.ports import ProcessSettings

PRINT_UPTIME = 'echo "up $(cut -d" " -f1 /proc/uptime)"'
IMAGE = "local/agent:1"
FILES, FILE_BYTES = 1000, 10_000
"""Number and size of the files in the repository, and in the smaller folder that is uploaded."""
LARGE_FILES = 5000
"""Number of files, of the same size, in the larger folder that is uploaded."""
NO_SESSION = {"sessionVolume": "none", "workspace": "none"}
AUTO = {"sessionVolume": "auto"}
NEW_AGENT = ""
"""Stands for an agent that is not used by any other run."""


@dataclass(slots=True)
class Start:
    """Seconds from the call that starts a run or a Job until each step."""

    created: float
    """The Job exists."""
    started: float = 0.0
    """The agent runs."""
    first_line: float = 0.0
    """The host has the agent's first line."""


Way: TypeAlias = Callable[[], Awaitable[Start]]


def uptime() -> float:
    """Return what `/proc/uptime` shows: the seconds since the machine was booted."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def random_files(count: int) -> dict[str, str]:
    """Return names and contents of files; the contents do not compress well."""
    return {f"d{number % 50}/f{number}": os.urandom(FILE_BYTES // 2).hex() for number in range(count)}


def write_files(folder: Path, count: int) -> Path:
    for name, text in random_files(count).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@dataclass(slots=True)
class Runs:
    """Runs agents from a host outside of the cluster, and measures their starts."""

    adapter: Adapter
    gateway: Gateway
    kubeconfig: str
    server: GitServer
    received: datetime | None = None
    """When the adapter received the newest run."""
    launched: float = 0.0
    """Seconds from then until the run's Job and Secrets existed."""

    def on_event(self, event: Event) -> None:
        if isinstance(event, RunReceived):
            self.received = event.at
        if isinstance(event, RunLaunched) and self.received is not None:
            self.launched = (event.at - self.received).total_seconds()

    async def execute(
        self, config: Mapping[str, Any], workspace: Mapping[str, Any] | None = None, agent: str = NEW_AGENT
    ) -> Start:
        start = Start(0.0)
        began = uptime()

        async def on_log(_stream: str, text: str) -> None:
            if text.startswith("up "):
                start.first_line = uptime() - began
                start.started = float(text.split()[1]) - began

        result = await self.adapter.execute(
            {
                "runId": str(uuid.uuid4()),
                "agent": {"id": agent or f"agent-{uuid.uuid4().hex[:8]}", "companyId": "co"},
                "config": {
                    "kubeconfig": self.kubeconfig,
                    "image": IMAGE,
                    "imagePullPolicy": "Never",
                    "gitImage": os.environ["CLAUDE_IMAGE"],
                    "resources.requests.cpu": "10m",
                    "resources.requests.memory": "16Mi",
                    "startTimeoutSec": 300,
                    "uploadLimit": "128Mi",
                    "env": {"CLAUDE_SCRIPT": f"{PRINT_UPTIME}; {RESULT}"},
                    **config,
                },
                "context": {"taskId": "task-1", "paperclipWorkspace": dict(workspace or {})},
                "onLog": on_log,
            }
        )
        if result.error_message is not None:
            raise RuntimeError(result.error_message)
        await asyncio.sleep(1)  # events arrive in another thread
        start.created = self.launched
        return start

    async def start_plain_job(self) -> Start:
        """Start a Job with the same image that only prints, without the adapter; read its log."""
        name = f"plain-{uuid.uuid4().hex[:8]}"
        container = {
            "name": "claude",
            "image": IMAGE,
            "imagePullPolicy": "Never",
            "command": ["sh", "-c", PRINT_UPTIME],
        }
        spec = {"restartPolicy": "Never", "containers": [container]}
        template = {"metadata": {"labels": {"app": name}}, "spec": spec}
        meta = {"name": name, "namespace": NAMESPACE}
        body = {"backoffLimit": 0, "template": template}
        began = uptime()
        job = await self.gateway.create_job(
            NAMESPACE, {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": body}
        )
        start = Start(uptime() - began)
        try:
            text = await self._first_line(name)
            start.first_line = uptime() - began
            start.started = float(text.split()[2]) - began  # word 0 is the timestamp of the log
        finally:
            await self.gateway.delete_job(job.ref, "Background")
        return start

    async def _first_line(self, app: str) -> str:
        """Return the first line of the Pod's log. Read the Pod every 20 ms until it reports its container."""
        while True:
            for pod in (await self.gateway.list_pods(NAMESPACE, {"app": app})).items:
                if pod.agent is not None and pod.agent.container_id:
                    async with self.gateway.log(LogRequest(NAMESPACE, pod.name, "claude")) as log:
                        if block := await log.read():
                            return block.decode()
            await asyncio.sleep(0.02)

    async def execute_with_git(self, agent: str, **config: Any) -> Start:
        return await self.execute(
            {**NO_SESSION, "workspace": "git", **config}, {"repoUrl": f"{self.server.address}/app.git"}, agent
        )


@asynccontextmanager
async def open_runs() -> AsyncIterator[tuple[Runs, Path]]:
    """Start a git server, an adapter and its account; yield `Runs` on them, and a temporary folder."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "git").mkdir()
        server = stack.enter_context(git_server(folder / "git", THIS_MACHINE))
        server.new_repository("app", random_files(FILES))
        account = await stack.enter_async_context(open_account("latency", folder, auto_claims=True))
        policy = TEMPORARY_FOLDERS.model_copy(update={"repositories": ("http://*",)})
        adapter = Adapter(ProcessSettings(env={}, policy=policy))
        stack.push_async_callback(adapter.shutdown)
        gateway = Gateway(os.environ["ADMIN_KUBECONFIG_FOR_TESTS"])
        stack.push_async_callback(gateway.close)
        runs = Runs(adapter, gateway, account.kubeconfig, server)
        adapter.on_event(runs.on_event)
        yield runs, folder


async def measure(repeats: int) -> dict[str, list[Start]]:
    starts_by_way: dict[str, list[Start]] = {}
    async with open_runs() as (runs, folder):
        small = {"cwd": str(write_files(folder / "small", FILES))}
        large = {"cwd": str(write_files(folder / "large", LARGE_FILES))}
        # the first run of a process takes longer: it also reads the cluster's version, for example
        await runs.execute(NO_SESSION)
        for _ in range(repeats):
            agent = f"agent-{uuid.uuid4().hex[:8]}"
            async with volume_for(claim_of_auto(agent)):
                auto = {**NO_SESSION, **AUTO}
                ways: dict[str, Way] = {
                    "a Job that only prints": runs.start_plain_job,
                    "no session, no workspace": lambda: runs.execute(NO_SESSION),
                    "sessionVolume auto, new claim": lambda: runs.execute(auto, agent=agent),  # noqa: B023
                    "sessionVolume auto, again": lambda: runs.execute(auto, agent=agent),  # noqa: B023
                    "workspace git, no session": lambda: runs.execute_with_git(NEW_AGENT),
                    "workspace git, first clone": lambda: runs.execute_with_git(agent, **AUTO),  # noqa: B023
                    "workspace git, next clone": lambda: runs.execute_with_git(agent, **AUTO),  # noqa: B023
                    "workspace upload, 10 MB": lambda: runs.execute(
                        {**NO_SESSION, "workspace": "upload"}, small
                    ),
                    "workspace upload, 50 MB": lambda: runs.execute(
                        {**NO_SESSION, "workspace": "upload"}, large
                    ),
                }
                for name, way in ways.items():
                    starts_by_way.setdefault(name, []).append(await way())
    return starts_by_way


def main(repeats: int) -> int:
    starts_by_way = asyncio.run(measure(repeats))
    baseline = median(start.started for start in starts_by_way["no session, no workspace"])
    print(f"{repeats} runs each: median (largest) in milliseconds.")
    print("Added: time until the agent runs, minus that of the second row")
    print("| way | Job created | agent runs | first line at the host | added |\n|---|---|---|---|---|")
    for name, starts in starts_by_way.items():
        columns = [
            [1000 * getattr(start, step) for start in starts] for step in ("created", "started", "first_line")
        ]
        shown = " | ".join(f"{median(column):.0f} ({max(column):.0f})" for column in columns)
        print(f"| {name} | {shown} | {1000 * (median(s.started for s in starts) - baseline):+.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
