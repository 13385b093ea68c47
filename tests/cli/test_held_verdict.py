"""What the Jobs and Pods of an agent show about the run of a held task, and where it may have been."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from paperclip_claude_k8s.cli.held_verdict import Search, judge
from paperclip_claude_k8s.cli.paperclip_server import HeldTask
from paperclip_claude_k8s.cli.run_record import RunRecord, configs_since
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.model import Condition, JobRef, JobSnapshot, PodSnapshot
from paperclip_claude_k8s.run.place_notes import cluster_note, namespace_note

HERE = cluster_note(None, None)
AGENTS = RunRecord(frozenset({"agents"}), frozenset({HERE}))
TASK = HeldTask(
    "c",
    "issue-1",
    "T",
    "agent-1",
    "A",
    {"namespace": "agents"},
    "run-1",
    "process_lost",
    "",
    "task-1",
    AGENTS,
)
SEARCH = Search((), (), frozenset({"agents"}), "agents", HERE)


def a_job(
    run: str,
    condition: str = "",
    *,
    annotated: tuple[str, ...] = (),
    namespace: str = "agents",
    task: str = "task-1",
) -> JobSnapshot:
    return JobSnapshot(
        JobRef(namespace, f"ac-{run}", f"uid-{run}"),
        resource_version="1",
        created=None,
        labels={labels.RUN_LABEL: run, labels.TASK_LABEL: task},
        annotations=dict.fromkeys(annotated, "2026-01-01T00:00:00Z"),
        conditions=(Condition(condition, "True"),) if condition else (),
    )


TAKEN, RESULT = labels.TAKEN_ANNOTATION, labels.RESULT_ANNOTATION


@pytest.mark.parametrize(
    ("jobs", "state", "completed"),
    [
        ([], "absent", False),
        ([a_job("other", "Complete")], "absent", False),
        ([a_job("other", task="other")], "absent", False),
        ([a_job("run-1")], "running", False),
        ([a_job("run-1", "Complete"), a_job("other")], "running", False),
        ([a_job("run-1", "Complete")], "finished", True),
        ([a_job("run-1", "Failed")], "finished", False),
        ([a_job("run-1", "Complete", annotated=(TAKEN, RESULT))], "collected", True),
        ([a_job("run-1", "Complete", annotated=(TAKEN,))], "collected", False),
    ],
)
def test_state_of_a_run_follows_from_the_jobs_of_its_agent(
    jobs: list[JobSnapshot],
    state: str,
    completed: bool,  # noqa: FBT001
) -> None:
    finding = judge(TASK, replace(SEARCH, jobs=jobs))
    assert (finding.state, finding.completed, finding.why_held) == (state, completed, "")
    assert len(finding.evidence) >= 20, "the server refuses shorter evidence"
    assert "agents" in finding.evidence


@pytest.mark.parametrize("condition", ["", "Complete"])
def test_job_where_the_next_run_does_not_look_keeps_its_task_held(condition: str) -> None:
    search = replace(SEARCH, jobs=[a_job("run-1", condition, namespace="paperclip")], namespaces=None)
    assert "namespace agents" in judge(TASK, search).why_held
    moved = replace(TASK, config={"namespace": "agents", "kubeconfig": "/k"})
    assert "another cluster" in judge(moved, replace(SEARCH, jobs=[a_job("run-1", condition)])).why_held


@pytest.mark.parametrize(("phase", "state"), [("Running", "ending"), ("Failed", "absent")])
@pytest.mark.parametrize("label", [{labels.RUN_LABEL: "run-1"}, {labels.TASK_LABEL: "task-1"}])
def test_pod_that_still_runs_without_its_job_keeps_the_task_held(
    label: Mapping[str, str], phase: str, state: str
) -> None:
    pod = PodSnapshot("agents", "p", "u", phase=phase, labels=label, deleting=True)
    finding = judge(TASK, replace(SEARCH, pods=[pod]))
    assert (finding.state, bool(finding.why_held)) == (state, state == "ending")


@pytest.mark.parametrize(
    ("record", "namespaces", "state"),
    [
        (AGENTS, {"agents"}, "absent"),
        (AGENTS, {"other"}, "not_found"),
        (AGENTS, None, "absent"),
        (replace(AGENTS, namespaces=frozenset({"agents", "other"})), {"agents"}, "not_found"),
        (replace(AGENTS, namespaces=frozenset()), {"agents"}, "not_found"),
        (replace(AGENTS, namespaces=frozenset()), None, "absent"),
        (replace(AGENTS, clusters=frozenset({cluster_note("/k", None)})), None, "not_found"),
        (RunRecord(), None, "not_found"),
    ],
)
def test_missing_job_is_absent_only_where_the_record_proves_its_place(
    record: RunRecord, namespaces: set[str] | None, state: str
) -> None:
    searched = None if namespaces is None else frozenset(namespaces)
    finding = judge(replace(TASK, record=record), replace(SEARCH, namespaces=searched))
    assert finding.state == state
    assert ("paperclip.io/run-id=run-1" in finding.why_held) is (state == "not_found")


def test_record_of_a_run_is_read_from_its_notes() -> None:
    notes = ["Image: i", namespace_note("agents"), HERE]
    payload = {"adapterType": labels.ADAPTER_TYPE, "commandNotes": [*notes, 1]}
    event = {"eventType": "adapter.invoke", "payload": payload}
    foreign = {"eventType": "adapter.invoke", "payload": {"commandNotes": [namespace_note("other")]}}
    assert RunRecord.of_events([event, foreign, {"eventType": "lifecycle"}]) == AGENTS
    assert RunRecord.of_events([{"eventType": "adapter.invoke", "payload": "x"}]) == RunRecord()


def test_settings_that_an_agent_had_since_the_run_began_replace_missing_notes() -> None:
    def revision(time: str, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
        snapshots = {"beforeConfig": {"adapterConfig": before}, "afterConfig": {"adapterConfig": after}}
        return {"createdAt": time, **snapshots}

    revisions = [
        revision("2026-01-01T02:00:00.000Z", {"namespace": "one"}, {"namespace": "two", "kubeconfig": "/k"}),
        revision("2026-01-01T00:00:00.000Z", {"namespace": "zero"}, {"namespace": "one"}),
    ]
    configs = configs_since("2026-01-01T01:00:00.000Z", revisions)
    assert configs is not None
    record = RunRecord(clusters=frozenset({HERE})).completed_by([{}, *configs])
    assert record == RunRecord(frozenset({"", "one", "two"}), frozenset({HERE}))
    assert RunRecord().completed_by(configs).clusters == {HERE, cluster_note("/k", None)}
    assert configs_since(None, revisions) is None
    assert configs_since("2026-01-01T01:00:00.000Z", [{}, {"createdAt": "x"}]) is None
