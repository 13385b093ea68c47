"""The Kubernetes Events that the adapter creates for its Job if the config has `jobEvents`."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.hosts import Host, jobs, started
from tests.support.in_memory_runs import GOOD, LONG, PARTIAL, two_hosts

from paperclip_claude_k8s.cluster.model import JobRef
from paperclip_claude_k8s.devcluster.kinds import EVENTS
from paperclip_claude_k8s.instrumentation import LogGap, RunInfo, RunStatus
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.process import Process
from paperclip_claude_k8s.run.job_events import MAX_EVENTS, REASON_PAUSE, JobEvents, job_event_of
from paperclip_claude_k8s.testing import FakeCluster, PodScript

pytestmark = pytest.mark.looptime
JOB_EVENTS = {"jobEvents": True}


def events_of_adapter(fake: FakeCluster) -> list[Any]:
    """The Events of the adapter, oldest first."""
    found = fake.store.list(EVENTS)
    return [event for event in found if event["source"]["component"] == "paperclip-claude-k8s"]


async def test_good_run_creates_no_event(tmp_path: Path) -> None:
    async with FakeCluster.start(tmp_path, GOOD) as fake:
        host = Host(fake, "host-one")
        await host.run(config=JOB_EVENTS)
        await host.adapter.shutdown()
        assert fake.calls.count("create", "events") == 0


async def test_failed_run_creates_an_event_with_its_code(tmp_path: Path) -> None:
    script = PodScript(output=((0.0, PARTIAL),), ends_at=1.0, exit_code=1)
    async with FakeCluster.start(tmp_path, script) as fake:
        host = Host(fake, "host-one")
        result, _ = await host.run(config=JOB_EVENTS)
        await host.adapter.shutdown()
        (event,) = events_of_adapter(fake)
    assert (event["type"], event["reason"]) == ("Warning", "RunFailed")
    assert event["message"] == f"the run failed with the code {result.error_code}"
    assert event["involvedObject"]["kind"] == "Job"
    assert event["involvedObject"]["uid"]


async def test_adoption_and_stop_are_events_of_the_same_job(tmp_path: Path) -> None:
    stop = asyncio.Event()
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        async with started(one, config=JOB_EVENTS) as task:
            (job,) = jobs(fake)
            task.cancel()
            await asyncio.sleep(1)
            asyncio.get_running_loop().call_later(20, stop.set)
            await two.run(runId="run-2", config=JOB_EVENTS, signal=stop)
        found = events_of_adapter(fake)
    reasons = [event["reason"] for event in found]
    assert reasons[:2] == ["Adopted", "Stopping"]
    assert "RunFailed" not in reasons
    assert {event["involvedObject"]["uid"] for event in found} == {job["metadata"]["uid"]}


async def test_run_without_the_right_to_create_events_tries_once_and_continues(tmp_path: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(20, stop.set)
    async with FakeCluster.start(tmp_path, LONG) as fake:
        fake.faults.denied.add(("create", "events"))
        host = Host(fake, "host-one")
        result, _ = await host.run(config=JOB_EVENTS, signal=stop)
        await host.adapter.shutdown()
        assert result.error_code == "cancelled"
        assert fake.calls.count("create", "events") == 1


async def test_run_without_the_setting_creates_no_event(tmp_path: Path) -> None:
    script = PodScript(output=((0.0, PARTIAL),), ends_at=1.0, exit_code=1)
    async with FakeCluster.start(tmp_path, script) as fake:
        host = Host(fake, "host-one")
        await host.run()
        await host.adapter.shutdown()
        assert fake.calls.count("create", "events") == 0


async def test_number_of_events_is_bounded(tmp_path: Path) -> None:
    gap = LogGap(datetime.now(UTC), RunInfo(), missing_bytes=1, missing_lines=1, restored=False)
    async with FakeCluster.start(tmp_path) as fake:
        ports = Process(ProcessSettings(), lambda *_: fake.gateway).ports("fake")
        events = JobEvents(JobRef("paperclip", "ac-job", "uid"), ports)
        for _ in range(5):
            events.listen(gap)
        await events.post()
        assert len(events_of_adapter(fake)) == 1
        for _ in range(MAX_EVENTS + 5):
            await asyncio.sleep(REASON_PAUSE + 1)
            events.listen(gap)
            await events.post()
        assert len(events_of_adapter(fake)) == MAX_EVENTS


def test_other_events_and_restored_gaps_are_not_posted() -> None:
    no_time: Any = None
    run = RunInfo()
    assert job_event_of(RunStatus(no_time, run, text="text of an agent", warning=True)) is None
    assert job_event_of(LogGap(no_time, run, missing_bytes=1, missing_lines=1, restored=True)) is None
