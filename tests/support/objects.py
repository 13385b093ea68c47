"""Job and Pod snapshots for tests, with defaults for everything that a test does not set."""

from datetime import UTC, datetime
from typing import Any

from paperclip_claude_k8s.cluster.labels import AGENT_CONTAINER, CONTROLLER_UID_LABELS, RUN_LABEL, TASK_LABEL
from paperclip_claude_k8s.cluster.model import (
    Condition,
    ContainerSnapshot,
    ContainerState,
    JobRef,
    JobSnapshot,
    PodSnapshot,
)


def a_job(name: str = "job", *, run: str = "run-1", task: str = "task-1", **more: Any) -> JobSnapshot:
    """A Job that has not finished; `more`: fields of the snapshot."""
    given: dict[str, Any] = {
        "ref": JobRef("ns", name, f"uid-{name}"),
        "resource_version": "1",
        "created": datetime(2026, 1, 1, tzinfo=UTC),
        "labels": {RUN_LABEL: run, TASK_LABEL: task},
    }
    return JobSnapshot(**(given | more))


def finished(kind: str = "Complete", reason: str = "") -> tuple[Condition, ...]:
    """The conditions of a finished Job. `kind`: Complete or Failed."""
    return (Condition(kind, "True", reason),)


def a_pod(state: ContainerState | None = None, **more: Any) -> PodSnapshot:
    """A scheduled Pod of Job `job`; `state` is that of its agent container."""
    given: dict[str, Any] = {
        "namespace": "ns",
        "name": "pod",
        "uid": "uid-pod",
        "job_uid": "uid-job",
        "phase": "Pending",
        "node": "node1",
        "labels": {CONTROLLER_UID_LABELS[0]: "uid-job"},
        "conditions": (Condition("PodScheduled", "True"),),
        "containers": (ContainerSnapshot(AGENT_CONTAINER, state),),
    }
    return PodSnapshot(**(given | more))
