"""The events of whole runs on the cluster in memory, on virtual time."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.support.event_log import EventLog
from tests.support.hosts import Host, started
from tests.support.in_memory_runs import LONG, PARTIAL, SLOW_START, WHOLE, two_hosts

from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.instrumentation import (
    AgentStarted,
    ApiRequest,
    LaunchBegan,
    LeaseChanged,
    LogReconnecting,
    RunAdopted,
    RunEnded,
    RunEvent,
    RunLaunched,
    RunStatus,
    RunStopping,
    StartPhaseBegan,
    WatchChanged,
)
from paperclip_claude_k8s.testing import FakeCluster, HostLog, PodScript

pytestmark = pytest.mark.looptime


async def run_and_record(folder: Path, script: PodScript, **more: Any) -> tuple[ExecutionResult, EventLog]:
    """Do one run on a new cluster; return its result and its events."""
    async with FakeCluster.start(folder, script) as fake:
        host, log = Host(fake, "host-one"), EventLog()
        host.adapter.on_event(log)
        result, _ = await host.run(**more)
        await host.adapter.shutdown()
    return result, log


async def test_successful_run_emits_its_steps_in_order(tmp_path: Path) -> None:
    result, log = await run_and_record(tmp_path, SLOW_START)
    assert result.error_code is None
    phases = [event.phase for event in log.of(StartPhaseBegan)]
    assert phases == ["schedule", "pull", "start"]
    expected = [
        "RunReceived",
        "LaunchBegan",
        "RunLaunched",
        *["StartPhaseBegan"] * 3,
        "AgentStarted",
        "RunEnded",
    ]
    assert log.steps() == expected


async def test_run_ended_event_has_the_values_of_the_result(tmp_path: Path) -> None:
    result, log = await run_and_record(tmp_path, SLOW_START)
    ended = log.one(RunEnded)
    assert result.usage is not None
    assert result.result_json is not None
    assert ended.tokens is not None
    assert ended.log is not None
    assert (ended.outcome, ended.error_code, ended.model) == ("succeeded", "", result.model)
    assert (ended.cost_usd, ended.session) == (result.cost_usd, result.session_id)
    assert (ended.tokens.input, ended.tokens.output) == (
        result.usage.input_tokens,
        result.usage.output_tokens,
    )
    assert (ended.log.bytes, ended.log.complete) == (len(WHOLE), True)
    assert dict(ended.phases)["run"] == result.result_json["phases"]["run"] / 1000


async def test_events_of_a_run_name_run_agent_and_job(tmp_path: Path) -> None:
    agent = {"id": "agent-1", "name": "Ada", "companyId": "co"}
    _, log = await run_and_record(tmp_path, SLOW_START, agent=agent)
    first, last = (event for event in log.of(RunEvent) if type(event).__name__ in {"RunReceived", "RunEnded"})
    assert (first.run.run_id, first.run.agent_name, first.run.company_id) == ("run-1", "Ada", "co")
    assert first.run.execution == last.run.execution
    assert last.run.job.startswith("ac-")
    assert last.run.namespace == "paperclip"


async def test_agent_started_event_names_pod_and_node(tmp_path: Path) -> None:
    _, log = await run_and_record(tmp_path, SLOW_START)
    event = log.one(AgentStarted)
    assert event.pod.startswith("ac-")
    assert event.pod_uid
    assert event.node
    assert event.seconds == pytest.approx(8.0, abs=1.0)  # the waiting time of `SLOW_START`


async def test_run_ended_event_of_a_failed_run_has_the_error_of_the_result(tmp_path: Path) -> None:
    script = PodScript(output=((0.0, PARTIAL),), ends_at=1.0, exit_code=1)
    result, log = await run_and_record(tmp_path, script)
    ended = log.one(RunEnded)
    assert ended.outcome == "failed"
    assert (ended.error_code, ended.error_message) == (result.error_code, result.error_message)


async def test_run_with_an_invalid_context_emits_only_run_ended(tmp_path: Path) -> None:
    async with FakeCluster.start(tmp_path) as fake:
        host, log = Host(fake, "host-one"), EventLog()
        host.adapter.on_event(log)
        result = await host.adapter.execute({"agent": {"id": "a"}})
        await host.adapter.shutdown()
    assert log.steps() == ["RunEnded"]
    assert log.one(RunEnded).error_code == result.error_code == "k8s_config_invalid"


async def test_cancelled_run_emits_why_it_is_stopped(tmp_path: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(20, stop.set)
    result, log = await run_and_record(tmp_path, LONG, signal=stop)
    assert result.error_code == "cancelled"
    assert log.one(RunStopping).reason == "cancel"
    assert log.one(RunEnded).outcome == "cancelled"


async def test_run_of_two_hosts_is_detached_by_the_first_and_adopted_by_the_second(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (_, one, two):
        first, second = EventLog(), EventLog()
        one.adapter.on_event(first)
        two.adapter.on_event(second)
        async with started(one) as task:
            task.cancel()
            await asyncio.sleep(1)
            await two.run(runId="run-2")
        await one.adapter.shutdown()
        await two.adapter.shutdown()
    assert first.one(RunEnded).outcome == "detached"
    adopted = second.one(RunAdopted)
    assert (adopted.prior_run, adopted.finished) == ("run-1", False)
    assert adopted.job_uid == first.one(RunLaunched).job_uid
    assert second.one(RunEnded).outcome == "succeeded"


async def test_run_ended_event_counts_the_reconnects_of_the_log(tmp_path: Path) -> None:
    async with FakeCluster.start(tmp_path, LONG) as fake:
        host, log = Host(fake, "host-one"), EventLog()
        host.adapter.on_event(log)
        async with started(host) as task:
            host.disconnect()
            await asyncio.sleep(10)
            host.connection.restore()
            result, _ = await task
        await host.adapter.shutdown()
    ended = log.one(RunEnded)
    assert result.result_json is not None
    assert ended.log is not None
    assert ended.log.reconnects == result.result_json["log"]["reconnects"] >= 1
    assert log.of(LogReconnecting)
    changes = {(event.resource, event.change) for event in log.of(WatchChanged)}
    assert {("jobs", "failing"), ("jobs", "recovered")} <= changes


async def test_each_run_reports_how_long_its_launch_was_queued(tmp_path: Path) -> None:
    async with FakeCluster.start(tmp_path, LONG) as fake:
        host, log = Host(fake, "host-one"), EventLog()
        host.adapter.on_event(log)
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                agent = {"id": f"agent-{number}"}
                group.create_task(
                    host.run(runId=f"run-{number}", agent=agent, context={"taskId": str(number)})
                )
        await host.adapter.shutdown()
    assert len(log.of(LaunchBegan)) == 4
    assert all(event.queued_seconds >= 0 for event in log.of(LaunchBegan))


async def test_requests_have_verb_resource_and_status(tmp_path: Path) -> None:
    _, log = await run_and_record(tmp_path, SLOW_START)
    seen = {(event.verb, event.resource, event.status) for event in log.of(ApiRequest)}
    assert {("create", "jobs", 200), ("create", "secrets", 200), ("watch", "pods", 200)} <= seen
    assert {("get", "pods/log", 200), ("delete", "jobs", 200)} <= seen
    assert [event.change for event in log.of(LeaseChanged)] == ["acquired", "released"]


async def test_text_of_each_status_event_is_in_the_hosts_log(tmp_path: Path) -> None:
    host_log = HostLog()
    _, log = await run_and_record(tmp_path, SLOW_START, host_log=host_log)
    assert log.of(RunStatus)
    assert all(event.text in host_log.status + host_log.stderr for event in log.of(RunStatus))
