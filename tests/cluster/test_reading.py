"""Snapshots of objects recorded from a real API server, and of objects with missing or malformed fields."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.any_json import ANY_JSON

from paperclip_claude_k8s.cluster import reading
from paperclip_claude_k8s.cluster.home_pod_reading import read_home_pod
from paperclip_claude_k8s.cluster.model import (
    Condition,
    ContainerState,
    Running,
    Terminated,
    Waiting,
)

RECORDED = Path(__file__).parents[2] / "fixtures" / "kubernetes"
STARTED = datetime(2026, 11, 21, 5, 13, 55, tzinfo=UTC)


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "finished"),
    [
        ("complete", Condition("Complete", "True")),
        (
            "failed",
            Condition(
                "Failed", "True", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
            ),
        ),
        (
            "deadline",
            Condition("Failed", "True", "DeadlineExceeded", "Job was active longer than specified deadline"),
        ),
        ("running", None),
    ],
)
def test_job_is_finished_by_its_condition(name: str, finished: Condition | None) -> None:
    job = reading.job_snapshot(recorded(f"job-{name}"))
    assert job.finished == finished
    assert job.ref.name == f"rec-{name}"
    assert job.ref.uid
    assert job.resource_version.isdecimal()
    assert job.created == datetime(2026, 11, 21, 5, 13, 50, tzinfo=UTC)
    assert job.labels["which"] == name
    assert job.annotations == {"paperclip.io/relay-nonce": "0123abcd"}
    assert job.image == "local/agent:1"
    assert not job.deleting
    assert not job.suspended


def test_job_with_deletion_timestamp_is_deleting() -> None:
    assert reading.job_snapshot(recorded("job-deleting")).deleting


def test_job_with_suspend_true_is_suspended() -> None:
    assert reading.job_snapshot({"spec": {"suspend": True}}).suspended


@pytest.mark.parametrize(
    ("name", "phase", "state"),
    [
        ("complete", "Succeeded", Terminated(0, "Completed", "done\n", started=STARTED, finished=STARTED)),
        ("failed", "Failed", Terminated(7, "Error", started=STARTED, finished=STARTED)),
        ("running", "Running", Running(STARTED)),
        ("gated", "Pending", Waiting("ContainerCreating")),
        ("no-key", "Pending", Waiting("CreateContainerConfigError", 'secret "not-there" not found')),
        (
            "no-image",
            "Pending",
            Waiting("ImagePullBackOff", 'Back-off pulling image "localhost:1/missing:1"'),
        ),
        ("init-fails", "Failed", Waiting("PodInitializing")),
    ],
)
def test_container_is_waiting_running_or_terminated(name: str, phase: str, state: ContainerState) -> None:
    pod = reading.pod_snapshot(recorded(f"pod-{name}"))
    agent = pod.agent
    assert agent is not None
    assert agent.state == state
    assert pod.phase == phase
    assert pod.node == "node1"


@pytest.mark.parametrize("name", ["complete", "failed", "running"])
def test_pod_belongs_to_the_controlling_job(name: str) -> None:
    job, pod = reading.job_snapshot(recorded(f"job-{name}")), reading.pod_snapshot(recorded(f"pod-{name}"))
    assert pod.job_uid == job.ref.uid


def test_owner_that_does_not_control_a_pod_is_ignored() -> None:
    owners = [
        {"kind": "Job", "uid": "of-another-job"},
        {"kind": "ReplicaSet", "uid": "rs", "controller": True},
    ]
    assert reading.pod_snapshot({"metadata": {"ownerReferences": owners}}).job_uid == ""


def test_unscheduled_pod_has_its_reason() -> None:
    pod = reading.pod_snapshot(recorded("pod-nowhere"))
    assert pod.node == ""
    assert pod.containers == ()
    scheduled = pod.condition("PodScheduled")
    assert scheduled is not None
    assert not scheduled.is_true
    assert scheduled.reason == "Unschedulable"
    assert "node affinity" in scheduled.message


def test_failed_init_container_has_its_exit_code() -> None:
    (setup,) = reading.pod_snapshot(recorded("pod-init-fails")).init_containers
    assert setup.name == "setup"
    assert isinstance(setup.state, Terminated)
    assert setup.state.exit_code == 3
    assert not setup.sidecar


def test_restartable_init_container_is_a_sidecar() -> None:
    spec = {"initContainers": [{"name": "dind", "restartPolicy": "Always"}, {"name": "setup"}]}
    status = {"initContainerStatuses": [{"name": "dind"}, {"name": "setup"}]}
    dind, setup = reading.pod_snapshot({"spec": spec, "status": status}).init_containers
    assert dind.sidecar
    assert not setup.sidecar
    assert dind.state is None


def test_terminated_container_has_its_signal() -> None:
    state = {"terminated": {"exitCode": 137, "signal": 9, "reason": "OOMKilled"}}
    status = {"containerStatuses": [{"name": "claude", "restartCount": 2, "state": state}]}
    (agent,) = reading.pod_snapshot({"status": status}).containers
    assert agent.state == Terminated(137, "OOMKilled", signal=9)


def test_events_are_sorted_by_their_latest_time() -> None:
    scheduled, mount = reading.events_in_order(recorded("events-gated"))
    assert (scheduled.reason, scheduled.type, scheduled.count) == ("Scheduled", "Normal", 1)
    assert (mount.reason, mount.type, mount.count) == ("FailedMount", "Warning", 6)
    assert mount.about.startswith("Pod/rec-gated-")
    assert mount.seen == datetime(2026, 11, 21, 5, 14, 10, tzinfo=UTC)


def test_event_series_has_count_and_time() -> None:
    series = {"count": 5, "lastObservedTime": "2026-01-02T00:00:00.5Z"}
    event = reading.event_snapshot({"series": series, "eventTime": "2026-01-01T00:00:00Z"})
    assert event.count == 5
    assert event.seen == datetime(2026, 1, 2, 0, 0, 0, 500_000, tzinfo=UTC)


def test_lease_has_holder_and_microseconds() -> None:
    lease = reading.lease_snapshot(recorded("lease"))
    assert (lease.namespace, lease.name, lease.holder) == ("paperclip", "rec-lease", "me")
    assert lease.renewed == datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
    assert lease.labels == {"recorded": "yes"}


@pytest.mark.parametrize(
    ("response", "version"),
    [
        ({"major": "1", "minor": "29"}, (1, 29)),
        ({"major": "1", "minor": "27+"}, (1, 27)),
        ({}, (0, 0)),
    ],
)
def test_server_version_is_two_numbers(response: dict[str, str], version: tuple[int, int]) -> None:
    assert reading.server_version(response) == version


_FIELD_NAMES = sorted(
    {key for path in RECORDED.glob("*.json") for key in re.findall(r'"(\w+)":', path.read_text("utf-8"))}
)
ODD_OBJECTS = st.recursive(
    ANY_JSON,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELD_NAMES), inner, max_size=5)
    ),
    max_leaves=25,
)


@given(st.dictionaries(st.sampled_from(_FIELD_NAMES), ODD_OBJECTS, max_size=5))
def test_readers_accept_any_json(odd: dict[str, Any]) -> None:
    reading.job_snapshot(odd)
    reading.pod_snapshot(odd)
    reading.event_snapshot(odd)
    reading.lease_snapshot(odd)
    read_home_pod(odd, "paperclip")
    reading.listing(odd, reading.job_snapshot)
    reading.events_in_order(odd)
    reading.claim_snapshot(odd)
    assert reading.is_allowed(odd) in {True, False}
