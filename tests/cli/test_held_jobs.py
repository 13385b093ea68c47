"""Where `claude-k8s recover` looks for the Job of a held task, on a cluster in memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.cli.command_options import RecoverOptions
from paperclip_claude_k8s.cli.held_jobs import HeldJobs
from paperclip_claude_k8s.cli.held_verdict import Finding
from paperclip_claude_k8s.cli.paperclip_server import HeldTask
from paperclip_claude_k8s.cli.run_record import RunRecord
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.model import JobSnapshot, Listing
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.devcluster.kinds import JOBS, PODS
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import FakeCluster, HostLog, PodScript, build_context

HERE = {"kubeconfig": "fake", "namespace": "paperclip"}
ELSEWHERE = {"kubeconfig": "fake", "namespace": "agents"}
TASK = HeldTask("c", "issue-1", "T", "agent-1", "A", HERE, "run-1", "process_lost", "", "task-1")


class LimitedGateway(Gateway):
    """A gateway whose account may list Jobs in the namespaces of `allowed` only."""

    allowed: frozenset[str] = frozenset()

    async def list_jobs(self, namespace: str, labels: Mapping[str, str]) -> Listing[JobSnapshot]:
        if namespace not in self.allowed:
            raise ClusterError(403, "Forbidden", "jobs is forbidden")
        return await super().list_jobs(namespace, labels)


def limited(fake: FakeCluster, *allowed: str) -> Gateway:
    gateway = LimitedGateway(http=fake.connection)
    gateway.allowed = frozenset(allowed)
    return gateway


async def look_up(task: HeldTask, gateway: Gateway) -> Finding:
    async with HeldJobs(RecoverOptions(), lambda *_: gateway) as jobs:
        return await jobs.look_up(task)


@asynccontextmanager
async def run_in(fake: FakeCluster) -> AsyncIterator[RunRecord]:
    """A run of the task works in namespace paperclip during the block, which gets the run's record."""
    adapter, host = Adapter(ProcessSettings(), lambda *_: fake.gateway), HostLog()
    context = {"taskId": "task-1", "issueId": "issue-1", "paperclipTaskMarkdown": "x"}
    given = build_context(host, runId="run-1", context=context, config=HERE, onMeta=host.on_meta)
    async with asyncio.TaskGroup() as group:
        run = group.create_task(adapter.execute(given))
        await asyncio.sleep(10)  # virtual seconds, in which the Pod starts
        yield RunRecord.of_events([{"eventType": "adapter.invoke", "payload": meta} for meta in host.meta])
        run.cancel()
    await adapter.shutdown()


async def test_job_is_found_in_the_namespace_in_which_its_run_began(tmp_path: Path) -> None:
    async with FakeCluster.start(tmp_path, PodScript.working(60.0)) as fake, run_in(fake) as record:
        assert record.is_complete
        same = replace(TASK, record=record)
        moved = replace(same, config=ELSEWHERE)
        other_agent = replace(same, agent="agent-2", run="run-2", record=RunRecord())
        everywhere, here, elsewhere = fake.gateway, limited(fake, "paperclip"), limited(fake, "agents")
        both = limited(fake, "paperclip", "agents")
        for gateway in (everywhere, here):
            found = await look_up(same, gateway)
            assert (found.state, found.why_held) == ("running", "")
        for gateway in (everywhere, both):
            found = await look_up(moved, gateway)
            assert found.state == "running"
            assert "namespace agents" in found.why_held
        assert (await look_up(moved, elsewhere)).state == "not_found"
        assert (await look_up(moved, here)).state == "unknown"
        assert (await look_up(other_agent, everywhere)).state == "not_found"


async def test_job_is_absent_only_if_its_pod_is_gone_too(tmp_path: Path) -> None:
    async with FakeCluster.start(tmp_path, PodScript.working(60.0)) as fake, run_in(fake) as record:
        task = replace(TASK, record=record)
        (job,), (pod,) = fake.store.list(JOBS), fake.store.list(PODS)
        fake.store.remove(JOBS, "paperclip", job["metadata"]["name"])
        assert (await look_up(task, fake.gateway)).state == "ending"
        fake.store.remove(PODS, "paperclip", pod["metadata"]["name"])
        assert (await look_up(task, limited(fake, "paperclip"))).state == "absent"
        assert (await look_up(replace(task, config=ELSEWHERE), fake.gateway)).state == "absent"
        elsewhere = replace(task, config=ELSEWHERE)
        assert (await look_up(elsewhere, limited(fake, "agents"))).state == "not_found"
