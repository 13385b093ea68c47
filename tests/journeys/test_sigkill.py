"""Paperclip host processes that kill themselves before or after a call to the cluster, and their successors.

`tests/run/test_crashes.py` does the same in virtual time, for more scenarios.
"""

import asyncio
import json
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.policies import TEMPORARY_FOLDERS
from tests.support.runs import SMALL_REQUESTS
from tests.support.strategy_calls import NEW_README, make_project
from tests.support.traced_cluster import Moment

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.devcluster import DevCluster
from paperclip_claude_k8s.devcluster.kinds import JOBS, LEASES, PODS, SECRETS
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import HostLog

ROOT = Path(__file__).parents[2]
RESULT = '{"type":"result","subtype":"success","is_error":false,"result":"done","session_id":"s"}'
SCRIPT = f"for n in $(seq 20); do echo line $n; sleep 0.06; done; printf '%s\\n' '{RESULT}'"
WHOLE_OUTPUT = "".join(f"line {n}\n" for n in range(1, 21)) + RESULT + "\n"
CALLS = (
    *("create_lease of process", "create_lease of slot", "list_leases", "list_jobs", "list_pods"),
    *("create_job", "list_jobs (2)", "create_secret", "watch_jobs", "watch_pods", "log followed"),
    "replace_lease of process",
    *("delete_job in the background", "delete_lease of slot", "delete_lease of process"),
)
"""Every call of a run without faults. (2): the second call of this kind. `replace_lease` is repeated."""
OCCASIONAL_CALLS = {"log read", "list_events"}
"""Further calls on a busy machine: a stream ends before its container, or a Pod starts slowly."""
DELETE_JOB = "delete_job in the background"
RUNS_AGAIN_AFTER = (DELETE_JOB, "delete_lease of slot", "delete_lease of process")
"""A host that is killed after one of these calls leaves no Job and no result: the agent runs again."""
CONCURRENT_HOSTS = 5
"""Number of concurrent host processes, which share the cores of this machine."""
CLEANUP_CALLS = ("delete_lease of slot", "delete_lease of process")
"""A starting process also makes these calls for Leases of killed processes. So each has its own cluster."""
OTHER_CALLS = [call for call in CALLS if call not in CLEANUP_CALLS]
CALL_GROUPS = [
    *(
        OTHER_CALLS[first : first + CONCURRENT_HOSTS]
        for first in range(0, len(OTHER_CALLS), CONCURRENT_HOSTS)
    ),
    *([call] for call in CLEANUP_CALLS),
]
"""For each cluster, the calls at which its processes kill themselves."""
CLEANUP_TIMEOUT = 60.0
"""Seconds within which the objects of killed processes must be deleted."""


@dataclass(slots=True)
class ClusterUnderTest:
    """A development cluster, an adapter that uses it, and the violations that were found."""

    cluster: DevCluster
    adapter: Adapter
    violations: list[str] = field(default_factory=list)

    def ctx(self) -> dict[str, Any]:
        """The context of a run of a new agent."""
        config = {"kubeconfig": str(self.cluster.kubeconfig), "image": "local/agent:1", **SMALL_REQUESTS}
        return {
            "runId": str(uuid.uuid4()),
            "agent": {"id": f"agent-{uuid.uuid4().hex[:8]}", "companyId": "co"},
            "context": {"taskId": "task-1", "paperclipTaskMarkdown": "Count."},
            "config": {**config, "env": {"CLAUDE_SCRIPT": SCRIPT}},
        }

    def leftovers(self) -> list[str]:
        """All Jobs, Pods, Secrets and Leases that exist."""
        kinds = (JOBS, PODS, SECRETS, LEASES)
        return [f"{kind.plural}/{obj['metadata']['name']}" for kind in kinds for obj in self._all(kind)]

    def _all(self, kind: Any) -> list[Any]:
        return list(self.cluster.store.list(kind, self.cluster.namespace))

    def count_agents(self, agent: str) -> int:
        """The number of Pods of this agent that have run; adds a violation if two ran at the same time."""
        ran: set[str] = set()
        running: set[str] = set()
        for change in self.cluster.store.changes_after(1):
            meta = change.object["metadata"]
            if change.kind != PODS or meta["labels"].get("paperclip.io/agent-id") != agent:
                continue
            if change.type != "DELETED" and change.object["status"].get("phase") == "Running":
                running.add(meta["uid"])
            else:
                running.discard(meta["uid"])
            ran |= running
            if len(running) > 1:
                self.violations.append(f"{agent}: {len(running)} Pods ran at once")
        return len(ran)


@asynccontextmanager
async def cluster_under_test() -> AsyncIterator[ClusterUnderTest]:
    async with DevCluster.start() as cluster:
        adapter = Adapter(ProcessSettings(env={}, policy=TEMPORARY_FOLDERS))
        try:
            yield ClusterUnderTest(cluster, adapter)
        finally:
            await adapter.shutdown()


async def host_process(ctx: dict[str, Any], **more: Any) -> tuple[int, list[str]]:
    """Run a host process. Returns its exit code, and the lines on its stdout."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.host_process"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    request = {"ctx": ctx, "env": {}, "timings": {"lease_renewal": 0.5}, **more}
    lines, _ = await process.communicate(json.dumps(request).encode() + b"\n")
    assert process.returncode is not None
    return process.returncode, lines.decode().splitlines()


async def test_call_table_lists_every_call_of_a_good_run() -> None:
    async with cluster_under_test() as cluster:
        code, lines = await host_process(cluster.ctx())
        assert code == 0
        calls = json.loads(lines[-1])
        assert set(CALLS) <= set(calls)
        assert {_kind(call) for call in calls} <= {_kind(call) for call in CALLS} | OCCASIONAL_CALLS
        assert cluster.leftovers() == []


def _kind(call: str) -> str:
    return call.partition(" (")[0]


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("calls", CALL_GROUPS, ids=lambda calls: calls[0])
async def test_run_after_a_kill_at_any_call_succeeds_and_leaves_no_object(
    calls: list[str], moment: Moment
) -> None:
    async with cluster_under_test() as cluster:
        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(_kill_and_run_again(cluster, call, moment))
        await _check_cleanup(cluster)
        assert cluster.violations == []


@pytest.mark.parametrize(
    ("call", "moment"),
    [
        ("create_secret (2)", Moment.AFTER),
        ("create_secret (4)", Moment.BEFORE),
        ("watch_pods", Moment.AFTER),
        ("log followed (2)", Moment.AFTER),
        ("patch_job", Moment.BEFORE),
    ],
)
async def test_changes_of_an_uploaded_folder_survive_a_kill(
    tmp_path: Path, call: str, moment: Moment
) -> None:
    """A process is killed during the upload, while the agent works, or when it reads the changes."""
    project = tmp_path / "project"
    make_project(project)
    async with cluster_under_test() as cluster:
        ctx, host_log = cluster.ctx(), HostLog()
        env = {"CLAUDE_SCRIPT": f"sleep 1; printf '{NEW_README.strip()}\\n' >README; {SCRIPT}"}
        ctx["config"] |= {"workspace": "upload", "env": env}
        ctx["context"]["paperclipWorkspace"] = {"cwd": str(project)}
        code, _ = await host_process(ctx, killed_at=[call, moment])
        assert code == -signal.SIGKILL
        result = await cluster.adapter.execute({**ctx, "onLog": host_log.on_log})
        assert (result.error_message, host_log.stdout) == (None, WHOLE_OUTPUT), host_log.status
        assert (project / "README").read_text() == NEW_README, host_log.status
        assert {path.name for path in project.iterdir()} == {"README", "data"}
        assert cluster.count_agents(ctx["agent"]["id"]) == 1
        await _check_cleanup(cluster)
        assert cluster.violations == []


async def _kill_and_run_again(cluster: ClusterUnderTest, call: str, moment: Moment) -> None:
    """Execute a run in a process that kills itself before or after `call`, and again in this process."""
    ctx, host_log = cluster.ctx(), HostLog()
    code, _ = await host_process(ctx, killed_at=[call, moment])
    result = await cluster.adapter.execute({**ctx, "onLog": host_log.on_log})
    agents = cluster.count_agents(ctx["agent"]["id"])
    # a kill before the Job is deleted loses nothing: the Job is adopted
    again = call in RUNS_AGAIN_AFTER and (moment is Moment.AFTER or call != DELETE_JOB)
    found = (code, result.error_code, host_log.stdout == WHOLE_OUTPUT, agents)
    if found != (-signal.SIGKILL, None, True, 2 if again else 1):
        cluster.violations.append(f"{moment} {call}: {found} {result.error_message} {host_log.status}")


async def _check_cleanup(cluster: ClusterUnderTest) -> None:
    """Check that the next process removes what killed processes of this machine left behind."""
    await cluster.adapter.shutdown()
    adapter = Adapter(ProcessSettings(env={}))
    try:
        result = await adapter.execute({**cluster.ctx(), "onLog": HostLog().on_log})
        assert result.error_message is None
    finally:
        await adapter.shutdown()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + CLEANUP_TIMEOUT
    while (left := cluster.leftovers()) and loop.time() < deadline:  # noqa: ASYNC110  # another process deletes them
        await asyncio.sleep(0.1)
    cluster.violations += left
