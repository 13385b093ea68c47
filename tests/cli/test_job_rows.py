"""Rows of the tables of Jobs: state and age of a run, and its whole id; and label selectors."""

from datetime import UTC, datetime, timedelta

import pytest

from paperclip_claude_k8s.cli.formats import Format
from paperclip_claude_k8s.cli.job_rows import SelectorInvalid, age, read_selector, row_of
from paperclip_claude_k8s.cli.job_tables import jobs_table
from paperclip_claude_k8s.cluster.labels import CANCELLED_ANNOTATION, QUEUE_LABEL, RUN_LABEL
from paperclip_claude_k8s.cluster.model import (
    Condition,
    ContainerSnapshot,
    ContainerState,
    JobRef,
    JobSnapshot,
    PodSnapshot,
    Running,
    Terminated,
    Waiting,
)

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
REF = JobRef("ns", "ac-ada-1", "u1")
RUN = "0f4e3c2a-5a8e-4f63-9d5e-2b7f0c8e1a11"


def a_pod(state: ContainerState | None, **more: object) -> PodSnapshot:
    container = ContainerSnapshot("claude", state)
    return PodSnapshot(
        "ns",
        name="p",
        uid="pod-uid",
        job_uid=REF.uid,
        phase="Pending",
        containers=(container,),
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("job", "pod", "state"),
    [
        ({}, None, "Pending"),
        ({"suspended": True}, None, "Suspended"),
        ({"suspended": True, "labels": {QUEUE_LABEL: "q"}}, None, "Queued"),
        ({"deleting": True}, a_pod(Running()), "Terminating"),
        ({"deleting": True, "annotations": {CANCELLED_ANNOTATION: "ada"}}, None, "Cancelling"),
        ({"conditions": (Condition("Complete", "True"),)}, a_pod(Running()), "Succeeded"),
        ({"conditions": (Condition("Failed", "True"),)}, None, "Failed"),
        ({}, a_pod(Waiting("ImagePullBackOff")), "ImagePullBackOff"),
        ({}, a_pod(Running()), "Running"),
        ({}, a_pod(Terminated(0)), "Ended"),
        ({}, a_pod(Terminated(1)), "Failed"),
        ({}, a_pod(None, conditions=(Condition("PodScheduled", "False", "Unschedulable"),)), "Unschedulable"),
        ({}, a_pod(None), "Pending"),
    ],
)
def test_state_follows_from_job_and_pod(job: dict[str, object], pod: PodSnapshot | None, state: str) -> None:
    snapshot = JobSnapshot(REF, resource_version="1", created=NOON, **job)  # type: ignore[arg-type]
    row = row_of(snapshot, [pod] if pod is not None else [], NOON)
    assert row["state"] == state


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (3 * 3600, "3h"), (48 * 3600, "2d"), (-5, "0s")],
)
def test_age_is_written_as_kubectl_writes_it(seconds: int, text: str) -> None:
    assert age(NOON - timedelta(seconds=seconds), NOON) == text


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("a=1", True),
        ("a==1,b!=2", True),
        ("a!=1", False),
        ("c", False),
        ("!c, a in (1, 2)", True),
        ("a notin (1,2)", False),
        ("c notin (x)", True),
        ("x/y-z=ok", True),
    ],
)
def test_selector_selects_as_kubectl_does(selector: str, *, matches: bool) -> None:
    assert read_selector(selector)({"a": "1", "x/y-z": "ok"}) is matches


@pytest.mark.parametrize("selector", ["=", "a in 1", "a=b c", "a,,b", "(a)"])
def test_selector_that_cannot_be_read_is_refused(selector: str) -> None:
    with pytest.raises(SelectorInvalid, match="no requirement"):
        read_selector(selector)


@pytest.mark.parametrize("width", [30, 80, 100, None])
def test_run_id_and_state_are_not_cut_at_any_width(width: int | None) -> None:
    job = JobSnapshot(REF, "1", NOON, labels={RUN_LABEL: RUN})
    rows = [row_of(job, [a_pod(Waiting("CreateContainerConfigError"))], NOON)]
    for output in (Format.TEXT, Format.WIDE):
        lines = jobs_table(rows, output, namespaces=True, width=width).split("\n")
        assert RUN in lines[1]
        assert "CreateContainerConfigError" in lines[1]
        assert lines[0].startswith("NAMESPACE  RUN ")
