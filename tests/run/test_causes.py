"""A container is killed and its Pod's status does not say why: Events name the cause. On virtual time.

The kernel of a node without free memory, and a node that shuts down or restarts, kill containers like this.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.disruptions import only, run_disrupted
from tests.support.in_memory_runs import GOOD, PARTIAL, one_host

from paperclip_claude_k8s.devcluster.event_recorder import Events
from paperclip_claude_k8s.devcluster.kinds import EVENTS, JOBS, PODS
from paperclip_claude_k8s.devcluster.node import NODE
from paperclip_claude_k8s.testing import FakeCluster, PodScript

pytestmark = pytest.mark.looptime
KILLED = PodScript(output=((0.0, PARTIAL),), ends_at=10.0, exit_code=137, summarized=False)
EVENT_AT = 9.0
"""Seconds from the start of a run to the Event: a second before the container exits."""
TERMINATED = replace(KILLED, exit_code=143)
NODE_OBJECT = {
    "kind": "Node",
    "apiVersion": "v1",
    "metadata": {"namespace": "default", "name": NODE, "uid": NODE},
}
"""The node, as Events refer to it."""
FOR_NODE = None


def event_recorder(kind: Any, reason: str, message: str) -> Any:
    """A function that records an Event for the run's only object of this kind, or for the node."""

    def record(fake: FakeCluster) -> None:
        involved = NODE_OBJECT if kind is FOR_NODE else only(fake, kind)
        Events(fake.store, "kubelet").record(involved, "Warning", reason, message)

    return record


RECORD_OOM = event_recorder(FOR_NODE, "SystemOOM", "System OOM encountered")


@pytest.mark.parametrize(
    ("script", "kind", "reason", "message"),
    [
        (KILLED, FOR_NODE, "SystemOOM", "System OOM encountered, victim: claude"),
        (KILLED, FOR_NODE, "Rebooted", "Node devnode has been rebooted"),
        (TERMINATED, FOR_NODE, "Shutdown", "Shutdown manager detected shutdown"),
        (TERMINATED, PODS, "NodeNotReady", "Node is not ready"),
        (TERMINATED, PODS, "ScaleDown", "deleting pod for node scale down"),
        (TERMINATED, JOBS, "Stopped", "Preempted to accommodate a workload"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_killed_container_is_reported_with_the_cause_that_an_event_names(
    tmp_path: Path, script: PodScript, kind: Any, reason: str, message: str
) -> None:
    async with one_host(tmp_path, script) as (fake, run):
        result, _ = await run_disrupted(fake, run, event_recorder(kind, reason, message), EVENT_AT)
        assert result.error_code == "k8s_pod_disrupted", result.error_message
        assert result.error_family == "transient_upstream"
        assert f"({reason})" in (result.error_message or "")
        assert message in (result.error_message or "")
        assert (result.result_json or {})["containerExitCode"] == script.exit_code


async def test_killed_container_without_an_event_is_reported_as_truncated(tmp_path: Path) -> None:
    async with one_host(tmp_path, KILLED) as (_, run):
        result, _ = await run()
        assert result.error_code == "claude_truncated"
        assert "exit code 137" in (result.error_message or "")


async def test_killed_container_whose_events_cannot_be_read_is_reported_as_truncated(tmp_path: Path) -> None:
    async with one_host(tmp_path, KILLED) as (fake, run):
        fake.faults.denied.add(("list", "events"))
        result, _ = await run_disrupted(fake, run, RECORD_OOM, EVENT_AT)
        assert result.error_code == "claude_truncated"


async def test_event_older_than_the_container_is_not_reported_as_the_cause(tmp_path: Path) -> None:
    def backdate(found: dict[str, Any]) -> None:
        found["lastTimestamp"] = "2020-01-01T00:00:00Z"

    def record_old_event(fake: FakeCluster) -> None:
        RECORD_OOM(fake)
        name = next(e["metadata"]["name"] for e in fake.store.list(EVENTS, "default"))
        fake.store.update(EVENTS, "default", name, backdate)

    async with one_host(tmp_path, KILLED) as (fake, run):
        result, _ = await run_disrupted(fake, run, record_old_event, EVENT_AT)
        assert result.error_code == "claude_truncated"


async def test_events_are_not_read_if_the_agent_exits_by_itself(tmp_path: Path) -> None:
    async with one_host(tmp_path, replace(KILLED, exit_code=1)) as (fake, run):
        result, _ = await run_disrupted(fake, run, RECORD_OOM, EVENT_AT)
        assert result.error_code == "claude_truncated"
        assert fake.calls.count("list", "events") == 0


async def test_run_succeeds_if_its_container_is_killed_after_the_final_result(tmp_path: Path) -> None:
    async with one_host(tmp_path, replace(GOOD, ends_at=10.0, exit_code=137)) as (fake, run):
        result, _ = await run_disrupted(fake, run, RECORD_OOM, EVENT_AT)
        assert result.error_message is None


@pytest.mark.parametrize(
    ("reason", "exit_code"),
    [("ContainerStatusUnknown", 137), ("Unknown", 255)],
    ids=["kubelet", "containerd"],
)
async def test_container_that_vanished_with_its_node_is_reported_as_disrupted(
    tmp_path: Path, reason: str, exit_code: int
) -> None:
    async with one_host(tmp_path, replace(KILLED, reason=reason, exit_code=exit_code)) as (fake, run):
        act = event_recorder(FOR_NODE, "Rebooted", "Node devnode has been rebooted, boot id: 7")
        result, _ = await run_disrupted(fake, run, act, EVENT_AT)
        assert result.error_code == "k8s_pod_disrupted"
        assert "the container was gone when the kubelet looked for it" in (result.error_message or "")
        assert "Rebooted: Node devnode has been rebooted, boot id: 7" in (result.error_message or "")


@pytest.mark.parametrize(
    "output", [PARTIAL, b"", PARTIAL[: PARTIAL.index(b"\n") + 1]], ids=["no result", "nothing", "only init"]
)
async def test_exceeded_memory_limit_is_reported_with_the_setting(tmp_path: Path, output: bytes) -> None:
    script = replace(KILLED, output=((0.0, output),), reason="OOMKilled")
    async with one_host(tmp_path, script) as (_, run):
        result, _ = await run()
        assert "reason=OOMKilled" in (result.error_message or "")
        assert "raise `resources.limits.memory`" in (result.error_message or "")
